// A barrier in setup(): it has no virtual user, so its participant needs a name. k6 ends setup() after setupTimeout, with
// a text of its own; a wait ends a little before that, and its error says who is missing.
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';

const barrier = new Barrier('prepared', { parties: 2, timeout: '1h' });

export const options = {
  setupTimeout: '2s',
  scenarios: { users: { executor: 'per-vu-iterations', vus: 1, iterations: 1 } },
  thresholds: { checks: ['rate==1'], barrier_arrivals: ['count==2'], barrier_timeouts: ['count==1'] },
};

export function setup() {
  barrier.arrive({ participant: 1 });
  try {
    barrier.wait();
  } catch (e) {
    return { name: e.name, message: e.message };
  }
  return {};
}

export default function (error) {
  check(error, {
    'the error is the one with counts': (e) => e.name === 'BarrierTimeoutError' && e.message.includes('1 of 2 arrived, missing 2'),
    'and says what limited the wait': (e) => e.message.includes('setupTimeout'),
  });
  check(barrier.arriveAndWait({ participant: 2 }), { 'the arrival of setup() stands': (r) => r.arrived === 2 });
}
