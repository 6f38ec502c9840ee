// @ts-check
/**
 * Phase 8, caching: reads and writes are measured in the target. The stampede comes from here: all users are let go at once, by the
 * barrier, on one cold key, which may be loaded once. Needs a k6 with k6/x/barrier.
 */

import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

import { gate, repeated } from './lib/gate.js';
import { milliseconds } from './lib/numbers.js';

const USERS = 50;
const ROUNDS = 5;

const { config, options, feed, handleSummary, post } = gate(8, 'Caching, ETS', ({ quick }) => ({
  reads: repeated('reads', quick ? 10 : 20),
  stampede: { executor: 'per-vu-iterations', exec: 'stampede', vus: USERS, iterations: ROUNDS, maxDuration: '2m', startTime: quick ? '10s' : '40s' },
}));

export { options, handleSummary };

// k6 stands in for a module that it does not have with one that exports nothing.
if (typeof Barrier !== 'function') {
  exec.test.abort('phase 8 needs a k6 with k6/x/barrier: `make k6` builds one');
}
const barrier = new Barrier('stampede', { parties: USERS, timeout: '60s' });

export function reads() {
  const read = post('/phase/08/read', { n: config.quick ? 50000 : 500000 });
  const write = post('/phase/08/write', { n: config.quick ? 5000 : 50000 });
  if (read && write) {
    feed('phase08_read_ms', milliseconds(read));
    feed('phase08_reads_per_second', read.per_second);
    feed('phase08_hit_share', read.hit_share);
    feed('phase08_write_ms', milliseconds(write));
  }
}

/** A key that nobody has asked for before, in this run or another. @returns {{ run: string }} */
export function setup() {
  return { run: `${Date.now()}` };
}

/** @param {{ run: string }} data */
export function stampede({ run }) {
  const round = exec.vu.iterationInScenario;
  barrier.arriveAndWait();
  const told = post('/phase/08/stampede', { key: `cold-${run}-${round}`, load_ms: 300 });
  if (told) {
    check(told, { 'the loader ran once': ({ loads }) => loads === 1 });
    feed('phase08_stampede_loads', told.loads);
  }
}

export function teardown() {
  feed('phase08_memory_mb', post('/phase/08/memory', { n: 1000000 })?.mb_per_million);
}
