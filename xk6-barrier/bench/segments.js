// One of several k6 processes whose users meet at one barrier over Redis. scripts/measure-segments.mjs starts them and
// reads what this one prints: when its barrier was released, and when its first and its last user woke.
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { Barrier } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS);

const barrier = new Barrier('segments', { parties: USERS, store: __ENV.REDIS_URL, timeout: '50s' });
const releasedAt = new Trend('released_at');
const arrived = new Trend('arrived');

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '55s' } },
  summaryTrendStats: ['count', 'min', 'max'],
};

export default function () {
  const released = barrier.arriveAndWait({ participant: exec.scenario.iterationInTest + 1 });
  releasedAt.add(released.releasedAt);
  arrived.add(released.arrived);
}

export function handleSummary({ metrics }) {
  const instant = metrics.released_at?.values;
  const skew = metrics.barrier_skew_duration?.values;
  const result = {
    segment: __ENV.SEGMENT,
    waiters: instant?.count ?? 0,
    arrived: metrics.arrived?.values.min ?? 0,
    releasedAt: instant?.min,
    firstWake: instant && skew ? instant.min + skew.min : undefined,
    lastWake: instant && skew ? instant.min + skew.max : undefined,
  };
  return { stdout: `RESULT ${JSON.stringify(result)}\n` };
}
