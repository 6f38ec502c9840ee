// @ts-check
/** What something costs that can be switched on and off: the same requests with and without it, block by block. */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { p95, switched, upperBound } from './numbers.js';

/** Requests of a half block, after a few that nobody counts. */
const REQUESTS = 200;
const FIRST = 20;

/** So long an exporter may count behind what it has answered, ms. */
const BEHIND = 5000;
/** How often it is looked at meanwhile, s. */
const LOOK = 0.1;

/** Whether it was told what a failed check means. */
let told = false;

/** @param {boolean} on @param {unknown} before @param {unknown} after */
function tell(on, before, after) {
  if (!told) {
    told = true;
    console.error(`switched ${on ? 'on' : 'off'}: ${FIRST + REQUESTS} requests left traces from ${before} to ${after}; ${on ? 'each' : 'none'} of them is to leave one`);
  }
}

/**
 * How many traces there are now that all requests of a half block are answered. Those that an exporter counts late are waited for: in
 * the next half they would be taken for its own.
 *
 * @param {() => unknown} traces @param {unknown} before
 */
function settled(traces, before) {
  let after = traces();
  // Where the switch was seen to do nothing, nothing comes any more.
  for (const began = Date.now(); !told && Date.now() - began < BEHIND && !switched(true, before, after, FIRST + REQUESTS); after = traces()) {
    sleep(LOOK);
  }
  return after;
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
    const after = on ? settled(traces, before) : traces();
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
