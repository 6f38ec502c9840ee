// @ts-check
/** Phase 10, observability: what exporting metrics costs, the objective of availability, and an alert that has to fire. */

import { check, sleep } from 'k6';
import http from 'k6/http';

import { gate, POLL, repeated } from './lib/gate.js';
import { known } from './lib/numbers.js';
import { block } from './lib/paired.js';

const BLOCKS = 10;
const { config, options, feed, handleSummary, get, post } = gate(10, 'Observability, SLOs', ({ seconds, requests, quick }) => ({
  overhead: repeated('overhead', BLOCKS),
  requests: {
    executor: 'constant-arrival-rate', exec: 'request', rate: Math.ceil((1.1 * requests) / seconds), timeUnit: '1s', duration: `${seconds}s`,
    preAllocatedVUs: 100, startTime: quick ? '10s' : '20s',
  },
  alert: repeated('alert', 1, `${(quick ? 11 : 21) + seconds}s`),
}), { seconds: 30 });

export { options, handleSummary };

/** An alert that has not fired by then does not. */
const LIMIT = 30000;

export function overhead() {
  const set = (/** @type {boolean} */ on) => post('/phase/10/export', { on });
  const traces = () => get('/phase/10/slo')?.exported;
  const bound = block(BLOCKS, set, traces, `${config.baseUrl}/phase/10/work`, '{}');
  feed('phase10_overhead_ms', bound);
}

export function request() {
  const { status } = http.post(`${config.baseUrl}/phase/10/work`, '{}', { tags: { name: 'work' }, responseType: 'none' });
  feed('phase10_availability', status === 200 ? 1 : 0);
}

/** How long it takes until the alert fires, or does not; nothing where that is not in time, or not told. @param {boolean} firing */
function until(firing) {
  for (const began = Date.now(); Date.now() - began < LIMIT; sleep(POLL)) {
    const told = get('/phase/10/slo');
    if (told?.drill?.firing === firing) {
      return Date.now() - began;
    }
    if (told && typeof told.drill?.firing !== 'boolean') {
      break;
    }
  }
  return [];
}

export function alert() {
  post('/phase/10/drill', {}, { status: 202 });
  // An alert that fires all the time would be a fast one.
  const silent = until(false);
  post('/phase/10/drill', { good: 900, bad: 100 }, { status: 202 });
  const took = until(true);
  feed('phase10_alert_ms', Array.isArray(silent) ? [] : took);
  post('/phase/10/drill', {}, { status: 202 });
  check(until(false), { 'the alert ends after its drill': (ended) => !Array.isArray(ended) });
}

export function teardown() {
  const bytes = get('/phase/10/stats')?.memory_bytes;
  feed('phase10_memory_mb', known(bytes) ? bytes / 1e6 : undefined);
  post('/phase/10/export', { on: true });
}
