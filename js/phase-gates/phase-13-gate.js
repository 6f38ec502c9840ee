// @ts-check
/**
 * Phase 13, all together: orders through cache, counter, cluster, queue and, where there is one, a database, at a rate. The suite kills a node meanwhile and cuts another
 * one off, each for a while, and judges the orders of these times on their own. Under bare k6 tools/gameday has the drills; whether they
 * were survived this script cannot tell, and so it passes nothing there.
 */

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { gate, POLL } from './lib/gate.js';
import { inMs, known } from './lib/numbers.js';

const RATE = 1100;
const { config, options, feed, handleSummary, get, post } = gate(13, 'Capstone integration', ({ seconds }) => ({
  orders: { executor: 'constant-arrival-rate', exec: 'order', rate: RATE, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 100, maxVUs: 400 },
}), { seconds: 60 });

export { options, handleSummary };

/** Orders that are not written down by then are lost, ms. */
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

/** Where there is a database, orders go through it; one that has rows already keeps them. */
export function setup() {
  if (post('/phase/05/simple', { n: 1 }, { quiet: true }) === undefined) {
    post('/phase/05/prepare', { n: 20000 }, { quiet: true, timeout: '300s' });
  }
}

/** Every order that was placed is written down in the end. */
export function teardown() {
  const recovery = get('/phase/09/stats', { quiet: true })?.durations?.node_recovery;
  feed('phase13_recovery_ms', inMs(recovery?.max));
  for (const began = Date.now(); Date.now() - began < LIMIT; sleep(POLL)) {
    const told = get('/phase/13/orders', { quiet: true });
    if (told && !known(told.placed, told.written)) {
      break;
    }
    if (told?.placed > 0 && told.placed === told.written) {
      feed('phase13_lost_orders', 0);
      return;
    }
  }
  feed('phase13_lost_orders', 1);
}
