import { sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';

const barrier = new Barrier('start', { parties: 10 });

export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 10, iterations: 1 } } };

export default function () {
  sleep(Math.random()); // a login that takes up to a second
  const met = barrier.arriveAndWait(); // nobody goes on before all ten are here
  console.log(`user ${__VU} goes on: ${met.arrived} of ${met.parties} arrived, failed: ${JSON.stringify(met.failed)}`);
}
