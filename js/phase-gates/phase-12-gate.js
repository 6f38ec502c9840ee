// @ts-check
/** Phase 12, delivery: all nodes are replaced, one after another, while requests are under way; none of them may fail. */

import { check, sleep } from 'k6';
import exec from 'k6/execution';

import { gate, repeated } from './lib/gate.js';
import { inMs, replaced } from './lib/numbers.js';

/** When the first deploy begins, s. */
const FIRST = 2;
/** How long the load lasts, s: beyond the last deploy. */
const loadOf = (/** @type {number} */ seconds) => Math.max(2 * seconds, 16);

const { config, options, feed, handleSummary, get, post } = gate(12, 'Delivery, operations', ({ seconds, quick }) => ({
  health: { executor: 'constant-arrival-rate', exec: 'health', rate: 20, timeUnit: '1s', duration: `${loadOf(seconds)}s`, preAllocatedVUs: 10, maxVUs: 50 },
  requests: { executor: 'constant-vus', exec: 'request', vus: 20, duration: `${loadOf(seconds)}s`, gracefulStop: '10s' },
  deploy: repeated('deploy', quick ? 1 : 2, `${FIRST}s`),
}), { seconds: 30 });

export { options, handleSummary };

export function health() {
  for (const [path, metric] of [['/health', 'phase12_health_ms'], ['/api/cluster/health', 'phase12_readiness_ms']]) {
    const began = Date.now();
    if (get(path)) {
      feed(metric, Date.now() - began);
    }
  }
}

export function request() {
  const told = post('/phase/12/work', { key: `user_${exec.scenario.iterationInTest}`, hold_ms: 200 });
  feed('phase12_failed_requests', told ? 0 : 1);
  if (!told) {
    sleep(0.1);
  }
}

export function deploy() {
  const before = get('/api/cluster/nodes');
  const told = post('/phase/12/rolling-restart', {});
  const left = exec.scenario.startTime + 1000 * (loadOf(config.seconds) - FIRST) - Date.now();
  const after = get('/api/cluster/nodes');
  check(told, { 'all nodes were replaced': (deployed) => deployed !== undefined && replaced(before, after) });
  // A deploy of which a part had no requests to fail says nothing.
  if (!check(left, { 'requests were under way until the end of the deploy': (ms) => ms > 0 })) {
    console.error(`the deploy ended ${-left} ms after the load: a larger GATE_MS makes that longer (with the runner: --set GATE_MS=...)`);
  }
  feed('phase12_shutdown_ms', told?.shutdown_ms);
  // Going back is the same again: all nodes are replaced by others.
  feed(exec.scenario.iterationInTest === 0 ? 'phase12_deploy_ms' : 'phase12_rollback_ms', inMs(told?.elapsed_us));
}
