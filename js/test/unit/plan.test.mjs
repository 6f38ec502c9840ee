import assert from 'node:assert/strict';
import { test } from 'node:test';

import { optionsOf, whyImpossible } from '../../lib/plan.js';
import { timesOf } from '../../lib/plan.js';
import { eventOf, loginOffsetMs } from '../../lib/pure.js';
import { readConfig } from '../../lib/settings.js';

const plan = (env) => readConfig({ EVENT_IDS: 'a,b,c', ...env });
const users = (count) => Array.from({ length: count }, (_, index) => index + 1);

test('skew and limits of the presets', () => {
  const facts = (env) => [timesOf(plan(env)).loginSkewMs, timesOf(plan(env)).mainS];
  assert.deepEqual(facts({ VUS: '50' }), [0, 60]);
  assert.deepEqual(facts({ VUS: '100' }), [0, 60]);
  assert.deepEqual(facts({ VUS: '101' }), [1000, 60]);
  assert.deepEqual(facts({ SCENARIO: 'baseline' }), [19000, 322]);
  assert.deepEqual(facts({ SCENARIO: 'target' }), [99000, 702]);
  assert.deepEqual(facts({ SCENARIO: 'stress' }), [299000, 362]);
  assert.equal(timesOf(plan({ LOGIN_BATCH_JITTER_MS: '250' })).loginSkewMs, 250);
});

test('the controller may take a minute longer than the barrier, and as long as the users', () => {
  assert.equal(timesOf(plan({})).controllerS, 360);
  assert.equal(timesOf(plan({ SCENARIO: 'target' })).controllerS, 702);
  assert.equal(timesOf(plan({ BARRIER_TIMEOUT_MS: '1' })).controllerS, 61);
});

test('setup and teardown have time for all attempts and events', () => {
  assert.equal(timesOf(plan({})).adminS, 60 + 10 * 10 + 32);
  assert.equal(timesOf(plan({ MAX_LOGIN_RETRIES: '2', LOGIN_TIMEOUT_MS: '1000', LOGIN_RETRY_DELAY_MS: '500' })).adminS, 60 + 3 + 32);
});

test('the options of k6 follow from the settings', () => {
  const { scenarios, thresholds, setupTimeout } = optionsOf(plan({ SCENARIO: 'target', SSE_P95_THRESHOLD: '7' }));
  assert.equal(setupTimeout, '192s');
  assert.deepEqual(scenarios.main_scenario, {
    executor: 'per-vu-iterations',
    vus: 10000,
    iterations: 1,
    maxDuration: '702s',
    gracefulStop: '30s',
  });
  assert.equal(scenarios.admin_controller_scenario.maxDuration, '702s');
  assert.deepEqual(thresholds, {
    http_req_failed: ['rate<0.05'],
    sse_connection_time: ['p(95)<7'],
    completed_users: ['count==10000'],
    barrier_wait_ms: ['max<300000'],
  });
});

test('users log in by batches', () => {
  const offset = (userId, env = {}) => loginOffsetMs(plan(env), userId);
  assert.deepEqual([1, 100, 101, 200, 201].map((userId) => offset(userId)), [0, 0, 1000, 1000, 2000]);
  assert.deepEqual([1, 2, 3].map((userId) => offset(userId, { LOGIN_BATCH_SIZE: '1', LOGIN_BATCH_INTERVAL_MS: '5' })), [0, 5, 10]);
});

test('jitter repeats and stays inside its bound', () => {
  const jittered = plan({ LOGIN_BATCH_JITTER_MS: '700', LOGIN_BATCH_INTERVAL_MS: '0' });
  assert.equal(loginOffsetMs(jittered, 1), (1103515245 + 12345) % 700);
  const offsets = users(30000).map((userId) => loginOffsetMs(jittered, userId));
  assert.ok(offsets.every((offset) => Number.isInteger(offset) && offset >= 0 && offset < 700));
});

test('users are spread over the events in turn', () => {
  assert.deepEqual(users(5).map((userId) => eventOf(plan({}), userId)), ['a', 'b', 'c', 'a', 'b']);
});

test('the hot event gets exactly its share, the others the rest in turn', () => {
  for (const [ratio, hot] of [['0.6', 6000], ['0.5', 5000], ['0.7', 7000], ['1', 10000], ['0', 0]]) {
    const count = { a: 0, b: 0, c: 0 };
    users(10000).forEach((userId) => count[eventOf(plan({ HOT_EVENT_ID: 'b', HOT_RATIO: ratio }), userId)]++);
    assert.equal(count.b, hot, `ratio ${ratio}`);
    assert.ok(Math.abs(count.a - count.c) <= 1);
  }
  assert.deepEqual(
    users(6).map((userId) => eventOf(plan({ HOT_EVENT_ID: 'b', HOT_RATIO: '0.5' }), userId)),
    ['a', 'b', 'c', 'b', 'a', 'b'],
  );
  assert.equal(eventOf(readConfig({ EVENT_IDS: 'a', HOT_EVENT_ID: 'a' }), 1), 'a');
});

test('plans that cannot succeed are refused', () => {
  const calls = { logIn() {}, setEventStatus() {}, wait() {}, leave() {} };
  const why = (config, segment) => whyImpossible(config, calls, segment);
  assert.equal(why(plan({}), ''), '');
  assert.equal(why(plan({ SCENARIO: 'target' }), ''), '');
  assert.match(whyImpossible(plan({ SYSTEM: '/own.js' }), { ...calls, wait: 1, leave: undefined }, ''), /^\/own\.js exports no function wait, leave;/);
  assert.match(why(readConfig({}), ''), /EVENT_IDS is empty.*comma/);
  assert.match(why(plan({ HOT_EVENT_ID: 'x' }), ''), /HOT_EVENT_ID must be one of EVENT_IDS \(a, b, c\), got "x"/);
  assert.match(why(plan({ SCENARIO: 'stress' }), ''), /302000 ms after setup.*BARRIER_TIMEOUT_MS is 300000/);
  assert.match(why(plan({ SCENARIO: 'stress', BARRIER_TIMEOUT_MS: '400000' }), ''), /SSE_TIMEOUT_MS is 120000/);
  assert.match(why(plan({}), '0:1/2'), /RUN_ID is missing: with the execution segment 0:1\/2/);
  assert.equal(why(plan({ RUN_ID: 'run-1' }), '0:1/2'), '');
});
