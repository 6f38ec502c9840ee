// The rendezvous as one writes it by hand with k6/x/redis: a counter of arrivals for each round that everybody polls.
//
// As meetings.js or, with FAILS, as one-fails.js.
import { sleep } from 'k6';
import exec from 'k6/execution';
import redis from 'k6/x/redis';

const USERS = Number(__ENV.USERS);
const ROUNDS = Number(__ENV.ROUNDS);
/** Over how long the users come to a round, one as far after the other as the next, in s. */
const OVER = Number(__ENV.OVER_MS || 0) / 1000;
const FAILS = __ENV.FAILS === 'yes';
/** How long a user sleeps between two looks, in s. */
const INTERVAL = Number(__ENV.INTERVAL_MS) / 1000;

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: __ENV.PATIENCE, gracefulStop: '0s' },
  },
};

const client = new redis.Client(__ENV.STORE);

async function meet(round) {
  const key = `arrived:${round}`;
  let arrived = await client.incr(key); // the last one need not look
  while (arrived < USERS) {
    sleep(INTERVAL);
    arrived = Number(await client.get(key));
  }
}

async function once(participant) {
  if (participant === 1) throw new Error('the login failed');
  console.log(`came ${participant}`);
  await meet(0); // throws only where k6 ends the user meanwhile
  console.log(`went ${participant}`);
}

async function rounds(participant) {
  const instance = exec.instance; // its clock is the same for all users
  const came = new Float64Array(ROUNDS);
  const went = new Float64Array(ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    sleep((OVER * participant) / USERS);
    came[round] = instance.currentTestRunDuration;
    await meet(round);
    went[round] = instance.currentTestRunDuration;
  }
  console.log(JSON.stringify({ came: Array.from(came), went: Array.from(went) }));
}

export default async function () {
  const participant = exec.scenario.iterationInTest + 1;
  await (FAILS ? once(participant) : rounds(participant));
}
