// @ts-check
/**
 * Phase 0, tooling: six tools succeed, all together within five minutes. scripts/phase-tools.sh runs them on this project and leaves
 * their results, which this script judges; nothing is taken for granted.
 *
 *   scripts/phase-tools.sh 0 && k6 run js/phase-gates/phase-00-gate.js
 */

import { check } from 'k6';

import { gate, repeated } from './lib/gate.js';
import { resultsOf } from './lib/results.js';

const { config, options, feed, handleSummary } = gate(0, 'Tooling foundation', () => ({ ci_validation: repeated('tools', 1) }));
const results = resultsOf(config, 'tools');

export { options, handleSummary };

export function tools() {
  for (const { name, ok, ms } of results) {
    check(ok, { [`${name} passes`]: (passed) => passed === true });
    check(ms, { [`${name} completes in reasonable time`]: (took) => took < 240000 });
    feed('gate_pass_rate', ok ? 1 : 0);
  }
  feed('pipeline_duration', results.reduce((sum, { ms }) => sum + ms, 0));
}
