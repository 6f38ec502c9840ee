// @ts-check
/** What the scripts do before a run begins, and how they refuse one. */

import { SharedArray } from 'k6/data';
import exec from 'k6/execution';

import { dialects } from './dialects.js';
import { allPrompts } from './prompts.js';

/** What users write: one copy for all VUs. @type {readonly string[]} */
export const prompts = new SharedArray('prompts', allPrompts);

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
 * The dialect of the settings: by its name, or in a file of somebody's own.
 *
 * @param {import('./settings.js').Config} config
 */
export function dialectOf({ dialect }) {
  return dialects[dialect] ?? settled(() => dialectIn(dialect));
}

/**
 * @param {string} path
 * @returns {import('./dialects.js').Dialect}
 */
function dialectIn(path) {
  let found;
  try {
    found = require(path).dialect;
  } catch (error) {
    throw new Error(`DIALECT: ${path} could not be loaded: ${/** @type {any} */ (error)?.message ?? error}`);
  }
  if (typeof found?.path !== 'string' || typeof found.request !== 'function' || typeof found.read !== 'function') {
    throw new Error(`DIALECT: ${path} must export a dialect with path, request and read, as lib/dialects.js has them`);
  }
  return found;
}

/**
 * The tokens of users, kept once for all VUs; undefined where there is no file of them.
 *
 * @param {string} path a token in each line, or empty
 * @returns {readonly string[] | undefined}
 */
export function tokensOf(path) {
  if (path === '') {
    return undefined;
  }
  return settled(() => {
    try {
      return new SharedArray('tokens', () =>
        open(path)
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => line !== ''),
      );
    } catch (error) {
      throw new Error(`TOKENS: ${path} could not be read: ${/** @type {any} */ (error)?.message ?? error}`);
    }
  });
}

/**
 * Refuses fewer tokens than VUs. Any VU may be the one that is no user but reads the loop's pace.
 *
 * @param {readonly string[] | undefined} tokens
 * @param {number} vus
 */
export function enoughTokens(tokens, vus) {
  if (tokens !== undefined && tokens.length < vus) {
    throw new Error(`TOKENS must have a line with a token for each of ${vus} VUs, got ${tokens.length}`);
  }
}
