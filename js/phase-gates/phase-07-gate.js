// @ts-check
/** Phase 7, ingestion and jobs: measured in the target; an overload has to be held back, and nothing may get lost. */

import { gate, repeated } from './lib/gate.js';
import { known, milliseconds } from './lib/numbers.js';

const { config, options, feed, handleSummary, get, post } = gate(7, 'Jobs, ingestion', ({ quick }) => ({
  events: repeated('events', quick ? 5 : 20),
  jobs: repeated('jobs', quick ? 5 : 10, quick ? '5s' : '30s'),
  overload: repeated('overload', quick ? 1 : 5, quick ? '10s' : '60s'),
}));

export { options, handleSummary };

export function events() {
  const told = post('/phase/07/events', { n: config.quick ? 50000 : 500000 });
  if (told) {
    feed('phase07_events_per_second', told.per_second);
    feed('phase07_lost_events', told.lost);
    feed('phase07_event_ms', milliseconds(told));
  }
}

export function jobs() {
  const told = post('/phase/07/jobs', { n: config.quick ? 1000 : 5000, work_ms: 1 });
  if (told) {
    feed('phase07_job_ms', milliseconds(told));
    feed('phase07_jobs_per_second', told.per_second);
  }
}

export function overload() {
  const told = post('/phase/07/overload', { n: 20000 });
  if (told) {
    feed('phase07_overload_share', known(told.most_waiting, told.bound) ? told.most_waiting / told.bound : undefined);
    feed('phase07_lost_events', told.lost);
    feed('phase07_drained_ms', told.drained_ms);
  }
}

/** What so many jobs take that wait at once; none of them has anything to do. */
export function teardown() {
  const told = post('/phase/07/jobs', { n: 100000, work_ms: 0 });
  const bytes = told ? get('/phase/07/stats')?.most?.job_memory_bytes : undefined;
  feed('phase07_memory_mb', known(bytes) ? bytes / 1e6 : undefined);
}
