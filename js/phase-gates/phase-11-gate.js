// @ts-check
/**
 * Phase 11, testing: a small suite runs a hundred times, fast, with most of the code covered, and never fails. scripts/phase-tools.sh
 * runs it and leaves the results, which this script judges; with QUICK=1 for both, ten times.
 *
 *   scripts/phase-tools.sh 11 && k6 run js/phase-gates/phase-11-gate.js
 */

import { gate, repeated } from './lib/gate.js';
import { resultsOf } from './lib/results.js';
import { check } from 'k6';

const { config, options, feed, handleSummary } = gate(11, 'Testing strategy', () => ({ suite: repeated('suite', 1) }));
const results = resultsOf(config, 'tests');

export { options, handleSummary };

export function suite() {
  check(results, { 'the suite ran': ({ length }) => length > 0 });
  for (const { ok, ms, coverage } of results) {
    feed('phase11_suite_ms', ms);
    feed('phase11_flake_share', ok ? 0 : 1);
    feed('phase11_coverage_percent', coverage);
  }
}
