// @ts-check
/** Phase 4, names and fleets: measured in the target, a batch at a time. */

import { check } from 'k6';

import { gate, repeated } from './lib/gate.js';
import { inMs, milliseconds } from './lib/numbers.js';

const { config, options, feed, handleSummary, post } = gate(4, 'Naming, fleets', ({ quick }) => ({ fleets: repeated('fleets', quick ? 10 : 20) }));

export { options, handleSummary };

export function fleets() {
  const lookup = post('/phase/04/lookup', { n: config.quick ? 100000 : 1000000 });
  const workers = post('/phase/04/workers', { n: config.quick ? 2000 : 10000 });
  const sweep = post('/phase/04/sweep', { n: 1000 });
  const memory = post('/phase/04/memory', { n: 100000 });
  if (!lookup || !workers || !sweep || !memory) {
    return;
  }
  check(lookup, { 'all names are known': ({ missed }) => missed === 0 });
  check(workers, { 'each worker is itself': ({ wrong }) => wrong === 0 });
  feed('phase04_lookup_ms', milliseconds(lookup));
  feed('phase04_workers_per_second', workers.per_second);
  feed('phase04_spawn_ms', milliseconds(workers));
  feed('phase04_sweep_ms', inMs(sweep.elapsed_us));
  feed('phase04_registry_mb', memory.mb_per_10k);
}
