// Start together at a moment that was agreed on: not before all users are there, and not before it has come.
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 8;

// In a real test: '2027-01-01T00:00:00Z', the same in all processes.
export function setup() {
  return { start: Date.now() + 2000 };
}

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS}`],
    barrier_timeouts: ['count==0'],
  },
};

export default function ({ start }) {
  const barrier = new Barrier('at', { parties: USERS, releaseAt: start });
  const { arrived, releasedAt } = barrier.arriveAndWait();

  check(null, {
    'all were there': () => arrived === USERS,
    'the moment had come': () => releasedAt >= start && Date.now() >= start,
  });
}
