// @ts-check

import exec from 'k6/execution';

/**
 * Ends the whole run with exit code 108; teardown and summary still run. `fail()` would end one iteration only.
 *
 * @param {string} text
 * @returns {never}
 */
export function endRun(text) {
  exec.test.abort(text);
  throw new Error(text); // not reached: k6 has stopped this code
}
