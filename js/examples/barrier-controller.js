// A controller waits until all users are ready, without being one of them. It measures from the instant of release.
import { check, sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 5;

const ready = new Barrier('ready', { parties: USERS, timeout: '30s' });

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, exec: 'user' },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS}`],
    'barrier_wait_duration{scenario:controller}': ['max>0'],
  },
};

export function user() {
  sleep(Math.random());
  ready.arrive(); // does not wait for the others
}

export function controller() {
  const released = ready.wait();

  check(released, {
    'the last arrival released it': (r) => r.reason === 'all' && r.arrived === USERS,
    'the controller is no participant': (r) => r.outcome === undefined && r.parties === USERS,
    'the instant is known': (r) => r.releasedAt === ready.status().releasedAt,
  });
}
