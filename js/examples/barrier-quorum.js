// Release at a quorum: three quarters of the users are enough. Those who come later pass, and are counted as late.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 8;

const barrier = new Barrier('quorum', { parties: USERS, release: '75%', timeout: '30s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: ['count==6'],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  const slow = exec.scenario.iterationInTest >= 6;
  if (slow) {
    barrier.wait(); // comes only when the others are gone
  }

  const passed = barrier.arriveAndWait();

  check(passed, {
    'six arrivals released it': (r) => r.arrived === 6,
    'the reason is told': (r) => r.reason === (slow ? 'late' : 'quorum'),
  });
}
