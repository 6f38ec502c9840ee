/** What a run says of itself is so: who came, who was cut off, and why the events did or did not open. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startRoom } from './room.mjs';
import { EVENTS, startRedis, startWorld } from './world.mjs';

const ABORTED = 108;
const THRESHOLDS = 99;
const AFTER = resolve(fileURLToPath(import.meta.url), '../../../../docs/how-to/existing-harness/after.js');

/** Lets everybody at the run's barrier go, as a person would from another shell. */
const release = (world, runId) => world.operate(0, 'release', '--run-id', runId, '--yes');

const statuses = (world) => Promise.all(EVENTS.map((event) => world.redis('HGET', 'event_statuses', event)));

test('a barrier released by hand does not open the events', async (t) => {
  const world = await startWorld(t);
  let released;
  const onLine = (line) => {
    if (line.includes('joined the queue')) {
      released ??= release(world, 'by-hand');
    }
  };
  const env = { VUS: 4, RUN_ID: 'by-hand', LOGIN_BATCH_SIZE: 2, LOGIN_BATCH_INTERVAL_MS: 8000, VERBOSE_LOGS: 1 };
  const run = (await world.k6(env, { onLine })).expect(
    ABORTED,
    /Barrier failed: released by hand before all were there: [12] arrived of 4, so the events are not opened; joined=[12], loginFail=0/,
  );
  await released;
  assert.doesNotMatch(run.output, /the events are OPEN|all events are OPEN|Barrier met/);
  assert.equal(run.value('completed_users'), 0);
});

test('a barrier released by hand before anybody came leaves the events closed', async (t) => {
  const world = await startWorld(t);
  let ended = false;
  const run = world.k6({ VUS: 2, RUN_ID: 'empty', BURST_OFFSET_MS: 8000 }).finally(() => (ended = true));
  while ((await world.redis('EXISTS', 'K6_BARRIER_LOGIN_FAIL:empty')) === 0 || (await statuses(world)).includes(null)) {
    assert.ok(!ended, 'the run ended before its barrier was there');
  }
  await release(world, 'empty');
  (await run).expect(ABORTED, 'released by hand before all were there: 0 arrived of 2', 'nobody has joined a queue; the events stay CLOSED');
  assert.deepEqual(await statuses(world), ['CLOSED', 'CLOSED']);
});

test('where nobody could join, the events stay closed', async (t) => {
  const world = await startWorld(t, ['--fail-streams', '100%']);
  (await world.k6({ VUS: 4 })).expect(ABORTED, 'joined=0, loginFail=0, sseFail=4', 'the events stay CLOSED');
  assert.deepEqual(await statuses(world), ['CLOSED', 'CLOSED']);
});

test('a setup that fails opens again what it has closed', async (t) => {
  const world = await startWorld(t);
  const run = (await world.k6({ VUS: 2, EVENT_IDS: `${EVENTS[0]},nowhere,${EVENTS[1]}` })).expect(
    ABORTED,
    /setup: event nowhere could not be set to CLOSED: status 404.*; closed before, and OPEN again: 1/,
  );
  assert.deepEqual(await statuses(world), ['OPEN', null]);
  assert.doesNotMatch(run.output, /may be CLOSED/);
});

test('an event whose closing was not answered well is opened again, or named', async (t) => {
  const world = await startRedis(t);
  const statusOf = {};
  let failing = ['CLOSED'];
  const { baseUrl } = await startRoom(t, () => ({
    'POST /api/v1/auth/login': () => ({ headers: { Authorization: 'token', 'Set-Cookie': 'refreshToken=r; Path=/' } }),
    // It is done, whatever is answered.
    'PATCH /api/v1/events/*': ({ event, url }) => {
      statusOf[event] = url.searchParams.get('status');
      return { status: event === EVENTS[1] && failing.includes(statusOf[event]) ? 500 : 200 };
    },
  }));
  const opened = (await world.k6({ BASE_URL: baseUrl })).expect(
    ABORTED,
    /setup: event event-b could not be set to CLOSED: status 500.*; closed, or perhaps so, and OPEN again: 2/,
  );
  assert.deepEqual(statusOf, { 'event-a': 'OPEN', 'event-b': 'OPEN' });
  assert.doesNotMatch(opened.output, /may be CLOSED/);
  failing = ['CLOSED', 'OPEN'];
  (await world.k6({ BASE_URL: baseUrl })).expect(
    ABORTED,
    /event event-b could not be set to CLOSED: .*; event event-b could not be set to OPEN: .*; closed, or perhaps so, and OPEN again: 1/,
    'events may be CLOSED: event-a, event-b',
  );
});

for (const [when, began, env, isSetUp] of [
  ['setup was interrupted', (world) => world.redis('HEXISTS', 'event_statuses', EVENTS[0]), {}, false],
  // The barrier's first call comes after setup.
  ['all was interrupted before anybody had joined', (world) => world.redis('EXISTS', 'K6_BARRIER_LOGIN_FAIL:early'), { BURST_OFFSET_MS: 60000 }, true],
]) {
  test(`events that stay closed because ${when} are named`, async (t) => {
    const world = await startWorld(t);
    let child;
    let ended = false;
    const run = world.k6({ VUS: 2, RUN_ID: 'early', ...env }, { started: (k6) => (child = k6) }).finally(() => (ended = true));
    while ((await began(world)) === 0) {
      assert.ok(!ended, 'the run ended before it was interrupted');
    }
    child.kill('SIGINT');
    const { output } = await run;
    assert.match(output, /events may be CLOSED: event-a, event-b/);
    assert.equal(output.includes('nobody has joined a queue; the events stay CLOSED'), isSetUp, output);
  });
}

/** A run of a port whose users wait for as long as they like. */
async function heedless(t) {
  const world = await startRedis(t);
  const system = `
    import { sleep } from 'k6';
    export function logIn() {}
    export function setEventStatus() {}
    export function wait(config, session, eventId, place) { place.joined(); sleep(600); }
    export function leave() {}`;
  await writeFile(join(world.folder, 'heedless.js'), system);
  return world.k6({ VUS: 2, BASE_URL: 'http://127.0.0.1:1', SYSTEM: 'heedless.js', PWD: world.folder });
}

test('users whom the time limit cuts off have failed, and have waited', async (t) => {
  const endedByK6 = heedless(t);
  const world = await startWorld(t, ['--silent-after-ms', '0']);
  const run = (await world.k6({ VUS: 3, SSE_IDLE_TIMEOUT_MS: 100000, HOLD_MS: 61000 })).expect(
    THRESHOLDS,
    "user 1 lost the place at event event-a: cut off by the users' time limit of 61 s: see why the queue is slow, or raise HOLD_MS",
    'Cut off users: 3: see why the queue is slow, or raise HOLD_MS',
  );
  assert.equal(run.value('sse_failures'), 3);
  assert.equal(run.value('cut_off_users'), 3);
  assert.ok(run.value('open_to_promote_ms', 'min') > 50_000, 'the time that they had waited');
  assert.ok(run.value('sse_connection_time', 'min') > 50_000);
  const ended = (await endedByK6).expect(
    THRESHOLDS,
    /2 users are still there 25 s after their time limit, and k6 ends them: they count as cut off\. wait\(\) of \S+heedless\.js is to throw/,
    'Cut off users: 2: see why the queue is slow, or raise HOLD_MS',
  );
  assert.deepEqual(['sse_failures', 'cut_off_users'].map((name) => ended.value(name)), [2, 2]);
  assert.ok(ended.value('open_to_promote_ms', 'min') > 80_000, 'the time that they had waited');
});

/** A run whose only user is refused after the time limit, in the last attempt, which had its whole time. */
async function refusedLate(t) {
  const world = await startRedis(t);
  const system = `
    import { sleep } from 'k6';
    export function logIn(config, { email }) { if (!email.startsWith('admin@')) { sleep(61); throw new Error('refused late'); } }
    export function setEventStatus() {}
    export function wait() {}
    export function leave() {}`;
  await writeFile(join(world.folder, 'late.js'), system);
  return world.k6({ VUS: 1, BASE_URL: 'http://127.0.0.1:1', SYSTEM: 'late.js', PWD: world.folder, LOGIN_TIMEOUT_MS: 1000, MAX_LOGIN_RETRIES: 1 });
}

test('users who are still logging in when the time limit comes have failed by it', async (t) => {
  const late = refusedLate(t);
  const world = await startRedis(t);
  const admin = { headers: { Authorization: 'token', 'Set-Cookie': 'refreshToken=r; Path=/' } };
  const { baseUrl } = await startRoom(t, () => ({
    'POST /api/v1/auth/login': ({ body: { email } }) =>
      email.startsWith('admin@') ? admin : email.startsWith('user1@') ? { silent: true } : { status: 401 },
    'PATCH /api/v1/events/*': () => ({}),
  }));
  // Both would take longer than k6 waits for them: one attempt, and the pause before the next.
  const env = { VUS: 2, BASE_URL: baseUrl, LOGIN_TIMEOUT_MS: 200_000, LOGIN_RETRY_DELAY_MS: 200_000, MAX_LOGIN_RETRIES: 2 };
  const run = (await world.k6(env)).expect(
    ABORTED,
    /user 1 could not log in: cut off by the users' time limit of 60 s: .*; before: .*request timeout/,
    /user 2 could not log in: cut off by the users' time limit of 60 s: .*; before: status 401/,
    'joined=0, loginFail=2',
  );
  assert.deepEqual(['login_final_failures', 'cut_off_users'].map((name) => run.value(name)), [2, 2]);
  const refused = (await late).expect(ABORTED, /user 1 could not log in: refused late/);
  assert.deepEqual(['login_final_failures', 'cut_off_users'].map((name) => refused.value(name)), [1, 0], 'not cut off');
});

test('telling failures counts no arrivals', async (t) => {
  const world = await startWorld(t, ['--fail-logins', '3']);
  const run = (await world.k6({ VUS: 8, MAX_LOGIN_RETRIES: 1, RUN_ID: 'told' })).expect(ABORTED, 'user 3 could not log in');
  assert.equal(run.value('barrier_arrivals'), 5);
  assert.deepEqual((await world.redis('KEYS', '*told*')).filter((key) => key.startsWith('K6_BARRIER_')).sort(), [
    'K6_BARRIER_JOINED:told',
    'K6_BARRIER_LOGIN_FAIL:told',
    'K6_BARRIER_SSE_FAIL:told',
    'K6_BARRIER_STATE:told',
  ]);
});

test('a wrong setting ends the run with the exit code of the page', async (t) => {
  const world = await startRedis(t);
  for (const [env, text] of [
    [{ VUS: 'ten' }, /VUS must be a whole number, got \\"ten/],
    [{ HOLD_MS: '60s' }, /HOLD_MS must be a whole number of milliseconds, such as 60000 or 60000ms, got \\"60s/],
    [{ VERBOSE_LOGS: 'loud' }, /VERBOSE_LOGS must be 1, true, 0 or false, got \\"loud/],
    [{ REDIS_TLS_CA: '/nowhere/ca.pem' }, '/nowhere/ca.pem'],
  ]) {
    (await world.k6(env)).expect(ABORTED, text);
  }
});

test('settings of the original harness work as they did', async (t) => {
  const world = await startWorld(t);
  (await world.k6({ VUS: 1, VERBOSE_LOGS: 'true', HOLD_MS: '60000ms' })).expect(0, /user 1 \(VU \d, event event-a\): joined the queue/);
});

test('the answer to a refused login is shown, short and without its secrets', async (t) => {
  const world = await startRedis(t);
  const refusal = { code: 'E17', tried: 'password123', token: 'abc.def', trace: 'at x\n'.repeat(400) };
  const { baseUrl } = await startRoom(t, () => ({ 'POST /api/v1/auth/login': () => ({ status: 401, body: refusal }) }));
  const run = (await world.k6({ BASE_URL: baseUrl, MAX_LOGIN_RETRIES: 1 })).expect(
    ABORTED,
    /cannot log in at \S+ \(status 401, body .*E17.*tried.*\*\*\*.*…\), so event status/,
  );
  assert.doesNotMatch(run.output, /password123|abc\.def/);
  assert.ok(run.output.split('\n').every((line) => line.length < 700));
});

test('the harness of the how-to counts a refused stream', async (t) => {
  const world = await startWorld(t, ['--fail-streams', '1']);
  const env = { EVENT_ID: EVENTS[0], VUS: 4, RUN_ID: 'after' };
  (await world.k6(env, { script: AFTER })).expect(0, '3 joined, 1 failed: {\\"sse\\":1}');
  assert.equal(await world.redis('GET', 'K6_BARRIER_SSE_FAIL:after'), '1');
});
