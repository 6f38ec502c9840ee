/** What a script does with the objects of the modules, in k6 itself. */
import http from 'k6/http';
import { check } from 'k6';
import barriers, { Barrier } from 'k6/x/barrier';
import sse from 'k6/x/sse';

class Mine extends Barrier {
  constructor(...all) {
    super(...all);
    this.label = 'mine';
  }

  arrive(options) {
    return { ...super.arrive(options), by: this.label };
  }
}

const barrier = new Mine('default', { parties: 2 });

export function setup() {
  const arrived = barrier.arrive({ participant: 'first' });
  barrier.arrive({ participant: 'second' });
  return { arrived, result: Object.freeze(barrier.wait()), status: barrier.status() };
}

export default function (data) {
  const result = barrier.wait();
  const posted = http.post(__ENV.SSE_URL, result).status;
  const streamed = sse.open(__ENV.SSE_URL, (client) => client.close());
  console.log('printed', barrier, result);
  check(data, {
    'setup data is plain': ({ arrived, result, status }) => arrived.by === 'mine' && result.arrived === 2 && status.missing === 0,
    'a result is posted as a form': () => posted === 200,
    'a result is frozen': () => Object.isFrozen(Object.freeze(streamed)) && streamed.status === 200,
    'the default export has the class': () => barriers.Barrier === Barrier && barrier instanceof barriers.Barrier,
  });
}

export const options = { thresholds: { checks: ['rate==1'] } };
