// A user that leaves a cyclic barrier is not waited for in this phase nor in any later one.
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 4;
const ROUNDS = 3;

const round = new Barrier('shrinking', { parties: USERS, cyclic: true, timeout: '30s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    barrier_arrivals: [`count==${USERS + (ROUNDS - 1) * (USERS - 1)}`],
    barrier_timeouts: ['count==0'],
  },
};

export default function () {
  for (let phase = 0; phase < ROUNDS; phase++) {
    if (phase === 1 && __VU === 1) {
      check(round.leave(), { 'it left': (l) => l.outcome === 'left' });
      return;
    }
    const released = round.arriveAndWait();
    check(released, {
      'the phases follow each other': (r) => r.phase === phase,
      'all who are left took part': (r) => r.arrived + r.left === USERS,
    });
  }
}
