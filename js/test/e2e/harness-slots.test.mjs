/** The controller sees what becomes of slots and of the promotion, and says so while the run goes on. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { EVENTS, HARNESS, startRedis, startWorld } from './world.mjs';

const THRESHOLDS = 99;
const [EVENT] = EVENTS;

/** Changes the faults of the waiting room. */
async function fault(world, faults) {
  const { ok } = await fetch(`${world.baseUrl}/faults`, { method: 'PUT', body: JSON.stringify(faults) });
  assert.ok(ok);
}

/** Runs the harness for users of one event; once a line has the text, something is done. */
const disturbedRun = (world, env, text, disturb) => world.disturbedK6({ EVENT_IDS: EVENT, STALL_MS: 3000, ...env }, text, disturb);

test('a sound run has its slots all the time, and no pause', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  const run = (await world.k6({ VUS: 8, SEATS: 2, STALL_MS: 30_000 })).expect(0, 'Slots at join, most, at end: 2, 2, 2 (SEATS=2)');
  assert.deepEqual(['min', 'max'].map((statistic) => run.value('slots_at_join', statistic)), [2, 2]);
  assert.ok(run.value('promotion_pause_ms', 'max') < 30_000);
  assert.doesNotMatch(run.output, /stalled|has \d+ slots/);
});

test('seats that are not those of the target are named once all have joined', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  const run = (await world.k6({ VUS: 4, SEATS: 8 })).expect(0, `event ${EVENT} has 2 slots now that all users have joined, where SEATS=8`);
  assert.equal(run.value('slots_at_join', 'min'), 2);
});

test('preset slots are compared with what was preset', async (t) => {
  const world = await startWorld(t);
  await world.redis('HSET', 'ENTRY_QUEUE_SLOTS', EVENTS[0], '70', EVENTS[1], '70');
  const run = (await world.k6({ VUS: 4, SEATS: 8, SLOT_BOOST: 1, SLOT_BOOST_VALUE: 70 })).expect(0, '70, 70, 70 (SLOT_BOOST_VALUE=70)');
  assert.doesNotMatch(run.output, /has \d+ slots/);
});

test('slots that somebody else gives back while the queue drains are named', async (t) => {
  const world = await startWorld(t, ['--seats', '1']);
  const run = await disturbedRun(world, { VUS: 12, SEATS: 1 }, 'all events are OPEN', () => world.redis('HINCRBY', 'ENTRY_QUEUE_SLOTS', EVENT, '2'));
  run.expect(0, `event ${EVENT} has 3 slots after all users have left, where SEATS=1`);
  assert.equal(run.value('slots_most', 'max'), 3);
  assert.equal(run.value('slots_at_end', 'max'), 3);
});

test('more users than slots are named', async (t) => {
  const world = await startWorld(t, ['--seats', '1']);
  const slots = (number) => world.redis('HSET', 'ENTRY_QUEUE_SLOTS', EVENT, number);
  let [taken, given] = [];
  const onLine = (line) => {
    if (line.includes('all events are OPEN')) {
      taken ??= slots('-2');
    }
    if (line.includes('slots while it drains: more users were let in')) {
      given ??= slots('1');
    }
  };
  const run = (await world.k6({ EVENT_IDS: EVENT, VUS: 8, SEATS: 1 }, { onLine })).expect(0, /event event-a has -[12] slots while it drains: more users were let in/);
  await Promise.all([taken, given]);
  assert.ok(run.value('slots_least', 'min') < 0);
});

test('a promotion that stands still is named while the run goes on, and when the queue becomes shorter', async (t) => {
  const world = await startWorld(t, ['--seats', '1', '--fault', 'stall-promotion=true']);
  const run = await disturbedRun(world, { VUS: 3, SEATS: 1 }, 'promotion has stalled', () => fault(world, { 'stall-promotion': null }));
  run.expect(
    0,
    `promotion has stalled: nobody has been let in for 3 s; event ${EVENT}: 3 waiting, slots 1 (SEATS=1)`,
    new RegExp(`the queue of event ${EVENT} has become shorter, after \\d+ s`),
  );
  assert.ok(run.value('promotion_pause_ms', 'max') >= 3000);
});

test('users whom no queue holds any more are named', async (t) => {
  const world = await startWorld(t, ['--fault', 'lose-promotions=1']);
  const run = (await world.k6({ EVENT_IDS: EVENT, VUS: 3, STALL_MS: 3000, SSE_TIMEOUT_MS: 9000, SEATS: 50 })).expect(
    THRESHOLDS,
    'promotion has stalled: nobody has been let in for 3 s; no queue holds the users who still wait: 1',
    'user 1 lost the place at event event-a: cut off by SSE_TIMEOUT_MS=9000: give the SEATS that the events have (SEATS=50), or raise HOLD_MS',
  );
  assert.equal(run.value('cut_off_users'), 1);
});

test('slots that come back late are waited for when the run is over, and do not lengthen it', async (t) => {
  const world = await startWorld(t, ['--seats', '2', '--fault', 'leak-slots=1']);
  const run = (await world.k6({ EVENT_IDS: EVENT, VUS: 2, SEATS: 2 })).expect(0, `event ${EVENT} has 1 slots after all users have left, where SEATS=2`);
  assert.equal(run.value('slots_at_end', 'min'), 1);
  assert.ok(run.elapsedMs - run.summary.state.testRunDurationMs >= 10_000, `${run.elapsedMs} ms, ${run.summary.state.testRunDurationMs} ms of them run`);
});

test('looks that fail are counted and named', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  // All but the slots.
  await world.redis('ACL', 'SETUSER', 'bench', 'on', '>password', 'allchannels', '~K6_*', '~WAITING*', '+@all');
  const env = { EVENT_IDS: EVENT, VUS: 2, SEATS: 2, REDIS_USERNAME: 'bench', REDIS_PASSWORD: 'password' };
  const run = (await world.k6(env)).expect(0, /the slots could not be read: .*NoPerm/, new RegExp(`the slots of event ${EVENT} could not be read: .*NoPerm`));
  assert.ok(run.value('failed_looks') >= 2, 'once all had joined, and at the end');
  assert.equal(run.value('slots_at_end', 'min'), 0);
});

test('a drain that is not watched to its end is no sound look', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  const system = join(world.folder, 'breaking.js');
  // In the controller alone: users do not open events.
  await writeFile(
    system,
    `import * as sse from '${join(dirname(HARNESS), 'systems/sse.js')}';
    export const { logIn, wait, leave } = sse;
    export function setEventStatus(...all) {
      sse.setEventStatus(...all);
      if (all[3] === 'OPEN') Date.now = () => { throw new Error('the clock stands still'); };
    }`,
  );
  const run = (await world.k6({ EVENT_IDS: EVENT, VUS: 2, SEATS: 2, SYSTEM: system })).expect(
    0,
    'the drain was not watched to its end: the clock stands still',
  );
  assert.deepEqual(['failed_looks', 'completed_users'].map((name) => run.value(name)), [1, 2]);
});

test('a Redis that is not that of the room is no sound look', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  const other = await startRedis(t);
  const run = (await world.k6({ EVENT_IDS: EVENT, VUS: 2, SEATS: 2, REDIS_URL: other.redisUrl })).expect(0, 'REDIS_URL is not the Redis of this room: all users have joined');
  assert.ok(run.value('failed_looks') >= 1);
  assert.equal(run.value('completed_users'), 2);
});

test('of several processes none judges by itself what has come back', async (t) => {
  // Nobody can log in, so nobody is in a queue, before users of both processes try: then both are through their setup.
  const world = await startWorld(t, ['--seats', '2', '--fault', 'late-slots-ms=60000', '--fail-logins', '100%']);
  const system = join(world.folder, 'telling.js');
  await writeFile(
    system,
    `import * as sse from '${join(dirname(HARNESS), 'systems/sse.js')}';
    export const { setEventStatus, wait, leave } = sse;
    export function logIn(settings, account) {
      if (account.email !== 'admin@example.com') console.log('a user logs in');
      return sse.logIn(settings, account);
    }`,
  );
  const env = { EVENT_IDS: EVENT, VUS: 2, SEATS: 2, RUN_ID: 'both', SYSTEM: system, MAX_LOGIN_RETRIES: 10_000, LOGIN_RETRY_DELAY_MS: 50 };
  const segments = ['0:1/2', '1/2:1'];
  const setUp = new Set();
  let go;
  const both = Promise.all(
    segments.map((segment) => {
      const args = ['--no-thresholds', '--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1'];
      const onLine = (line) => {
        if (line.includes('a user logs in') && setUp.add(segment).size === segments.length) {
          go ??= fault(world, { 'fail-logins': null });
        }
      };
      return world.k6(env, { args, onLine });
    }),
  );
  for (const run of await both) {
    run.expect(0, 'teardown: done', 'Completed users: 1');
    assert.doesNotMatch(run.output, /has \d+ slots/);
  }
  await go;
});
