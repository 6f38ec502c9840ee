/** Releases over a time and not before an instant, with whole runs of k6: in one process, in two, and while Redis forgets or dies. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { startRedis } from './world.mjs';

const USERS = 10;
const SEGMENTS = ['0:1/2', '1/2:1'].map((segment) => ['--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1']);

/** A script whose users tell when they were to go, counted from the release, in ms. */
const script = (release, more = '', inTurn = true) => `
  import { Barrier } from 'k6/x/barrier';
  const barrier = new Barrier('default', { parties: ${USERS}, store: __ENV.STORE, timeout: '60s', release: ${release}${more} });
  export const options = {
    scenarios: { users: { executor: 'per-vu-iterations', vus: ${USERS}, iterations: 1 } },
    thresholds: { barrier_arrivals: ['count>0']${inTurn ? ", barrier_spread_skew_duration: ['med<1000']" : ''} },
  };
  export default function () {
    const began = Date.now();
    const { dueAt, releasedAt, serverReleasedAt: at } = barrier.arriveAndWait();
    const now = Date.now();
    console.log('went ' + JSON.stringify({ due: dueAt - releasedAt, early: now < Math.floor(dueAt), began, now, dueAt, at }) + '.');
  }`;

/** What the users of these runs told, in the order of their instants. */
function went(runs) {
  const lines = runs.flatMap(({ output }) => [...output.matchAll(/went (\{.*?\})\./g)]);
  const users = lines.map(([, json]) => JSON.parse(json.replaceAll('\\', '')));
  return users.sort((a, b) => a.due - b.due);
}

async function run(world, text, store, processes, onLine) {
  const file = join(world.folder, 'script.js');
  await writeFile(file, text);
  const env = { STORE: store, K6_BARRIER_RUN_ID: 'run' };
  return Promise.all(processes.map((args) => world.k6(env, { script: file, args, onLine })));
}

/** When the record's processes spoke last, by the server's clock. */
async function seen(world) {
  const record = await world.redis('HGETALL', 'K6_BARRIER_STATE:run');
  const processes = record.flatMap((field, at) => (field.startsWith('@p:') ? [[field, record[at + 1]]] : []));
  assert.equal(processes.length, SEGMENTS.length, record.join(' '));
  return processes.sort().map(([, text]) => text.split('|')[4]);
}

/** Nobody waits for the instants of those behind it: with a spread of 3 s two places leave a slow machine 600 ms. */
function nobodyWentWithTheLast(users) {
  const last = users.at(-1).dueAt;
  assert.ok(users.slice(0, -2).every(({ now }) => now < last), JSON.stringify(users));
}

const EVEN = Array.from({ length: USERS }, (_, place) => place * 300);

for (const [name, processes, isRedis] of [
  ['one process in memory', [[]], false],
  ['one process over Redis', [[]], true],
  ['two processes over Redis', SEGMENTS, true],
]) {
  test(`users go one after the other: ${name}`, async (t) => {
    const world = await startRedis(t);
    const runs = await run(world, script("{ spread: '3s' }"), isRedis ? world.redisUrl : 'memory', processes);
    runs.forEach((run) => run.expect(0));
    const users = went(runs);
    assert.deepEqual(users.map(({ due }) => Math.round(due)), EVEN);
    assert.ok(users.every(({ early }) => !early), JSON.stringify(users));
    nobodyWentWithTheLast(users);
  });
}

test('users of two processes go at one random sequence of instants, after the moment that was agreed on', async (t) => {
  const world = await startRedis(t);
  const start = Date.now() + 15_000;
  const text = script("{ rate: 20, shape: 'poisson', seed: 5 }", `, releaseAt: ${start}`);
  const runs = await run(world, text, world.redisUrl, SEGMENTS);
  runs.forEach((run) => run.expect(0));
  const users = went(runs);
  assert.equal(new Set(users.map(({ due }) => Math.round(due * 1000))).size, USERS, 'each has an instant of its own');
  assert.ok(users.every(({ early, at }) => !early && at >= start), JSON.stringify(users));
  assert.ok(users.every(({ began }) => began < start), 'it held them up');
  // The same seed in memory, in one process.
  const again = await run(world, text, 'memory', [[]]);
  assert.deepEqual(went(again).map(({ due }) => Math.round(due)), users.map(({ due }) => Math.round(due)));
});

for (const [trouble, disturb] of [
  ['forgets', (world) => world.redis('FLUSHALL')],
  ['dies', (world) => world.redisServer.kill('SIGKILL')],
]) {
  test(`a release that is decided stands: Redis ${trouble} when the first users have gone`, async (t) => {
    const world = await startRedis(t);
    let disturbed;
    const onLine = (line) => {
      if (line.includes('went')) {
        disturbed ??= disturb(world);
      }
    };
    const runs = await run(world, script("{ spread: '3s' }"), world.redisUrl, SEGMENTS, onLine);
    await disturbed;
    const users = went(runs);
    assert.deepEqual(users.map(({ due }) => Math.round(due)), EVEN, runs.map(({ output }) => output).join('\n'));
    nobodyWentWithTheLast(users);
    runs.forEach((run) => run.expect(0));
  });
}

for (const [trouble, disturb] of [
  ['forgets', (world) => world.redis('FLUSHALL')],
  ['dies', (world) => world.redisServer.kill('SIGKILL')],
]) {
  test(`nobody goes before the instant: Redis ${trouble} when all have arrived`, async (t) => {
    const world = await startRedis(t);
    const start = Date.now() + 25_000;
    const ended = run(world, script('undefined', `, releaseAt: ${start}`, false), world.redisUrl, SEGMENTS);
    const decided = async () => (await world.redis('HGET', 'K6_BARRIER_STATE:run', '@open')) === '1';
    const until = async (condition, what) => {
      while (!(await condition())) {
        assert.ok(Date.now() < start, what);
        await setTimeout(20);
      }
    };
    await until(decided, 'they arrive before it');
    // A server that is killed may take along what is on its way. Who speaks a second time has had the answer to the first.
    for (let times = 0; times < 2; times += 1) {
      const before = await seen(world);
      await until(async () => (await seen(world)).every((at, process) => at !== before[process]), 'all know of it before it');
    }
    await disturb(world);
    const runs = await ended;
    runs.forEach((run) => run.expect(0));
    const users = went(runs);
    assert.equal(users.length, USERS);
    // By the server's clock, of which a process knows what time it is with an error.
    assert.ok(users.every(({ now, at }) => now > start - 50 && at >= start), JSON.stringify(users));
  });
}
