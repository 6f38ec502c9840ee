// Release users one after the other: 20 a second from the moment that all are there, each at an instant of its own.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 20;
const RATE = 20;

const barrier = new Barrier('spread', { parties: USERS, release: { rate: RATE }, timeout: '30s' });

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS}`],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  const { dueAt, releasedAt } = barrier.arriveAndWait();
  const now = Date.now();

  const place = ((dueAt - releasedAt) * RATE) / 1000;
  check(null, {
    'its instant is one of the twenty': () => Math.abs(place - Math.round(place)) < 0.01 && place > -0.5 && place < USERS - 0.5,
    'it did not go before that': () => now >= Math.floor(dueAt),
  });
  console.log(`user ${exec.vu.idInTest} went as number ${Math.round(place) + 1}`);
}

// Whoever waits without taking part sees the start.
export function controller() {
  const result = barrier.wait();
  check(result, { 'it goes with the first': (r) => r.arrived === USERS && r.dueAt === undefined });
}
