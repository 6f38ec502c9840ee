// One of several processes whose users meet at a barrier over Redis, again and again. It reports of each release when it heard
// of it and when its first user woke, by the clock of the machine, which is the same for all of them.
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

import { summary } from './lib/rounds.js';

const USERS = Number(__ENV.USERS); // of all processes together
const ROUNDS = Number(__ENV.ROUNDS); // the warm-up included

const barrier = new Barrier('rounds', { parties: USERS, cyclic: true, store: __ENV.REDIS_URL });
const names = ['wake', 'news', 'first_wake'];
const [wake, news, firstWake] = names.map((name) => new Trend(name));

const thresholds = {};
for (let round = 1; round < ROUNDS; round++) {
  for (const name of names) {
    thresholds[`${name}{round:${round}}`] = ['max>-60000']; // makes k6 keep the figures of each round
  }
}

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: __ENV.LIMIT } },
  thresholds,
  summaryTrendStats: ['count', 'min', 'med', 'max'],
};

export default function () {
  const participant = exec.scenario.iterationInTest + 1;
  const reports = exec.vu.idInInstance === 1;
  for (let round = 0; round < ROUNDS; round++) {
    const { arrived } = barrier.arriveAndWait({ participant });
    if (arrived !== USERS) {
      throw new Error(`round ${round} was over with ${arrived} of ${USERS} users`);
    }
    sleep(0.2);
    // The next release waits for this user too, so that the status is of this one.
    if (reports && round > 0) {
      const { releasedAt, receivedMs, firstWakeMs } = barrier.status();
      const tags = { round: String(round) };
      news.add(receivedMs, tags);
      if (firstWakeMs !== null) {
        wake.add(releasedAt + firstWakeMs, tags);
        firstWake.add(firstWakeMs, tags);
      }
    }
  }
}

export const handleSummary = summary;
