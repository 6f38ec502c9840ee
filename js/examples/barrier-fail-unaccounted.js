// Users that die without a word do not hold up the rest: the barrier names the scenario whose users it expects, and an
// iteration that ends without an outcome counts as failed.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 4;

// In the init context every user knows the barrier before anything can go wrong.
const barrier = new Barrier('logged-in', { parties: USERS, failUnaccounted: ['users'], timeout: '20s' });

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, exec: 'user' },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: ['count==2'],
    barrier_timeouts: ['count==0'],
    'barrier_failures{reason:iteration-ended}': ['count==2'],
    'barrier_wait_duration{scenario:controller}': ['max>0'],
  },
};

export function user() {
  switch (exec.scenario.iterationInTest) {
    case 0:
      return; // forgets to say anything
    case 1:
      throw new Error('an error that this script does not catch');
    default:
      check(barrier.arriveAndWait(), { 'the others go on': (r) => r.reason === 'all' && r.arrived === 2 });
  }
}

export function controller() {
  const { reason, failed, outcome } = barrier.wait();

  check(failed, {
    'everybody is accounted for': (f) => reason === 'all' && f['iteration-ended'] === 2,
    'who only waits is no participant': () => outcome === undefined,
  });
}
