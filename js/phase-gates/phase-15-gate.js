// @ts-check
/** Phase 15, a model that is served: inferences at a rate, batches, and swaps to another version while it serves. */

import { check, sleep } from 'k6';
import exec from 'k6/execution';

import { gate, POLL, repeated } from './lib/gate.js';
import { inMs, known } from './lib/numbers.js';

const { options, feed, handleSummary, get, post } = gate(15, 'AI/ML integration', ({ seconds, quick }) => ({
  inferences: { executor: 'constant-arrival-rate', exec: 'infer', rate: 110, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 100 },
  swaps: repeated('swap', 3, '2s'),
  batches: repeated('batch', quick ? 5 : 20, `${seconds + 1}s`),
}), { seconds: 60 });

export { options, handleSummary };

/** A swap that takes longer has failed, ms. */
const LIMIT = 10000;

export function infer() {
  const told = post('/phase/15/infer', { seed: exec.scenario.iterationInTest });
  feed('phase15_failed', known(told?.answer) ? 0 : 1);
  feed('phase15_infer_ms', inMs(told?.elapsed_us));
}

export function swap() {
  const before = post('/phase/15/infer', { seed: 1 });
  if (!check(before, { 'the model tells its version': (told) => known(told?.version) })) {
    return; // nobody could tell the next one from this one
  }
  const version = (before.version % 1000) + 1;
  const began = Date.now();
  post('/phase/15/swap', { version }, { status: 202 });
  for (let took = 0; took < LIMIT; took = Date.now() - began) {
    const after = post('/phase/15/infer', { seed: 1 });
    feed('phase15_failed', known(after?.answer) ? 0 : 1);
    if (after?.version === version) {
      check(after, { 'the answers are those of the new model': ({ answer }) => answer !== before.answer });
      feed('phase15_swap_ms', Date.now() - began);
      break;
    }
    sleep(POLL);
  }
  sleep(1);
}

export function batch() {
  const told = post('/phase/15/batch', { n: 1000 });
  feed('phase15_items_per_second', told?.per_second);
}

/** What the processors have done until now. */
export function setup() {
  return { at: Date.now(), before: get('/phase/15/stats', { quiet: true })?.processor_us };
}

/**
 * The model is a stub of 512 neurons: how long a real one takes to load, this does not say.
 *
 * @param {{ at: number, before?: number }} began
 */
export function teardown({ at, before }) {
  const told = get('/phase/15/stats');
  const share = known(told?.processor_us, told?.processors, before) ? (told.processor_us - Number(before)) / (1000 * (Date.now() - at) * told.processors) : undefined;
  feed('phase15_processors_percent', share === undefined ? undefined : 100 * share);
  feed('phase15_load_ms', inMs(told?.durations?.load?.max));
  feed('phase15_memory_mb', known(told?.memory_bytes) ? told.memory_bytes / 1e6 : undefined);
}
