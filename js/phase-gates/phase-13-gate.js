// @ts-check
/**
 * Phase 13, all together: orders through cache, counter, cluster and queue, at a rate, while a node is killed and another one is cut
 * off. A drill is survived when it was confirmed and orders are placed again, with all nodes there, at its end.
 */

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { gate, POLL } from './lib/gate.js';

const RATE = 1100;
const { config, options, feed, handleSummary, get, post } = gate(13, 'Capstone integration', ({ seconds }) => ({
  orders: { executor: 'constant-arrival-rate', exec: 'order', rate: RATE, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 100, maxVUs: 400 },
  kill: { executor: 'per-vu-iterations', exec: 'kill', vus: 1, iterations: 1, startTime: `${Math.ceil(seconds / 4)}s` },
  partition: { executor: 'per-vu-iterations', exec: 'partition', vus: 1, iterations: 1, startTime: `${Math.ceil(seconds / 2)}s` },
}), { seconds: 60 });

export { options, handleSummary };

/** A drill that is not over by then is not survived, ms. */
const LIMIT = 30000;
const HEADERS = { 'Content-Type': 'application/json' };

export function order() {
  const number = exec.scenario.iterationInTest;
  const body = JSON.stringify({ customer: number % 9973, product: (number * 7) % 997 });
  const answer = http.post(`${config.baseUrl}/phase/13/order`, body, { headers: HEADERS, tags: { name: 'order' }, responseType: 'none' });
  const well = answer.status === 200;
  feed('phase13_failed_orders', well ? 0 : 1);
  if (well) {
    feed('phase13_order_ms', answer.timings.duration);
    feed('phase13_orders', 1);
  }
}

/** Whether something comes true in time. @param {() => boolean} holds */
function until(holds) {
  for (const began = Date.now(); Date.now() - began < LIMIT; sleep(POLL)) {
    if (holds()) {
      return true;
    }
  }
  return false;
}

const available = () => get('/api/cluster/health', { quiet: true })?.nodes_available;
const ordered = () => post('/phase/13/order', { customer: 1, product: 1 }, { quiet: true, name: 'order after a drill' }) !== undefined;

export function kill() {
  const all = get('/api/cluster/health').nodes;
  const killed = post('/api/cluster/kill?node=node2', {}, { status: 202, name: 'kill' });
  feed('phase13_drills_survived', killed !== undefined && until(ordered) && until(() => available() === all) ? 1 : 0);
}

export function partition() {
  const all = get('/api/cluster/health').nodes;
  const set = (/** @type {string | null} */ names) => http.put(`${config.baseUrl}/faults`, JSON.stringify({ partition: names })).status === 200;
  const cut = set('node3') && until(() => available() < all);
  sleep(2);
  const survived = cut && until(ordered);
  const mended = set(null) && until(() => available() === all);
  feed('phase13_drills_survived', survived && mended ? 1 : 0);
}

/** However the run ended. */
export function teardown() {
  http.put(`${config.baseUrl}/faults`, JSON.stringify({ partition: null }));
  until(() => {
    const told = get('/phase/13/orders');
    return told.placed === told.written;
  });
}
