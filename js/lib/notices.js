// @ts-check
/** Telling failures one by one while they are few. */

import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

import { config } from './config.js';

/** Failures that are told; ten thousand lines would bury the one that explains the run. */
const TOLD = 10;

/** @type {Barrier | undefined} */
let opened;

/**
 * Tells what a user failed of.
 *
 * @param {string} runId
 * @param {number} userId
 * @param {string} text
 */
export function tellFailure(runId, userId, text) {
  const place = config.verbose ? 0 : placeOf(runId, userId);
  if (place > TOLD) {
    return;
  }
  console.warn(`user ${userId} ${text}`);
  if (place === TOLD) {
    console.warn(`${TOLD} failures were told, all others are only counted; VERBOSE_LOGS=1 tells each`);
  }
}

/**
 * Which failure this is. VUs share no memory, but they meet at barriers: the first ones to arrive at this one are told.
 *
 * @param {string} runId
 * @param {number} userId
 */
function placeOf(runId, userId) {
  try {
    opened ??= new Barrier('told-failures', {
      parties: TOLD,
      store: isWhole() ? 'memory' : config.redisUrl,
      runId,
      ttl: config.barrierTtlSeconds * 1000,
    });
    return opened.arrive({ participant: userId }).index ?? TOLD + 1;
  } catch {
    return 0; // too many lines are better than none
  }
}

/** Whether this process is the whole run. */
function isWhole() {
  const segment = exec.test.options.executionSegment;
  return !segment || segment === '0:1';
}
