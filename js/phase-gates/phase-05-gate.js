// @ts-check
/** Phase 5, data: queries and writes on a PostgreSQL, over HTTP, timed by the target. It has to be started with DATABASE_URL. */

import exec from 'k6/execution';

import { gate } from './lib/gate.js';
import { inMs } from './lib/numbers.js';

const { config, options, feed, handleSummary, post } = gate(5, 'Data, Ecto', ({ seconds }) => ({
  writes: { executor: 'constant-arrival-rate', exec: 'write', rate: 550, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 100 },
  simple: { executor: 'constant-vus', exec: 'simple', vus: 2, duration: `${seconds}s`, startTime: `${seconds + 1}s` },
  complex: { executor: 'constant-vus', exec: 'complex', vus: 2, duration: `${seconds}s`, startTime: `${2 * seconds + 2}s` },
  transactions: { executor: 'constant-vus', exec: 'transact', vus: 2, duration: `${Math.ceil(seconds / 2)}s`, startTime: `${3 * seconds + 3}s` },
}), { seconds: 60 });

export { options, handleSummary };

export function setup() {
  if (post('/phase/05/prepare', { n: config.rows }, { timeout: '600s' }) === undefined) {
    exec.test.abort('phase 5 needs rows, and they could not be made');
  }
}

/** The statements of all users are spread over the rows. */
const some = () => ({ n: (exec.scenario.iterationInTest * 7919) % 1000003 });

/** Whether it was carried out, and timed. @param {string} operation @param {string} metric */
function timed(operation, metric) {
  return feed(metric, inMs(post(`/phase/05/${operation}`, some())?.elapsed_us));
}

export function write() {
  if (timed('write', 'phase05_write_ms')) {
    feed('phase05_writes', 1);
  }
}

export function simple() {
  timed('simple', 'phase05_simple_ms');
}

export function complex() {
  timed('complex', 'phase05_complex_ms');
}

export function transact() {
  timed('transaction', 'phase05_transaction_ms');
  timed('checkout', 'phase05_checkout_ms');
}
