import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EVENTS, startRedis, startWorld } from './world.mjs';

const ABORTED = 108;
const emptyQueues = EVENTS.map((event) => `WAITING:${event}=0`).join(', ');

for (const queue of ['zset', 'hash']) {
  test(`all users of a ${queue} queue meet, are promoted and leave`, async (t) => {
    const world = await startWorld(t, ['--queue', queue, '--seats', '5']);
    await world.redis('HSET', 'WAITING_QUEUE_IDX', 'foreign', '7');
    const run = (await world.k6({ VUS: 20, RUN_ID: 'run-1' })).expect(0, 'Barrier met after', 'Completed users: 20');

    assert.equal(run.value('completed_users'), 20);
    assert.equal(run.value('in_entry_events') + run.value('in_progress_before_entry_events'), 20);
    assert.equal(run.value('sse_failures') + run.value('login_failures') + run.value('disconnect_failures'), 0);
    assert.ok(run.value('barrier_wait_ms', 'max') > 0);
    assert.ok(run.value('open_to_promote_ms', 'max') > 0);
    assert.ok(run.summary.state.testRunDurationMs > 0);
    assert.doesNotMatch(run.output, /WRONGTYPE/);

    assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:run-1'), 20);
    const users = Array.from({ length: 20 }, (_, index) => String(index + 1));
    assert.deepEqual((await world.redis('SMEMBERS', 'K6_BARRIER_JOINED:run-1')).sort(), users.sort());
    assert.equal(await world.redis('GET', 'K6_BARRIER_LOGIN_FAIL:run-1'), '0');
    assert.equal(await world.redis('GET', 'K6_BARRIER_SSE_FAIL:run-1'), '0');
    assert.match(await world.redis('GET', 'K6_OPEN_AT_MS:run-1'), /^\d{13}$/);
    for (const key of await world.redis('KEYS', 'K6_*')) {
      const ttl = await world.redis('TTL', key);
      assert.ok(ttl >= 1 && ttl <= 3600, `${key} has TTL ${ttl}`);
    }
    assert.equal(await world.redis('HGET', 'WAITING_QUEUE_IDX', 'foreign'), '7');
    for (const event of EVENTS) {
      assert.equal(await world.redis('HGET', 'event_statuses', event), 'OPEN');
    }
  });
}

for (const queue of ['zset', 'hash']) {
  test(`a single user gets through a ${queue} queue`, async (t) => {
    const world = await startWorld(t, ['--queue', queue]);
    const run = (await world.k6({ VUS: 1, SCENARIO: 'custom' })).expect(0, 'Barrier met after');
    assert.equal(run.value('completed_users'), 1);
  });
}

test('the accounting can be read from outside while the run is on', async (t) => {
  const world = await startWorld(t);
  const keys = ['JOINED', 'LOGIN_FAIL', 'SSE_FAIL'].map((name) => `K6_BARRIER_${name}:watched`);
  let ended = false;
  // Without a target, the users of the second batch keep the barrier from being met until somebody has looked.
  const env = {
    VUS: 10,
    RUN_ID: 'watched',
    LOGIN_BATCH_SIZE: 5,
    LOGIN_BATCH_INTERVAL_MS: 4000,
    LOGIN_TIMEOUT_MS: 60000,
    SSE_IDLE_TIMEOUT_MS: 60000,
    K6_BARRIER_TTL_SECONDS: 90,
    VERBOSE_LOGS: 1,
  };
  let met = false;
  let frozen = false;
  const onLine = (line) => {
    met ||= line.includes('Barrier met');
    if (!frozen && line.includes('joined the queue')) {
      frozen = world.waitingRoom.kill('SIGSTOP');
    }
  };
  const run = world.k6(env, { onLine }).finally(() => (ended = true));
  while ((await world.redis('EXISTS', ...keys)) < keys.length) {
    assert.ok(!ended, 'the run ended before all keys were there');
  }
  while (!frozen) {
    assert.ok(!ended, 'the run ended before anybody had joined');
    await world.redis('PING');
  }
  const types = await Promise.all(keys.map((key) => world.redis('TYPE', key)));
  const ttls = await Promise.all(keys.map((key) => world.redis('TTL', key)));
  assert.ok(!met && !ended, 'all this was seen while users were still missing');
  world.waitingRoom.kill('SIGCONT');
  assert.deepEqual(types, ['set', 'string', 'string']);
  assert.ok(
    ttls.every((ttl) => ttl >= 1 && ttl <= 90),
    `TTL ${ttls}`,
  );

  (await run).expect(0, 'Barrier met after', 'all events are OPEN');
  assert.equal(await world.redis('SCARD', keys[0]), 10);
  assert.equal(await world.redis('GET', keys[1]), '0');
  assert.equal(await world.redis('GET', keys[2]), '0');
});

test('wrapped and doubly prefixed messages are understood', async (t) => {
  const world = await startWorld(t, ['--double-encode']);
  const run = (await world.k6({ VUS: 4 })).expect(0);
  assert.equal(run.value('completed_users'), 4);
});

test('the number of connections to Redis does not grow with the users', async (t) => {
  const world = await startWorld(t);
  const received = async () => Number(/total_connections_received:(\d+)/.exec(await world.redis('INFO', 'stats'))[1]);
  const before = await received();
  (await world.k6({ VUS: 60 })).expect(0);
  const own = 1; // the connection that asks
  assert.ok((await received()) - before - own <= 6, 'connections beside those of barrier, counter, setup and controller');
});

test('users promoted before all have joined do not hold up the barrier', async (t) => {
  const world = await startWorld(t);
  let closed = 0;
  const run = await world.k6(
    { VUS: 6, LOGIN_BATCH_SIZE: 3, LOGIN_BATCH_INTERVAL_MS: 3000, VERBOSE_LOGS: 1, RUN_ID: 'early' },
    {
      onLine: (line) => {
        // Setup is over, and with it its CLOSED.
        if (line.includes('joined the queue') && closed++ === 0) {
          void world.redis('HSET', 'event_statuses', EVENTS[0], 'OPEN', EVENTS[1], 'OPEN');
        }
      },
    },
  );
  run.expect(0, 'Barrier met');
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:early'), 6);
  assert.ok(run.value('open_to_promote_ms', 'max') >= 0);
  const early = run.value('promoted_before_release');
  assert.ok(early >= 1 && early < 6, `${early} of 6 were`);
  run.expect(0, /user \d was promoted before all had met: somebody else has opened event event-[ab]/, `Promoted before release: ${early}`);
});

test('left-overs of an earlier run are refused with all three keys', async (t) => {
  const world = await startWorld(t);
  await world.redis('HSET', 'WAITING_QUEUE_IDX', EVENTS[1], '7');
  (await world.k6({ VUS: 2 })).expect(
    ABORTED,
    `left-over queue state of event ${EVENTS[1]}: WAITING:${EVENTS[1]}=0, WAITING_USER_IDS:${EVENTS[1]}=0, WAITING_QUEUE_IDX[${EVENTS[1]}]=7`,
  );
  assert.equal(await world.redis('HGET', 'event_statuses', EVENTS[0]), null, 'no event was touched');

  await world.redis('SET', `WAITING:${EVENTS[0]}`, 'x');
  (await world.k6({ VUS: 2 })).expect(ABORTED, new RegExp(`precondition.*WAITING:${EVENTS[0]}.*string`));
});

test('users who cannot log in fail the barrier, once all are accounted for', async (t) => {
  const world = await startWorld(t, ['--fail-logins', '1']);
  const run = (await world.k6({ VUS: 10, MAX_LOGIN_RETRIES: 2, RUN_ID: 'one' })).expect(
    ABORTED,
    'Barrier failed: 9 arrived, 1 failed (login 1); joined=9, loginFail=1, sseFail=0',
    'user 1 could not log in: status 401',
    `WAITING:${EVENTS[0]}=4, WAITING:${EVENTS[1]}=5`,
  );
  assert.equal(run.value('login_failures'), 2);
  assert.equal(run.value('login_final_failures'), 1);
  const waitedMs = run.value('barrier_wait_ms', 'max');
  assert.ok(waitedMs > 0 && waitedMs < 100_000, `${waitedMs} ms are far from the time-out of 300 s`);
  assert.equal(await world.redis('GET', 'K6_BARRIER_LOGIN_FAIL:one'), '1');
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:one'), 9);
});

test('many who fail do not bury the line that explains the run', async (t) => {
  const world = await startWorld(t, ['--fail-logins', '100%']);
  const run = (await world.k6({ VUS: 40, MAX_LOGIN_RETRIES: 1 })).expect(
    ABORTED,
    'Barrier failed: 0 arrived, 40 failed (login 40); joined=0, loginFail=40, sseFail=0',
    '10 failures were told, all others are only counted; VERBOSE_LOGS=1 tells each',
  );
  assert.equal(run.output.match(/could not log in/g).length, 10);
  assert.doesNotMatch(run.output, /stacktrace|Request Failed/);
});

test('a run in which nobody can log in ends at once', async (t) => {
  const world = await startWorld(t, ['--fail-logins', '100%']);
  (await world.k6({ VUS: 5, MAX_LOGIN_RETRIES: 1, RUN_ID: 'none' })).expect(
    ABORTED,
    'joined=0, loginFail=5, sseFail=0',
    emptyQueues,
  );
  assert.equal(await world.redis('GET', 'K6_BARRIER_LOGIN_FAIL:none'), '5');
});

test('a run whose streams are refused ends at once', async (t) => {
  const world = await startWorld(t, ['--fail-streams', '100%']);
  const run = (await world.k6({ VUS: 5, RUN_ID: 'none' })).expect(ABORTED, 'joined=0, loginFail=0, sseFail=5', emptyQueues);
  assert.equal(run.value('sse_failures'), 5);
  assert.equal(await world.redis('GET', 'K6_BARRIER_SSE_FAIL:none'), '5');
});

test('a user who never joins is waited for until the time-out', async (t) => {
  // The third user's stream is established, but silent.
  const world = await startWorld(t, ['--silent-after-messages', '2']);
  const run = (await world.k6({ VUS: 3, BARRIER_TIMEOUT_MS: 8000 })).expect(
    ABORTED,
    /Barrier failed: not released within 8\S+: 2 of 3 arrived, missing \d; joined=2, loginFail=0, sseFail=0, expected=3, elapsed=\d{4,} ms; WAITING:/,
  );
  assert.ok(run.value('barrier_wait_ms', 'max') >= 8000);
});

test('a target that falls silent after the barrier is given up after the idle time-out', async (t) => {
  const world = await startWorld(t, ['--silent-after-ms', '0']);
  const run = (await world.k6({ VUS: 3, SSE_IDLE_TIMEOUT_MS: 4000 })).expect(99, 'Barrier met');
  assert.equal(run.value('sse_failures'), 3);
  assert.equal(run.value('completed_users'), 0);
});

test('what cannot succeed is refused before anything is touched', async (t) => {
  const world = await startRedis(t);
  for (const [env, args, text] of [
    [{ EVENT_IDS: ' , ' }, [], 'EVENT_IDS is empty'],
    [{ VUS: 20, LOGIN_BATCH_SIZE: 1, BARRIER_TIMEOUT_MS: 5000 }, [], 'the barrier cannot be met'],
    [{ VUS: 4 }, ['--execution-segment', '0:1/2'], 'RUN_ID is missing: with the execution segment 0:1/2'],
    [{ RUN_ID: 'not allowed' }, [], 'runId'],
    [{ K6_BARRIER_TTL_SECONDS: 10 }, [], 'ttl'],
  ]) {
    (await world.k6({ VUS: 1, ...env }, { args })).expect(ABORTED, text);
  }
  assert.equal(await world.redis('DBSIZE'), 0);
});

test('a run that reaches nothing ends by itself', async (t) => {
  const world = await startRedis(t);
  const unserved = (await world.k6({ VUS: 1 })).expect(
    ABORTED,
    /cannot log in at http:\/\/127.0.0.1:1 \(.*connection refused\), so event status cannot be controlled/,
  );
  assert.doesNotMatch(unserved.output, /Request Failed/);
  const address = 'redis://:s3cret@127.0.0.1:1';
  const run = (await world.k6({ VUS: 1, REDIS_URL: address })).expect(
    ABORTED,
    /Redis precondition check failed: .*127.0.0.1:1 cannot be reached/,
  );
  assert.doesNotMatch(run.output, /s3cret/);
});
