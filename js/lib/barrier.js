// @ts-check
/** The barrier at which all users meet, with their streams open, before the events open. */

import { Barrier } from 'k6/x/barrier';

import { accountingText, accountingWords, failedUsers } from './accounting.js';
import { config } from './config.js';
import { errorText, withoutPasswords } from './errors.js';
import { barrierWaitMs } from './metrics.js';
import { waitingCountsText } from './queues.js';
import { endRun } from './run.js';

/** How the module's errors begin: which call and which barrier, of which there is one here. */
const CALL = /^wait\(\) failed; reason: (barrier "[^"]*": )?/;

/** The scenario whose users must all be accounted for. */
export const MAIN_SCENARIO = 'main_scenario';

/** @type {Barrier | undefined} */
let opened;

/**
 * This VU's access to the barrier. Not made in the init context, where the run id is not known.
 *
 * @param {string} runId
 * @returns {Barrier}
 */
export function barrierOf(runId) {
  opened ??= new Barrier('default', {
    parties: config.vus,
    store: config.redisUrl,
    runId,
    reasons: ['login', 'sse'],
    timeout: config.barrierTimeoutMs,
    ttl: config.barrierTtlSeconds * 1000,
    failUnaccounted: [MAIN_SCENARIO],
  });
  return opened;
}

/**
 * Why there can be no barrier with these settings, or an empty text.
 *
 * @param {string} runId
 */
export function whyNoBarrier(runId) {
  try {
    barrierOf(runId);
    return '';
  } catch (error) {
    return withoutPasswords(errorText(error));
  }
}

/**
 * Records a user's outcome. One that cannot be delivered now stands and is delivered later; anything else that goes
 * wrong would leave the user unaccounted for, and everybody waiting for the time-out: it ends the run.
 *
 * @param {() => unknown} outcome
 * @param {(text: string) => void} tell gets why an outcome will be late
 */
export function record(outcome, tell) {
  try {
    outcome();
  } catch (error) {
    const text = withoutPasswords(errorText(error));
    if (/** @type {any} */ (error).pending !== true) {
      endRun(`Barrier failed: ${text}`);
    }
    tell(`has an outcome that the barrier's store will get later: ${text}`);
  }
}

/**
 * Waits until all users are accounted for, and ends the run unless all of them have joined.
 *
 * @param {Barrier} barrier
 * @returns {number} how long that took, ms
 */
export function meetAll(barrier) {
  const start = Date.now();
  let failure = '';
  try {
    const outcome = barrier.wait({ timeout: config.barrierTimeoutMs });
    if (failedUsers(outcome) > 0) {
      failure = `Barrier failed: ${accountingWords(outcome)}; ${accountingText(outcome)}`;
    }
  } catch (error) {
    failure =
      `Barrier failed: ${withoutPasswords(errorText(error)).replace(CALL, '')}; ${accountingText(barrier.status())}, ` +
      `expected=${config.vus}, elapsed=${Date.now() - start} ms`;
  } finally {
    barrierWaitMs.add(Date.now() - start);
  }
  // Only now: nothing of this iteration runs after an abort, the recording above included.
  if (failure !== '') {
    endRun(`${failure}; ${waitingCountsText()}`);
  }
  return Date.now() - start;
}
