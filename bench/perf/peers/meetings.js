// Users who meet at a Barrier or in a Group, again and again, and do nothing in between but note when.
//
// At its end each user writes a line: {"came": [ms of each round, before the call], "went": [ms of each round, after it]}.
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Barrier, Group } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS);
const ROUNDS = Number(__ENV.ROUNDS);
const STORE = __ENV.STORE || 'memory';
/** Over how long the users come to a round, one as far after the other as the next, in s; 0: they do nothing in between. */
const OVER = Number(__ENV.OVER_MS || 0) / 1000;

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '10m' } },
};

const barrier = __ENV.MEET === 'barrier' ? new Barrier('peers', { parties: USERS, cyclic: true, store: STORE }) : null;
const group = __ENV.MEET === 'group' ? new Group('peers', { size: USERS, store: STORE }) : null;

export default function () {
  const instance = exec.instance; // its clock is the same for all users of a process
  const now = Number(__ENV.PROCESSES || 1) === 1 ? () => instance.currentTestRunDuration : () => Date.now();
  const after = (OVER * (exec.scenario.iterationInTest + 1)) / USERS;
  const came = new Float64Array(ROUNDS);
  const went = new Float64Array(ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    if (after > 0) sleep(after);
    came[round] = now();
    barrier ? barrier.arriveAndWait() : group.join();
    went[round] = now();
  }
  console.log(JSON.stringify({ came: Array.from(came), went: Array.from(went) }));
}
