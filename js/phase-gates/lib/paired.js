// @ts-check
/** What something costs that can be switched on and off: the same requests with and without it, block by block. */

import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { p95, switched, upperBound } from './numbers.js';

/** Requests of a half block, after a few that nobody counts. */
const REQUESTS = 200;
const FIRST = 20;

/** Whether it was told what a failed check means. */
let told = false;

/** @param {boolean} on @param {unknown} before @param {unknown} after */
function tell(on, before, after) {
  if (!told) {
    told = true;
    console.error(`switched ${on ? 'on' : 'off'}: ${FIRST + REQUESTS} requests left traces from ${before} to ${after}; ${on ? 'each' : 'none'} of them is to leave one`);
  }
}

/** What this user has seen so far. @type {number[]} */
const differences = [];

/**
 * One block: with, then without, or the other way round. After the last of `blocks`, at least six, it gives the upper bound of what it
 * costs at p95, ms, with 95 % certainty. Where the switch does nothing there is no difference to measure: that is a check that fails.
 *
 * @param {number} blocks
 * @param {(on: boolean) => unknown} set
 * @param {() => unknown} traces how many requests have left one until now: they do while it is on
 * @param {string} url
 * @param {string} body
 * @returns {number | undefined}
 */
export function block(blocks, set, traces, url, body) {
  const at = exec.vu.iterationInScenario;
  /** @type {Record<string, number>} */
  const found = {};
  let before = traces();
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
    const after = traces();
    const works = switched(on, before, after, FIRST + REQUESTS);
    if (!check(works, { 'what is measured is on where it is to be, and off where not': (holds) => holds })) {
      tell(on, before, after);
      return undefined;
    }
    before = after;
    found[String(on)] = p95(times);
  }
  differences.push(found.true - found.false);
  return at === blocks - 1 && differences.length === blocks ? upperBound(differences) : undefined;
}
