// A whole barrier in one process: five virtual users arrive, one of them fails, and a sixth one waits for them.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 5;

const barrier = new Barrier('smoke', { parties: USERS, reasons: ['login'], timeout: '10s' });

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, exec: 'user' },
    controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS - 1}`],
    'barrier_failures{reason:login}': ['count==1'],
    barrier_timeouts: ['count==0'],
  },
};

export function user() {
  if (exec.scenario.iterationInTest === 0) {
    const mine = barrier.fail('login');
    check(mine, { 'the failure is recorded': (m) => m.outcome === 'failed' && m.reason === 'login' });
    return;
  }
  const released = barrier.arriveAndWait();
  check(released, { 'the arrival is recorded': (r) => r.outcome === 'arrived' });
}

export function controller() {
  const released = barrier.wait();
  check(released, {
    'all are accounted for': (r) => r.reason === 'all' && r.arrived === USERS - 1 && r.failed.login === 1,
    'the status agrees': () => barrier.status().missing === 0 && barrier.status().releasedAt > 0,
  });
}
