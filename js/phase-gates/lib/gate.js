// @ts-check
/** What all gates have in common: settings, options, what is recorded, requests, and the verdict. */

import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

import { finite } from './numbers.js';
import { readConfig } from './settings.js';
import { gateText, isOwn, SAMPLES, samplesOf } from './summary.js';
import { targetsOf } from './targets.js';

/** @typedef {import('k6/options').Scenario} Scenario */
/** @typedef {import('./settings.js').Config} Config */

/** How often a condition that should come true is looked at, s. */
export const POLL = 0.01;

/**
 * What is made of the settings. Its refusal ends the run, in the init context before it starts, with exit code 108.
 *
 * @template T
 * @param {() => T} make
 * @returns {T}
 */
function settled(make) {
  try {
    return make();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    exec.test.abort(text);
    throw new Error(text); // not reached: k6 has stopped this code
  }
}

/**
 * A gate.
 *
 * @param {number} phase
 * @param {string} title
 * @param {(config: Config) => Record<string, Scenario>} loads
 * @param {{ seconds?: number }} [usual]
 */
export function gate(phase, title, loads, usual) {
  const config = settled(() => readConfig(__ENV, usual));
  const targets = targetsOf(phase, config);

  /** @type {Record<string, string[]>} */
  const thresholds = {};
  const add = (/** @type {string} */ name, /** @type {string} */ condition) => {
    const conditions = (thresholds[name] ??= []);
    if (!conditions.includes(condition)) {
      conditions.push(condition);
    }
  };
  /** @type {Record<string, Trend | Rate | Counter | Gauge>} */
  const metrics = {};
  const make = { trend: Trend, rate: Rate, counter: Counter, gauge: Gauge };
  for (const target of targets) {
    const { metric, type, stat, op, limit, samples = 1, watched } = target;
    if (!watched) {
      add(metric, `${stat}${op}${limit}`);
    }
    if (isOwn(target)) {
      metrics[metric] ??= new make[type](metric);
      // A threshold makes k6 tell the number, also where anything is enough.
      add(samplesOf(metric), `count>=${watched ? 0 : samples}`);
    }
  }
  const samples = new Counter(SAMPLES);

  /**
   * Records a value, or several. What is none is neither recorded nor counted.
   *
   * @param {string} metric
   * @param {unknown} value as it was told
   * @returns {boolean} whether there was one
   */
  function feed(metric, value) {
    const values = finite(value);
    values.forEach((one) => metrics[metric].add(one));
    if (values.length > 0) {
      samples.add(values.length, { of: metric });
    }
    return values.length > 0;
  }

  return {
    config,
    options: {
      scenarios: loads(config),
      thresholds,
      summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)', 'count'],
      setupTimeout: '10m',
      teardownTimeout: '10m',
      // Samples of a path with a key in it would otherwise be as many as keys.
      systemTags: ['status', 'method', 'name', 'check', 'error_code', 'scenario', 'expected_response'],
    },
    feed,
    /** @param {any} data */
    handleSummary(data) {
      return {
        stdout: gateText(phase, title, targets, data, config.judged).text,
        'summary.json': JSON.stringify(data, null, 2),
      };
    },

    /**
     * Posts JSON, and gives the JSON of the answer; nothing where the status is another one.
     *
     * @param {string} path of the target, or an address
     * @param {object} body
     * @param {{ status?: number, name?: string, quiet?: boolean, timeout?: string }} [more] quiet: it may fail, and is no check
     * @returns {any}
     */
    post(path, body, { status = 200, name = path, quiet = false, timeout = '120s' } = {}) {
      const params = { headers: { 'Content-Type': 'application/json' }, tags: { name }, timeout };
      const answer = http.post(path.startsWith('/') ? config.baseUrl + path : path, JSON.stringify(body), params);
      return understood(answer, status, name, quiet);
    },

    /** Has the target forget what it has measured for this phase: what an earlier run had it record is no part of this one. */
    forget() {
      const path = `/phase/${String(phase).padStart(2, '0')}/stats`;
      understood(http.del(config.baseUrl + path, null, { tags: { name: path }, timeout: '30s' }), 200, path, false);
    },

    /**
     * @param {string} path of the target, or an address
     * @param {{ status?: number, name?: string, quiet?: boolean }} [more]
     * @returns {any}
     */
    get(path, { status = 200, name = path, quiet = false } = {}) {
      const answer = http.get(path.startsWith('/') ? config.baseUrl + path : path, { tags: { name }, timeout: '30s' });
      return understood(answer, status, name, quiet);
    },
  };
}

/** Failures that were told: the first ones say what it is. */
let told = 0;

/**
 * @param {import('k6/http').Response} answer
 * @param {number} status
 * @param {string} name
 * @param {boolean} quiet
 */
function understood(answer, status, name, quiet) {
  const well = answer.status === status;
  if (!quiet) {
    check(answer, { [`${name} answers ${status}`]: () => well });
  }
  if (!well) {
    if (!quiet && told < 3) {
      told += 1;
      console.error(`${name}: status ${answer.status} ${answer.error} ${String(answer.body ?? '').slice(0, 300)}`);
    }
    return undefined;
  }
  return jsonOf(answer);
}

/** What an answer tells; nothing where that is no object. @param {import('k6/http').Response} answer @returns {any} */
export function jsonOf(answer) {
  try {
    const told = answer.json();
    return typeof told === 'object' && told !== null ? told : undefined;
  } catch {
    return undefined;
  }
}

/** So many iterations by one user. @param {string} name of the exported function @param {number} iterations @returns {Scenario} */
export function repeated(name, iterations, startTime = '0s') {
  return { executor: 'per-vu-iterations', exec: name, vus: 1, iterations, maxDuration: '10m', startTime };
}
