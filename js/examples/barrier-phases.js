// A cyclic barrier in a loop: nobody starts a round before everybody has finished the one before.
import { check, sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 5;
const ROUNDS = 4;

const round = new Barrier('round', { parties: USERS, cyclic: true, timeout: '30s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: ROUNDS } },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS * ROUNDS}`],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  sleep(Math.random() / 5);

  const { phase, reason, arrived } = round.arriveAndWait();

  check(phase, {
    'each iteration is one phase': (p) => p === __ITER,
    'all took part': () => reason === 'all' && arrived === USERS,
  });
}
