/**
 * What the cases share: a clock, the rounds of a run, and what a user notes of each.
 *
 * A run has several rounds, so that one start of k6 gives several figures; the first is a warm-up and not reported. In
 * the measured time of a round a user does nothing but what is measured: it keeps its instants in arrays and hands them
 * to k6's metrics after the last round.
 */
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';

export const USERS = Number(__ENV.USERS);
/** How many rounds, the warm-up included. */
export const ROUNDS = Number(__ENV.ROUNDS);
/** Empty where the store is in memory. */
export const REDIS_URL = __ENV.REDIS_URL;
/** How often a peer polls, in s. */
export const INTERVAL = Number(__ENV.INTERVAL_MS) / 1000;

/** Over how long a release is spread, in ms. */
export const SPREAD_MS = 2000;

/** When the first round opens, in ms since the test began. */
const START = Number(__ENV.START_MS);
/** From the opening of a round to its instant, at least, in ms: until then all but the last user are to have come. */
const GAP = Number(__ENV.GAP_MS);
/** From the opening of a round to that of the next, at least, in ms. */
const PERIOD = Number(__ENV.PERIOD_MS);
/** How long all is quiet before the last user comes, in s. Up to a fifth is added, so that nobody's polls are in step. */
const QUIET = 0.3;
/** How long the tool may take to look at the process while all wait, in s. */
export const LOOK = Number(__ENV.LOOK_MS || 500) / 1000;

const trends = Object.fromEntries(['ready', 'began', 'decided', 'ended', 'last', 'woke', 'off', 'wall'].map((name) => [name, new Trend(name)]));

/**
 * Options of a run: a scenario of users who go through all rounds once, and perhaps others.
 *
 * @param {object} [others] further scenarios
 */
export function options(others = {}) {
  const scenario = { executor: 'per-vu-iterations', iterations: 1, maxDuration: __ENV.LIMIT };
  const scenarios = { users: { ...scenario, vus: USERS } };
  for (const [name, other] of Object.entries(others)) {
    scenarios[name] = { ...scenario, ...other };
  }
  const thresholds = {};
  for (let round = 1; round < ROUNDS; round++) {
    for (const name of Object.keys(trends)) {
      thresholds[`${name}{round:${round}}`] = ['max>=0']; // makes k6 keep the figures of each round
    }
  }
  return { scenarios, thresholds, summaryTrendStats: ['count', 'min', 'med', 'p(99)', 'max'], systemTags: ['scenario'] };
}

/** Milliseconds since the test began, with a fraction; the same for all users of the process. */
export class Clock {
  constructor() {
    this.instance = exec.instance; // its properties are read anew each time
  }

  now() {
    return this.instance.currentTestRunDuration;
  }

  sleepUntil(instant) {
    const left = instant - this.now();
    if (left > 0) {
      sleep(left / 1000);
    }
  }

  /** The wall clock's time at which the test began, in ms with a fraction: seen when the wall clock's milliseconds change. */
  wallAtStart() {
    let start = 0;
    for (let tick = 0; tick < 5; tick++) {
      const before = Date.now();
      let wall = before;
      while (wall === before) {
        wall = Date.now();
      }
      start = Math.max(start, wall - this.now()); // whatever comes between the two clocks makes it less
    }
    return start;
  }

  /** When a round opens: all but the last user come then. */
  opens(round) {
    return START + round * PERIOD;
  }

  /** When the last user comes, or where nothing is waited for, everybody. */
  instant(round) {
    return this.opens(round) + GAP;
  }
}

/** What one user notes, a value for each round. */
export class Notes {
  constructor(...names) {
    this.names = names;
    for (const name of names) {
      this[name] = new Float64Array(ROUNDS);
    }
  }

  /** Hands them over, once nothing is measured any more. A round without a note has none: instants are never 0. */
  report(clock) {
    clock.sleepUntil(clock.opens(ROUNDS));
    for (const name of this.names) {
      this[name].forEach((value, round) => {
        if (round > 0 && value > 0) {
          trends[name].add(value, { round: String(round) });
        }
      });
    }
  }
}

/** The number of the user, from 1 on. */
export const userNumber = () => exec.scenario.iterationInTest + 1;

/** All wait, in the first round, for as long as the tool needs to look at the process. */
export function letLook(round) {
  if (round === 0) {
    console.log('all wait');
    sleep(LOOK);
  }
}

/** The last user waits until all is quiet. */
export const quiet = () => sleep(QUIET * (1 + Math.random() / 5));

/** What the tool reads: for each round but the warm-up the figures of each trend. */
export function summary(data) {
  const rounds = [];
  for (const [name, metric] of Object.entries(data.metrics)) {
    const [, trend, round] = /^(\w+)\{round:(\d+)\}$/.exec(name) ?? [];
    if (round && metric.values.count > 0) {
      (rounds[Number(round) - 1] ??= {})[trend] = metric.values;
    }
  }
  return { [__ENV.RESULT]: JSON.stringify({ rounds }) };
}
