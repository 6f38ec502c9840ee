// Users who meet at a Barrier or in a Group, again and again, and do nothing in between but note when.
//
// At its end each user writes a line: {"came": [ms of each round, before the call], "went": [ms of each round, after it]}.
import exec from 'k6/execution';
import { Barrier, Group } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS);
const ROUNDS = Number(__ENV.ROUNDS);

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '10m' } },
};

const barrier = __ENV.MEET === 'barrier' ? new Barrier('peers', { parties: USERS, cyclic: true }) : null;
const group = __ENV.MEET === 'group' ? new Group('peers', { size: USERS }) : null;

export default function () {
  const instance = exec.instance; // its clock is the same for all users
  const came = new Float64Array(ROUNDS);
  const went = new Float64Array(ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    came[round] = instance.currentTestRunDuration;
    barrier ? barrier.arriveAndWait() : group.join();
    went[round] = instance.currentTestRunDuration;
  }
  console.log(JSON.stringify({ came: Array.from(came), went: Array.from(went) }));
}
