// @ts-check
/**
 * Phase 9, distribution: calls of nodes at a rate, while nodes are killed. A kill counts only when the front has seen the end of the
 * process and nobody listens at its address; the time until the first good call of a key that it had is the failover.
 */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { gate, jsonOf, POLL } from './lib/gate.js';
import { known } from './lib/numbers.js';

const { config, options, feed, handleSummary, get, post } = gate(9, 'Distribution', ({ seconds, rate, kills }) => ({
  steady_state: { executor: 'constant-arrival-rate', exec: 'steady', rate, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 200 },
  chaos_injection: {
    executor: 'per-vu-iterations', exec: 'chaos', vus: 1, iterations: kills, startTime: `${Math.ceil(seconds / 5)}s`, maxDuration: `${seconds}s`,
  },
}), { seconds: 300 });

export { options, handleSummary };

const JSON_TYPE = { 'Content-Type': 'application/json' };
/** A failover that takes longer is none, ms. */
const LIMIT = 5000;

/** @param {string} key */
const call = (key) => JSON.stringify({ key, operation: 'increment', value: 1 });

export function steady() {
  const iteration = exec.scenario.iterationInTest;
  const key = `user_${iteration % 10007}`;
  const shard = http.get(`${config.baseUrl}/api/cluster/shard?key=${key}`, { tags: { name: 'shard' } });
  const url = shard.status === 200 ? jsonOf(shard)?.node_url : undefined;
  if (typeof url !== 'string') {
    feed('request_errors', 1);
    return;
  }
  feed('shard_lookup_duration', shard.timings.duration);
  const answer = http.post(`${url}/api/cluster/rpc`, call(key), { headers: JSON_TYPE, tags: { name: 'rpc' }, timeout: '10s', responseType: 'none' });
  const well = answer.status === 200;
  check(well, { 'rpc successful': (done) => done });
  feed('request_errors', well ? 0 : 1);
  if (well) {
    feed('rpc_call_duration', answer.timings.duration);
    feed('cross_node_messages', 1);
  }
  if (iteration % 100 === 0) {
    feed('nodes_alive', get('/api/cluster/health', { quiet: true })?.nodes_available ?? 0);
  }
}

/** A key that a node has. @param {string} node */
function keyOf(node) {
  for (let number = 0; number < 1000; number++) {
    const key = `victim_${number}`;
    if (get(`/api/cluster/shard?key=${key}`, { name: 'shard of a victim' })?.node === node) {
      return key;
    }
  }
  throw new Error(`none of 1000 keys is ${node}'s`);
}

export function chaos() {
  const nodes = get('/api/cluster/nodes')?.nodes;
  const up = Array.isArray(nodes) ? nodes.filter(({ status }) => status === 'up') : [];
  if (up.length === 0) {
    feed('phase09_kills_confirmed', 0); // nobody knows of a node that could be killed
    return;
  }
  const victim = up[(exec.scenario.iterationInTest * 3 + 1) % up.length];
  const key = keyOf(victim.name);
  const began = Date.now();
  const killed = post(`/api/cluster/kill?node=${victim.name}`, {}, { status: 202, name: 'kill' });
  // What has been killed does not answer.
  const gone = http.get(`${victim.url}/health`, { tags: { name: 'health of a victim' }, timeout: '1s', responseCallback: http.expectedStatuses(0) }).status === 0;
  const confirmed = known(victim.incarnation) && killed?.incarnation === victim.incarnation && gone;
  feed('phase09_kills_confirmed', confirmed ? 1 : 0);
  if (!confirmed) {
    return;
  }
  for (;;) {
    const told = post('/api/cluster/rpc', { key, operation: 'increment', value: 1 }, { name: 'rpc after a kill', quiet: true });
    const took = Date.now() - began;
    if (told !== undefined || took > LIMIT) {
      feed('failover_duration', typeof told?.node === 'string' && told.node !== victim.name ? took : LIMIT);
      break;
    }
    sleep(POLL);
  }
  sleep(config.seconds / (2 * config.kills));
}

/** Watched. A system that cannot form a further cluster says nothing of that. */
export function teardown() {
  const calls = post('/phase/09/calls', { n: config.quick ? 5000 : 50000 }, { quiet: true });
  feed('phase09_calls_per_second', calls?.per_second);
  const formed = post('/phase/09/form', { n: 10 }, { quiet: true });
  feed('phase09_formed_ms', formed?.formed_ms);
}
