/** Groups as whole runs of k6: two processes over Redis, and one that is killed while its users wait. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { startRedis } from './world.mjs';

const SIZE = 4;
const THROWN = 0;

const MATCH = `
import { Group } from 'k6/x/barrier';
const lobby = new Group('lobby', { size: ${SIZE}, store: __ENV.REDIS_URL, timeout: '120s' });
export const options = { scenarios: { users: { executor: 'shared-iterations', vus: Number(__ENV.USERS), iterations: Number(__ENV.JOINS) } } };
export default function () {
  const { group, index, members, reason } = lobby.join({ payload: __ENV.SEGMENT + ' ' + __ITER });
  console.log('FORMED ' + JSON.stringify([group, index, reason, members.map((m) => m.participant + '/' + m.payload)]));
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

async function runner(t) {
  const world = await startRedis(t);
  const script = join(world.folder, 'match.js');
  await writeFile(script, MATCH);
  const run = (segment, env, more) =>
    world.k6(
      { K6_BARRIER_RUN_ID: 'run', SEGMENT: segment, ...env },
      { script, args: ['--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1', '--address', 'localhost:0'], ...more },
    );
  return { world, run };
}

test('users of two processes are grouped together', async (t) => {
  const { run } = await runner(t);
  const env = { USERS: 24, JOINS: 120 };
  const outcomes = await Promise.all(['0:1/2', '1/2:1'].map((segment) => run(segment, env)));
  outcomes.forEach((outcome) => outcome.expect(THROWN));
  const groups = groupsOf(outcomes);
  checkGroups(groups);
  assert.deepEqual([...groups.keys()].sort((a, b) => a - b), Array.from({ length: 30 }, (_, at) => at + 1));
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
