// @ts-check
/** What tools left in a file, for gates that judge tools. */

import exec from 'k6/execution';

/** @typedef {{ name: string, ok: boolean, ms: number, coverage?: number }} Result */

/** Older ones are of other sources, or of a machine as it was then, s. */
const OLDEST = 3600;

/**
 * @param {import('./settings.js').Config} config
 * @param {'tools' | 'tests'} kind what is wanted of the file
 * @returns {Result[]}
 */
export function resultsOf({ results }, kind) {
  try {
    const { [kind]: found, at, commit } = JSON.parse(open(results.startsWith('/') ? results : import.meta.resolve(`../../../${results}`)));
    const age = Math.round(Date.now() / 1000 - at);
    if (!(Math.abs(age) <= OLDEST)) {
      throw new Error(`it is ${Number.isFinite(age) ? `${age} s old` : 'of an unknown time'}, of commit ${commit}, and at most ${OLDEST} s are allowed`);
    }
    if (!Array.isArray(found) || found.length === 0) {
      throw new Error(`it has no list "${kind}"`);
    }
    return found;
  } catch (error) {
    const text = `RESULTS: ${results} cannot be used: ${/** @type {any} */ (error)?.message ?? error}; scripts/phase-tools.sh makes it`;
    exec.test.abort(text);
    throw new Error(text); // not reached: k6 has stopped this code
  }
}
