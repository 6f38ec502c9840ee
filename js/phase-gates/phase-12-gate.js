// @ts-check
/** Phase 12, delivery: all nodes are replaced, one after another, while requests are under way; none of them may fail. */

import { check, sleep } from 'k6';
import exec from 'k6/execution';

import { gate, repeated } from './lib/gate.js';

const { options, feed, handleSummary, get, post } = gate(12, 'Delivery, operations', ({ seconds, quick }) => ({
  health: { executor: 'constant-arrival-rate', exec: 'health', rate: 20, timeUnit: '1s', duration: `${2 * seconds}s`, preAllocatedVUs: 10, maxVUs: 50 },
  requests: { executor: 'constant-vus', exec: 'request', vus: 20, duration: `${2 * seconds}s`, gracefulStop: '10s' },
  deploy: repeated('deploy', quick ? 1 : 2, '2s'),
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
  const told = post('/phase/12/rolling-restart', {});
  check(told, { 'all nodes were replaced': (deployed) => deployed?.nodes.length > 0 });
  feed('phase12_shutdown_ms', told ? told.shutdown_ms : []);
  // Going back is the same again: all nodes are replaced by others.
  feed(exec.scenario.iterationInTest === 0 ? 'phase12_deploy_ms' : 'phase12_rollback_ms', told ? told.elapsed_us / 1000 : []);
}
