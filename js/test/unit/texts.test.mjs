import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accountingTexts, errorText, failureText, letGo, whyNotMet } from '../../lib/pure.js';
import { readConfig } from '../../lib/settings.js';
import { addEnd, summaryText } from '../../lib/summary.js';

test('the accounting has joined, loginFail and sseFail, and what else there is', () => {
  assert.deepEqual(accountingTexts({ arrived: 9, failed: { login: 1 } }), {
    failed: 1,
    people: '9 arrived, 1 failed (login 1)',
    fields: 'joined=9, loginFail=1, sseFail=0',
  });
  assert.deepEqual(accountingTexts({ arrived: 0, failed: { login: 0, sse: 2, 'iteration-ended': 3, other: 0 } }), {
    failed: 5,
    people: '0 arrived, 5 failed (sse 2, iteration-ended 3)',
    fields: 'joined=0, loginFail=0, sseFail=2, iteration-ended=3',
  });
  assert.deepEqual(accountingTexts({ arrived: 9, failed: { login: 0 } }), {
    failed: 0,
    people: '9 arrived',
    fields: 'joined=9, loginFail=0, sseFail=0',
  });
  assert.equal(accountingTexts({ arrived: 1, failed: {} }).failed, 0);
});

test('errors of every kind have a text', () => {
  assert.equal(errorText(new Error('why')), 'why');
  assert.equal(errorText('why'), 'why');
  assert.equal(errorText({ toString: () => 'why' }), 'why');
  assert.equal(errorText(undefined), 'undefined');
});

test('passwords of URLs are masked', () => {
  assert.equal(
    errorText('parse "redis://user:s3:cr@t@host:1/0": no; rediss://:x@h'),
    'parse "redis://user:***@host:1/0": no; rediss://:***@h',
  );
  assert.equal(errorText('redis://host:6379/0 at 10:30'), 'redis://host:6379/0 at 10:30');
});

const config = readConfig({ EVENT_IDS: 'a,b', SCENARIO: 'baseline', VUS: '8', BASE_URL: 'http://gate:1' });
const trend = (values) => ({ values });
const count = (value) => ({ values: { count: value } });

test('the summary has its lines in order', () => {
  const metrics = {
    completed_users: count(7),
    in_entry_events: count(6),
    sse_events: count(60),
    login_failures: count(3),
    login_final_failures: count(1),
    sse_failures: count(2),
    disconnect_failures: count(4),
    promoted_before_release: count(5),
    sse_connection_time: trend({ 'p(95)': 1234.567, max: 2000 }),
    barrier_wait_ms: trend({ max: 3330.4 }),
    open_to_promote_ms: trend({ 'p(95)': 900, max: 900 }),
    login_batch_delay_ms: trend({ 'p(95)': 2999.5, max: 3000 }),
    promotion_pause_ms: trend({ max: 1020.7 }),
    slots_at_join: trend({ min: 7 }),
    slots_most: trend({ max: 9 }),
    slots_at_end: trend({ min: 0 }),
  };
  assert.equal(
    summaryText({ metrics }, config),
    `SSE Throughput Test Summary
BASE_URL: http://gate:1
Scenario: baseline
Event IDs: 2 (hot ratio 50%)
Users (vus/iterations): 8
Success rate: 87.50%
P95 connection time: 1234.57 ms
Completed users: 7
IN_ENTRY events: 6
SSE events: 60
Login failures: 3
Login final failures: 1
SSE failures: 2
Disconnect failures: 4
Barrier wait max: 3330 ms
P95 OPEN->IN_PROGRESS: 900.00 ms
P95 login batch delay: 3000 ms
Promoted before release: 5
Longest pause of promotion: 1021 ms
Slots at join, most, at end: 7, 9, 0
Cut off users: 0
`,
  );
});

test('what is seen when the run is over stands beside what its metrics recorded', () => {
  const data = { metrics: { slots_most: { type: 'trend', contains: 'default', values: { min: 3, max: 7 } } } };
  addEnd(data, { slots: [8, 2], failed: 0 });
  assert.deepEqual(data.metrics, {
    slots_most: { type: 'trend', contains: 'default', values: { min: 3, max: 8 } },
    slots_least: { type: 'trend', contains: 'default', values: { min: 2, count: 2 } },
    slots_at_end: { type: 'trend', contains: 'default', values: { min: 2, max: 8, count: 2 } },
  });
  const none = { metrics: { failed_looks: { type: 'counter', contains: 'default', values: { count: 2, rate: 0.1 } } } };
  addEnd(none, { slots: [], failed: 1 });
  assert.deepEqual(none.metrics, { failed_looks: { type: 'counter', contains: 'default', values: { count: 3, rate: 0.1 } } });
});

test('the summary says how many users were cut off, and what helps', () => {
  const summed = (env) => summaryText({ metrics: { cut_off_users: count(64) } }, readConfig({ EVENT_IDS: 'a', ...env }));
  const alone = 'see why the queue is slow, or raise HOLD_MS and SSE_TIMEOUT_MS';
  assert.match(summed({}), new RegExp(`^Cut off users: 64: ${alone}$`, 'm'));
  assert.match(summed({ SEATS: '50', SLOT_BOOST: '1' }), new RegExp(`^Cut off users: 64: ${alone}$`, 'm'));
  const seats = 'give the SEATS that the events have (SEATS=50), or raise HOLD_MS and SSE_TIMEOUT_MS';
  assert.ok(summed({ SEATS: '50' }).includes(`\nCut off users: 64: ${seats}\n`));
  const config = readConfig({ EVENT_IDS: 'a', HOLD_MS: '70000', SSE_TIMEOUT_MS: '9000', SEATS: '50' });
  assert.equal(config.cutOff.byScenario, `cut off by the users' time limit of 73 s: ${seats}`);
  assert.equal(config.cutOff.byStream, `cut off by SSE_TIMEOUT_MS=9000: ${seats}`);
  const asked = (env) => readConfig({ EVENT_IDS: 'a', POLL_INTERVAL_MS: '5000', ...env }).cutOff.byScenario;
  assert.match(asked({ SYSTEM: 'polling' }), /: see why the queue is slow, lower POLL_INTERVAL_MS=5000, or raise HOLD_MS/);
  assert.doesNotMatch(asked({ SYSTEM: 'sse' }) + asked({ SYSTEM: 'polling', POLL_INTERVAL_MS: '1000' }), /POLL_INTERVAL_MS/);
});

test('the summary says which slots were to be seen', () => {
  const metrics = { slots_at_join: trend({ min: 13 }), slots_most: trend({ max: 13 }) };
  assert.match(summaryText({ metrics }, readConfig({ EVENT_IDS: 'a', SEATS: '8' })), /^Slots at join, most, at end: 13, 13, n\/a \(SEATS=8\)$/m);
  const boosted = readConfig({ EVENT_IDS: 'a', SEATS: '8', SLOT_BOOST: '1' });
  assert.match(summaryText({ metrics }, boosted), /n\/a \(SLOT_BOOST_VALUE=10000\)$/m);
});

test('events open when all users are there, and for no other release', () => {
  const met = { reason: 'all', arrived: 3, failed: {}, left: 0, parties: 3 };
  assert.equal(whyNotMet(met), '');
  assert.match(whyNotMet({ ...met, reason: 'operator', arrived: 2 }), /^released by hand before all were there: 2 arrived of 3/);
  assert.match(whyNotMet({ ...met, reason: 'operator', arrived: 0 }), /^released by hand .*: 0 arrived of 3/);
  assert.match(whyNotMet({ ...met, reason: 'quorum', arrived: 2 }), /^released \(quorum\) before/);
  assert.equal(whyNotMet({ ...met, arrived: 2, left: 1 }), '2 arrived, 1 left');
  assert.equal(whyNotMet({ ...met, arrived: 2, failed: { sse: 1 } }), '2 arrived, 1 failed (sse 1)');
});

test('what a system says is shortened, on one line and without secrets', () => {
  const text = (error) => failureText(error, ['hun"ter', 'b@ss']);
  assert.equal(text(new Error(' status 401,\r\n\tbody {}\n')), 'status 401, body {}');
  assert.equal(text('hun"ter, hun\\"ter, b@ss and b%40ss'), '***, ***, *** and ***');
  assert.equal(text('{"accessToken": "abc", "userPassword":"a\\"b", "code": "E1"}'), '{"accessToken": "***", "userPassword":"***", "code": "E1"}');
  assert.equal(text('got eyJhbGciOiJI.eyJzdWIi.abc-_ and Bearer xyz'), 'got *** and Bearer ***');
  assert.equal(text('redis://user:s3cret@host'), 'redis://user:***@host');
  assert.equal(text('x'.repeat(1000)), `${'x'.repeat(300)}…`);
});

test('what was let go names the setting, however it is used', () => {
  const http = { get: () => 1, CookieJar: class {}, request: () => 2 };
  const globals = { require: () => 1, JSON };
  letGo(globals, http);
  const refusal = /LEAN=1 has taken away what is used here: .*; run without LEAN=1/;
  assert.throws(() => http.get('x'), refusal);
  assert.throws(() => new http.CookieJar(), refusal);
  assert.throws(() => http.CookieJar.any, refusal);
  assert.throws(() => globals.require('x'), refusal);
  assert.equal(http.request(), 2);
  assert.equal(globals.JSON, JSON);
});

test('what was never recorded reads 0 or n/a', () => {
  const metrics = { barrier_wait_ms: trend({ max: 0, 'p(95)': 0 }) };
  const text = summaryText({ metrics }, readConfig({ EVENT_IDS: 'a' }));
  assert.match(text, /^Scenario: custom$/m);
  assert.match(text, /^Success rate: 0.00%$/m);
  assert.match(text, /^SSE failures: 0$/m);
  assert.equal(text.match(/: n\/a$/gm)?.length, 5);
});
