// @ts-check
/** What something costs that can be switched on and off: the same requests with and without it, block by block. */

import exec from 'k6/execution';
import http from 'k6/http';

import { p95, upperBound } from './numbers.js';

/** Requests of a half block, after a few that nobody counts. */
const REQUESTS = 200;
const FIRST = 20;

/** What this user has seen so far. @type {number[]} */
const differences = [];

/**
 * One block: with, then without, or the other way round. After the last of `blocks`, at least six, it gives the upper bound of what it
 * costs at p95, ms, with 95 % certainty.
 *
 * @param {number} blocks
 * @param {(on: boolean) => unknown} set
 * @param {string} url
 * @param {string} body
 * @returns {number | undefined}
 */
export function block(blocks, set, url, body) {
  const at = exec.vu.iterationInScenario;
  /** @type {Record<string, number>} */
  const found = {};
  for (const on of at % 2 === 0 ? [true, false] : [false, true]) {
    set(on);
    const times = [];
    for (let number = -FIRST; number < REQUESTS; number++) {
      const { timings, status } = http.post(url, body, { headers: { 'Content-Type': 'application/json' }, tags: { name: 'paired' }, responseType: 'none' });
      if (number >= 0 && status === 200) {
        times.push(timings.duration);
      }
    }
    if (times.length < REQUESTS) {
      return undefined; // what failed took no time that could be compared
    }
    found[String(on)] = p95(times);
  }
  differences.push(found.true - found.false);
  return at === blocks - 1 && differences.length === blocks ? upperBound(differences) : undefined;
}
