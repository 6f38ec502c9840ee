// @ts-check
/** Phase 3, a server under supervision: calls at a rate, casts, and crashes that its supervisor mends. */

import { check, sleep } from 'k6';
import http from 'k6/http';

import { gate, POLL, repeated } from './lib/gate.js';
import { known, milliseconds } from './lib/numbers.js';

const { config, options, feed, handleSummary, get, post } = gate(3, 'GenServer, supervision', ({ seconds, quick }) => ({
  genserver_calls: { executor: 'constant-arrival-rate', exec: 'call', rate: 550, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 100 },
  genserver_casts: repeated('cast', quick ? 10 : 20, `${seconds + 1}s`),
  crash_recovery: repeated('crash', 10, `${seconds + (quick ? 5 : 15)}s`),
}), { seconds: 30 });

export { options, handleSummary };

const ONE = JSON.stringify({ amount: 1 });
const PARAMS = { headers: { 'Content-Type': 'application/json' }, tags: { name: 'genserver_call' } };
/** A counter that is not back by then is not going to be, ms. */
const LIMIT = 5000;

export function call() {
  const { status, timings, headers } = http.post(`${config.baseUrl}/api/counter/increment`, ONE, PARAMS);
  if (check(status, { 'call status is 200': (code) => code === 200 })) {
    feed('genserver_call_duration', timings.duration);
    feed('genserver_throughput', 1);
    feed('mailbox_depth', Number(headers['X-Mailbox-Depth']));
  }
}

export function cast() {
  const told = post('/phase/03/casts', { n: 20000 });
  feed('genserver_cast_duration', milliseconds(told));
}

export function crash() {
  const began = Date.now();
  const killed = post('/api/counter/kill', {}, { status: 202 });
  if (killed === undefined) {
    return; // nothing was killed, so nothing can recover
  }
  if (!known(killed.incarnation)) {
    feed('crash_recovery_success', 0); // nobody could tell the next one from this one
    return;
  }
  for (;;) {
    const health = get('/api/counter/health', { quiet: true });
    const took = Date.now() - began;
    if (health?.incarnation > killed.incarnation) {
      feed('supervisor_restart_time', took);
      feed('crash_recovery_success', 1);
      return;
    }
    if (took > LIMIT) {
      feed('crash_recovery_success', 0);
      return;
    }
    sleep(POLL);
  }
}
