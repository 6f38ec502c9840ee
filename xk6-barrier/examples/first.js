// The first barrier: ten users take different times to get ready, and then start at the same moment.
import { check, sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 10;

const barrier = new Barrier('start', { parties: USERS, timeout: '30s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS}`],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  sleep(Math.random()); // a login that takes up to a second

  const { arrived, releasedAt } = barrier.arriveAndWait();

  check(arrived, { 'all were there': (n) => n === USERS });
  check(Date.now() - Math.floor(releasedAt), { 'and nobody was early': (ms) => ms >= 0 });
}
