// @ts-check
/** Phase 2, processes and mailboxes: measured in the target, a batch at a time. */

import { check } from 'k6';

import { gate, repeated } from './lib/gate.js';
import { milliseconds } from './lib/numbers.js';

const { config, options, feed, handleSummary, forget, get, post } = gate(2, 'Processes, mailboxes', ({ quick }) => ({
  message_passing: repeated('batches', quick ? 10 : 20),
}));

export { options, handleSummary };

/** The suite judges what the target has recorded. */
export function setup() {
  forget();
}

export function batches() {
  for (const [operation, n, metric] of /** @type {const} */ ([
    ['message', 100000, 'message_passing_duration'],
    ['spawn', 50000, 'process_spawn_duration'],
    ['mailbox', 200, 'mailbox_scan_duration'],
    ['monitor', 20000, 'phase02_monitor_ms'],
  ])) {
    const told = post(`/phase/02/${operation}`, { n: config.quick ? n / 10 : n });
    feed(metric, milliseconds(told));
  }
}

export function teardown() {
  check(get('/phase/02/stats'), { 'no message got lost': (told) => told?.counts?.lost_messages === 0 });
}
