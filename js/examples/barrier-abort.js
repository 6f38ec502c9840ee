// Whoever finds out that going on is pointless breaks the barrier for everyone, and says why.
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { Barrier } from 'k6/x/barrier';

const USERS = 4; // and one more is expected

const ready = new Barrier('ready', { parties: USERS, timeout: '20s' });
const barrier = new Barrier('start', { parties: USERS + 1, timeout: '20s' });
const aborted = new Counter('example_aborted');

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, exec: 'user' },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    example_aborted: [`count==${USERS}`],
    'barrier_arrivals{barrier:ready}': [`count==${USERS}`],
    barrier_timeouts: ['count==0'],
  },
};

export function user() {
  ready.arrive();
  try {
    barrier.arriveAndWait();
  } catch (e) {
    aborted.add(1);
    check(e, {
      'everyone learns why': ({ name, message }) => name === 'BarrierBrokenError' && message.includes('the target is down'),
      'the barrier stays broken': ({ status }) => status.broken.reason === 'abort',
    });
  }
}

export function controller() {
  ready.wait();
  check(barrier.abort('the target is down'), { 'it is broken': (a) => a.broken });
}
