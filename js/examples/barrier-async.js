// Each call that may wait has a twin that returns a promise: the user can do something else meanwhile.
import { check } from 'k6';
import { setTimeout } from 'k6/timers';
import { Barrier } from 'k6/x/barrier';

const USERS = 3;

const barrier = new Barrier('promise', { parties: USERS, timeout: '30s' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: { checks: ['rate==1'], barrier_arrivals: [`count==${USERS}`] },
};

export default async function () {
  let ticks = 0;
  const tick = () => {
    ticks += 1;
    if (ticks < 20) {
      setTimeout(tick, 10);
    }
  };
  tick();

  await new Promise((done) => setTimeout(done, __VU * 50));
  const released = await barrier.asyncArriveAndWait();

  check(released, {
    'all were there': (r) => r.arrived === USERS,
    'the event loop went on': () => ticks > 1,
  });
}
