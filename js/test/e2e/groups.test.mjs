/** Groups as whole runs of k6: in memory and over Redis, in two processes, while Redis forgets or dies, and while one of them is killed. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { restartRedis, startRedis } from './world.mjs';

const SIZE = 4;
const THROWN = 0;

const MATCH = `
import { sleep } from 'k6';
import { Group } from 'k6/x/barrier';
const lobby = new Group('lobby', { size: ${SIZE}, store: __ENV.STORE, timeout: '120s' });
export const options = { scenarios: { users: { executor: 'shared-iterations', vus: Number(__ENV.USERS), iterations: Number(__ENV.JOINS) } } };
export default function () {
  const { group, index, members, reason } = lobby.join({ payload: __ENV.SEGMENT + ' ' + __ITER });
  console.log('FORMED ' + JSON.stringify([group, index, reason, members.map((m) => m.participant + '/' + m.payload)]));
  sleep(Number(__ENV.PAUSE || 0));
}
`;

/** Who joins first leaves, joins again, waits in vain, and is in no group with the three that come then. */
const DOOR = `
import { sleep } from 'k6';
import { Barrier, Group } from 'k6/x/barrier';
const common = { store: __ENV.STORE, timeout: '120s' };
const start = new Barrier('start', { parties: 4, ...common });
const lobby = new Group('lobby', { size: 3, ...common });
export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 4, iterations: 1 } } };
export default async function () {
  if (__VU > 1) {
    await start.asyncArriveAndWait();
    const { group, members } = await lobby.asyncJoin();
    console.log('FORMED ' + JSON.stringify([group, members.map((m) => m.participant).sort()]) + '.');
    return;
  }
  const joined = lobby.asyncJoin().catch((e) => e.name);
  while (lobby.status().waiting === 0) {
    sleep(0.01);
  }
  const { left } = await lobby.asyncLeave();
  const again = await lobby.asyncJoin({ timeout: '300ms' }).catch((e) => e.name);
  console.log('ENDED ' + JSON.stringify([left, await joined, again, (await lobby.asyncLeave()).left]) + '.');
  start.arrive();
}
`;

/** Five users of whom four are a group; the fifth is one alone when its time is over. */
const RELEASE = `
import { Group } from 'k6/x/barrier';
const lobby = new Group('lobby', { size: ${SIZE}, store: __ENV.STORE, timeout: '5s', onTimeout: 'release' });
export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 5, iterations: 1 } } };
export default function () {
  const { group, size, members, reason } = lobby.join();
  console.log('FORMED ' + JSON.stringify([group, size, members.length, reason]) + '.');
}
`;

/** What members were told, by group. */
function groupsOf(outcomes) {
  const groups = new Map();
  for (const { output } of outcomes) {
    for (const [, told] of output.matchAll(/FORMED (\[.*?\]\])/g)) {
      const [group, index, reason, members] = JSON.parse(told.replaceAll('\\', ''));
      groups.set(group, [...(groups.get(group) ?? []), { index, reason, members }]);
    }
  }
  return groups;
}

function checkGroups(groups) {
  for (const [group, told] of groups) {
    assert.equal(told.length, SIZE, `group ${group}: all of its members are told`);
    assert.deepEqual(told.map(({ index }) => index).sort(), [1, 2, 3, 4]);
    for (const { reason, members } of told) {
      assert.equal(reason, 'all');
      assert.deepEqual(members, told[0].members, 'all are told the same');
      assert.equal(new Set(members.map((m) => m.split('/')[0])).size, SIZE, 'four different users');
    }
  }
}

const HALVES = ['0:1/2', '1/2:1'];

async function runner(t, text = MATCH) {
  const world = await startRedis(t);
  const script = join(world.folder, 'match.js');
  await writeFile(script, text);
  const run = (segment, env, more) => {
    const args = segment === '' ? [] : ['--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1'];
    return world.k6(
      { K6_BARRIER_RUN_ID: 'run', STORE: world.redisUrl, SEGMENT: segment, ...env },
      { script, args: [...args, '--address', 'localhost:0'], ...more },
    );
  };
  return { world, run };
}

const numbers = (n) => Array.from({ length: n }, (_, at) => at + 1);

/** The two kinds of store, each as a setting of the script. */
const STORES = [
  ['in memory', () => ({ STORE: 'memory' })],
  ['over Redis', (world) => ({ STORE: world.redisUrl })],
];

for (const [place, store] of STORES) {
  test(`users of one process are grouped, ${place}`, async (t) => {
    const { world, run } = await runner(t);
    const outcome = (await run('', { USERS: 12, JOINS: 60, ...store(world) })).expect(THROWN);
    const groups = groupsOf([outcome]);
    checkGroups(groups);
    assert.deepEqual([...groups.keys()].sort((a, b) => a - b), numbers(15));
  });

  test(`who leaves or waits in vain has no place any more, ${place}`, async (t) => {
    const { world, run } = await runner(t, DOOR);
    const { output } = (await run('', store(world))).expect(THROWN);
    const told = [...output.replaceAll('\\', '').matchAll(/(?:ENDED|FORMED) (\[.*?\])\./g)].map(([, json]) => JSON.parse(json));
    const others = [1, ['2', '3', '4']];
    assert.deepEqual(told, [[true, 'GroupLeftError', 'GroupTimeoutError', false], others, others, others], output);
  });

  test(`a wait that expires lets those go who have come, ${place}`, async (t) => {
    const { world, run } = await runner(t, RELEASE);
    const { output } = (await run('', store(world))).expect(THROWN);
    const told = [...output.replaceAll('\\', '').matchAll(/FORMED (\[.*?\])\./g)].map(([, json]) => JSON.parse(json));
    assert.deepEqual(told.sort(), [...Array(4).fill([1, 4, 4, 'all']), [2, 1, 1, 'timeout']], output);
  });
}

for (const [trouble, disturb] of [
  ['forgets', (world) => world.redis('FLUSHALL')],
  ['is restarted empty', restartRedis],
]) {
  test(`groups stay whole: Redis ${trouble} while they form`, async (t) => {
    const { world, run } = await runner(t);
    const env = { USERS: 24, JOINS: 240, PAUSE: 0.3 };
    let [formed, disturbed, before] = [0, undefined, 0];
    const heard = new Set();
    // Of what was there nobody can tell a process that comes to an empty store without having found the record before.
    const onLineOf = (segment) => (line) => {
      if (line.includes('FORMED')) {
        formed += 1;
        heard.add(segment);
      }
      if (formed >= 10 && heard.size === HALVES.length) {
        disturbed ??= disturb(world).then(() => (before = formed));
      }
    };
    const outcomes = await Promise.all(HALVES.map((segment) => run(segment, env, { onLine: onLineOf(segment) })));
    assert.ok(disturbed, 'both processes form groups');
    await disturbed;
    outcomes.forEach((outcome) => outcome.expect(THROWN));
    assert.ok(before < env.JOINS, 'it came while groups formed');
    const groups = groupsOf(outcomes);
    checkGroups(groups);
    assert.equal(groups.size, 60, 'nobody is lost, and nobody in two');
  });
}

test('users of two processes are grouped together', async (t) => {
  const { run } = await runner(t);
  const env = { USERS: 24, JOINS: 120 };
  const outcomes = await Promise.all(HALVES.map((segment) => run(segment, env)));
  outcomes.forEach((outcome) => outcome.expect(THROWN));
  const groups = groupsOf(outcomes);
  checkGroups(groups);
  assert.deepEqual([...groups.keys()].sort((a, b) => a - b), numbers(30));
});

test('users of a killed process hold no places', async (t) => {
  const { world, run } = await runner(t);
  let child;
  const killed = run('0:1/2', { USERS: 4, JOINS: 4 }, { started: (started) => (child = started) });
  const fields = () => world.redis('HKEYS', 'K6_BARRIER_GROUPS:run:lobby');
  while ((await fields()).filter((field) => field.startsWith('@w:')).length < 2) {
    assert.equal(child.exitCode, null, 'it waits');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGKILL');
  await killed;
  const outcome = (await run('1/2:1', { USERS: 16, JOINS: 16 })).expect(THROWN);
  const groups = groupsOf([outcome]);
  checkGroups(groups);
  assert.equal(groups.size, 2, 'the eight users of this half');
});
