// One of several processes whose users meet at a barrier over Redis. It reports when its first user woke, by the clock of
// the machine, which is the same for all of them.
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS); // of all processes together
const ROUNDS = Number(__ENV.ROUNDS); // the warm-up included

const barriers = Array.from({ length: ROUNDS }, (_, round) =>
  new Barrier(`round-${round}`, { parties: USERS, store: __ENV.REDIS_URL }));
const releasedAt = new Trend('released_at');
const received = new Trend('received');

const thresholds = {};
for (let round = 1; round < ROUNDS; round++) {
  for (const metric of [`received{barrier:round-${round}}`, `released_at{barrier:round-${round}}`, `barrier_skew_duration{barrier:round-${round}}`]) {
    thresholds[metric] = ['max>-60000']; // makes k6 keep the figures of each round
  }
}

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: __ENV.LIMIT } },
  thresholds,
  summaryTrendStats: ['count', 'min', 'med', 'max'],
};

export default function () {
  const participant = exec.scenario.iterationInTest + 1;
  for (const [round, barrier] of barriers.entries()) {
    const released = barrier.arriveAndWait({ participant });
    releasedAt.add(released.releasedAt, { barrier: `round-${round}` });
    sleep(0.2);
    received.add(barrier.status().receivedMs, { barrier: `round-${round}` });
  }
}

export function handleSummary({ metrics }) {
  const rounds = [];
  for (let round = 1; round < ROUNDS; round++) {
    const released = metrics[`released_at{barrier:round-${round}}`].values;
    const skew = metrics[`barrier_skew_duration{barrier:round-${round}}`].values;
    const news = metrics[`received{barrier:round-${round}}`].values;
    // The instant of release is one for all users of the process; how late each woke is counted from it.
    const wake = { count: skew.count, min: released.min + skew.min, med: released.min + skew.med, max: released.min + skew.max };
    rounds.push({ released, wake, news, skew });
  }
  return { [__ENV.RESULT]: JSON.stringify({ rounds }) };
}
