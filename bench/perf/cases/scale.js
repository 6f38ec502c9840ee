// One of several processes with as many users as the machine holds. All sleep until one instant, or with MEETS they meet at a
// barrier over Redis. What k6 gives each user costs memory, and so does each name that is imported: nothing is shared with the
// other cases, and the options are made once.
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
import { Barrier } from 'k6/x/barrier';

delete globalThis.crypto;

const USERS = Number(__ENV.USERS); // of all processes together
const ROUNDS = Number(__ENV.ROUNDS); // the warm-up included
const MEETS = __ENV.MEETS === '1';
const START = Number(__ENV.START_MS);
const GAP = Number(__ENV.GAP_MS);
const PERIOD = Number(__ENV.PERIOD_MS);

const noted = new Trend('noted');
const barrier = MEETS ? new Barrier('scale', { parties: USERS, cyclic: true, store: __ENV.REDIS_URL, timeout: '1h' }) : undefined;

function all() {
  const thresholds = {};
  for (let round = 1; round < ROUNDS; round++) {
    for (const what of ['ready', 'last', 'ended']) {
      thresholds[`noted{what:${what},round:${round}}`] = ['max>=0']; // makes k6 keep the figures of each round
    }
  }
  return {
    scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: __ENV.LIMIT } },
    setupTimeout: __ENV.MAKING,
    thresholds,
    summaryTrendStats: ['count', 'min', 'med', 'max'],
    systemTags: ['scenario'],
  };
}

export const options = __VU === 0 ? all() : undefined;

/** The processes have made their users one after another: all have one timetable, from the moment at which the last is ready. */
export function setup() {
  const ready = new Barrier('ready', { parties: Number(__ENV.PROCESSES), store: __ENV.REDIS_URL, timeout: '1h' });
  const { serverReleasedAt } = ready.arriveAndWait({ participant: Number(__ENV.PROCESS) });
  // The wall clock's time at which the test began, seen when the wall clock's milliseconds change.
  let began = 0;
  for (let tick = 0; tick < 5; tick++) {
    const before = Date.now();
    let wall = before;
    while (wall === before) {
      wall = Date.now();
    }
    began = Math.max(began, wall - exec.instance.currentTestRunDuration);
  }
  return { began, opens: serverReleasedAt + START };
}

export default function ({ began, opens }) {
  const instance = exec.instance; // its properties are read anew each time
  const now = () => began + instance.currentTestRunDuration;
  const sleepUntil = (instant) => sleep(Math.max(0, instant - now()) / 1000);
  const participant = exec.scenario.iterationInTest + 1;
  const isLast = participant === USERS;
  const ready = new Float64Array(ROUNDS);
  const last = new Float64Array(ROUNDS);
  const ended = new Float64Array(ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    const opening = opens + round * PERIOD;
    const instant = opening + GAP;
    sleepUntil(MEETS && isLast ? instant : opening);
    ready[round] = now();
    if (MEETS) {
      if (isLast) {
        while (barrier.missing(0).count > 1) {
          sleep(0.1);
        }
        sleep(0.3 * (1 + Math.random() / 5)); // all is quiet
        last[round] = now();
      }
      barrier.arriveAndWait({ participant });
    } else {
      if (isLast) {
        last[round] = instant;
      }
      sleepUntil(instant);
    }
    ended[round] = now();
  }
  sleepUntil(opens + ROUNDS * PERIOD);
  const report = (what, values) => values.forEach((value, round) => {
    if (round > 0 && value > 0) {
      noted.add(value, { what, round: String(round) });
    }
  });
  report('ready', ready);
  report('last', last);
  report('ended', ended);
}

export function handleSummary({ metrics }) {
  const rounds = Array.from({ length: ROUNDS - 1 }, () => ({}));
  for (const [name, metric] of Object.entries(metrics)) {
    const [, what, round] = /^noted\{what:(\w+),round:(\d+)\}$/.exec(name) ?? [];
    if (round && metric.values.count > 0) {
      rounds[Number(round) - 1][what] = metric.values;
    }
  }
  return { [__ENV.RESULT]: JSON.stringify({ rounds }) };
}
