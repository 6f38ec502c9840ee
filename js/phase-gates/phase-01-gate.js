// @ts-check
/**
 * Phase 1, core language: parse a table, calculate statistics, read a long table in little memory. Durations are the target's own: the
 * 2 MB of a list of numbers take longer on their way.
 */

import { check, sleep } from 'k6';
import http from 'k6/http';

import { gate, jsonOf } from './lib/gate.js';
import { inMs } from './lib/numbers.js';

const { config, options, feed, handleSummary, post } = gate(1, 'Core language', ({ seconds }) => ({
  csv_parsing: { executor: 'constant-vus', exec: 'parse', vus: 10, duration: `${seconds}s` },
  stats_calculation: {
    executor: 'ramping-vus', exec: 'calculate', startVUs: 1, startTime: `${seconds}s`,
    stages: [{ duration: `${Math.ceil(seconds / 2)}s`, target: 10 }, { duration: `${Math.ceil(seconds / 2)}s`, target: 10 }],
  },
  memory: { executor: 'per-vu-iterations', exec: 'stream', vus: 1, iterations: 1, startTime: `${2 * seconds + 5}s`, maxDuration: '5m' },
}), { seconds: 30 });

export { options, handleSummary };

const ROWS = 10000;
const table = Array.from({ length: ROWS }, (_, row) => `${row},name_${row},${(row * 7919) % 1000},${1700000000 + row}`);
const csv = `id,name,value,timestamp\n${table.join('\n')}`;
const numbers = JSON.stringify({ numbers: Array.from({ length: 100000 }, (_, at) => ((at * 7919) % 1000003) / 1000.003) });

/** @param {string} name @param {string} path @param {string} body @param {string} type @param {(told: any) => boolean} right @param {string} metric */
function ask(name, path, body, type, right, metric) {
  const answer = http.post(config.baseUrl + path, body, { headers: { 'Content-Type': type }, tags: { name } });
  const told = answer.status === 200 ? jsonOf(answer) : undefined;
  const well = check(told, { [`${name}: status is 200`]: () => answer.status === 200, [`${name}: response is right`]: (json) => json !== undefined && right(json) });
  feed(metric, inMs(told?.elapsed_us));
  feed('errors', well ? 0 : 1);
  sleep(1);
}

export function parse() {
  ask('csv_parse', '/api/csv/parse', csv, 'text/csv', ({ rows }) => rows === ROWS, 'csv_parsing_duration');
}

export function calculate() {
  const right = (/** @type {any} */ { mean, median }) => mean > 0 && median > 0;
  ask('stats_calc', '/api/stats/calculate', numbers, 'application/json', right, 'stats_calculation_duration');
}

export function stream() {
  const told = post('/phase/01/stream', { n: 1000000 });
  check(told, { 'the long table was read to its end': (json) => json?.n === 1000000 });
  feed('memory_usage_mb', told?.memory_growth_mb);
  // Watched: a system that does not try them itself misses nothing else.
  const tried = post('/phase/01/properties', { n: 1000 }, { quiet: true });
  if (tried) {
    check(tried, { 'every property holds': ({ n, failed }) => n > 0 && failed === null });
  }
  feed('phase01_properties_ms', inMs(tried?.elapsed_us));
}
