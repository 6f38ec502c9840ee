// Users who cannot arrive say why, so that nobody waits for them. The counts by reason are in the result and in the
// metric barrier_failures. A user whose iteration dies without a word is accounted for too.
import { check, fail } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 6;

const barrier = new Barrier('logged-in', {
  parties: USERS,
  reasons: ['login', 'sse'],
  failUnaccounted: ['users'],
  timeout: '30s',
});

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, exec: 'user' },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: ['count==3'],
    'barrier_failures{reason:login}': ['count==1'],
    'barrier_failures{reason:sse}': ['count==1'],
    'barrier_failures{reason:iteration-ended}': ['count==1'],
    'barrier_wait_duration{scenario:controller}': ['max>0'],
  },
};

export function user() {
  switch (exec.scenario.iterationInTest) {
    case 0:
      barrier.fail('login');
      break;
    case 1:
      barrier.fail('sse');
      break;
    case 2:
      fail('this user meets an error that its script does not catch');
      break;
    default:
      check(barrier.arriveAndWait(), { 'half of them arrived': (r) => r.arrived === USERS / 2 });
  }
}

export function controller() {
  const { reason, failed, failedTotal } = barrier.wait();

  check(failed, {
    'all are accounted for': () => reason === 'all' && failedTotal === 3,
    'each failure has its reason': (f) => f.login === 1 && f.sse === 1 && f['iteration-ended'] === 1,
  });
}
