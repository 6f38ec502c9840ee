// Too many failures make the rest pointless: with maxFailures the barrier breaks for everyone who waits.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 6;

const barrier = new Barrier('logged-in', { parties: USERS, reasons: ['login'], maxFailures: 1, timeout: '20s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1', 'rate>0'],
    'barrier_failures{reason:login}': ['count==2'],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  const place = exec.scenario.iterationInTest;
  let error;
  try {
    if (place < 2) {
      barrier.fail('login');
    }
    barrier.arriveAndWait();
  } catch (e) {
    error = e;
  }

  check(error, {
    'it breaks for everyone': (e) => e.name === 'BarrierBrokenError' && e.status.broken.reason === 'maxFailures',
    'and says how many failed': (e) => e.status.failedTotal === 2 && e.status.failed.login === 2,
  });
}
