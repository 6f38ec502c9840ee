// @ts-check
/** What the scripts have in common: how a run is refused, its loads, and what is done before them. */

import exec from 'k6/execution';

import { STATISTICS, userId } from './draw.js';
import { send } from './events.js';

/** @typedef {import('k6/options').Scenario} Scenario */

/**
 * What is made of the settings. Its refusal ends the run, in the init context before it starts, with exit code 108.
 *
 * @template T
 * @param {() => T} make
 * @returns {T}
 */
export function settled(make) {
  try {
    return make();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    exec.test.abort(text);
    throw new Error(text); // not reached: k6 has stopped this code
  }
}

/**
 * A load that begins iterations at a rate, however long they take.
 *
 * @param {string} name of the exported function
 * @param {number} rate a second
 * @param {import('./settings.js').Vus} vus
 * @param {string} duration
 * @returns {Scenario}
 */
export function load(name, rate, vus, duration) {
  return {
    executor: 'constant-arrival-rate',
    exec: name,
    rate,
    timeUnit: '1s',
    duration,
    preAllocatedVUs: vus.preAllocated,
    maxVUs: vus.most,
    gracefulStop: '30s',
  };
}

/**
 * The objectives of loads, as k6's thresholds: those that the suite's gates judge, so that one setting moves both.
 *
 * @param {import('./settings.js').Config} config
 * @param {('api' | 'events')[]} loads
 * @returns {Record<string, string[]>}
 */
export function objectives(config, loads) {
  const told = { api: { requests: 'http_req', p95: config.apiP95MaxMs }, events: { requests: 'grpc_req', p95: config.eventP95MaxMs } };
  /** @type {Record<string, string[]>} */
  const thresholds = {};
  for (const name of loads) {
    const { requests, p95 } = told[name];
    thresholds[`${requests}_duration{load:${name}}`] = [`p(95)<${p95}`];
    thresholds[`${requests}_failed{load:${name}}`] = [`rate<${config.errorRateMax}`];
    // Nothing is asked of this: so it appears in the summary.
    thresholds[`iterations{scenario:${name}}`] = [];
  }
  return thresholds;
}

/** More than any goal asks for. */
const ENOUGH = 1000000;

/**
 * Completes goals of the first users, so that there is something to claim: an event for each statistic that events change.
 *
 * @param {import('./settings.js').Config} config
 */
export function seed(config) {
  for (let number = 1; number <= config.seedUsers; number++) {
    const user = userId(number);
    for (const statCode of STATISTICS.filter((code) => code !== 'login_count')) {
      const event = { id: `seed-${number}-${statCode}`, userId: user, statistic: { statCode, latestValue: ENOUGH } };
      if (!send(config, event, { load: 'setup' })) {
        exec.test.abort(`setup: goals of ${user} could not be completed, as its event was not acknowledged; SEED_USERS=0 does without`);
      }
    }
  }
}
