/** Everybody who is running, as whole runs of k6: constant and ramping users, in memory and over Redis, a process that is killed. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { startRedis } from './world.mjs';

const ABORTED = 108;

const CROWD = `
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';
const env = JSON.parse(__ENV.CROWD);
const barrier = new Barrier('crowd', {
  parties: env.parties ?? { running: ['users'], atLeast: env.atLeast, grace: env.grace },
  cyclic: true, store: env.store, timeout: '200s',
});
const stop = { gracefulStop: '0s' };
export const options = { scenarios: { users: { ...stop, ...env.scenario }, ...(env.others && { others: { ...stop, ...env.others } }) } };
export function elsewhere() {
  sleep(0.2);
}
export default function () {
  const { phase, outcome, arrived, failedTotal, parties, reason } = barrier.arriveAndWait();
  console.log('MET ' + JSON.stringify([phase, outcome, arrived, failedTotal, parties, reason]));
  if (arrived === env.until) {
    exec.test.abort('seen');
  }
  sleep(Math.random() / 20);
}
`;

/** How many met in each phase, in order, as those who were there were told. */
function meetings(...outcomes) {
  const phases = new Map();
  for (const { output } of outcomes) {
    for (const [, told] of output.matchAll(/MET (\[.*?\])/g)) {
      const [phase, outcome, arrived, failedTotal, parties, reason] = JSON.parse(told.replaceAll('\\', ''));
      // Over Redis a user that begins while a phase ends is late for it.
      assert.deepEqual([arrived, failedTotal, reason], [parties, 0, outcome === 'late' ? 'late' : 'all'], `phase ${phase}`);
      const before = phases.get(phase) ?? { arrived, told: 0 };
      assert.equal(before.arrived, arrived, `phase ${phase}: all are told the same`);
      phases.set(phase, { arrived, told: before.told + (outcome === 'arrived' ? 1 : 0) });
    }
  }
  const numbers = [...phases.keys()].sort((a, b) => a - b);
  assert.ok(numbers.length > 2, 'they met');
  return numbers.map((phase) => phases.get(phase));
}

async function runner(t) {
  const world = await startRedis(t);
  const script = join(world.folder, 'crowd.js');
  await writeFile(script, CROWD);
  const run = (crowd, { args = [], ...more } = {}) =>
    world.k6(
      { K6_BARRIER_RUN_ID: 'run', CROWD: JSON.stringify({ store: 'memory', grace: '100s', atLeast: 1, ...crowd }) },
      { script, args: ['--address', 'localhost:0', ...args], ...more },
    );
  const segment = (crowd, segment, more) =>
    run({ store: world.redisUrl, ...crowd }, { args: ['--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1'], ...more });
  return { world, run, segment };
}

const always = (vus, duration) => ({ executor: 'constant-vus', vus, duration });

for (const place of ['in memory', 'over Redis']) {
  test(`all who loop meet in each round, ${place}`, async (t) => {
    const { world, run } = await runner(t);
    const store = place === 'in memory' ? 'memory' : world.redisUrl;
    const outcome = (await run({ store, atLeast: 5, scenario: always(5, '5s') })).expect(0);
    const all = meetings(outcome);
    assert.deepEqual(new Set(all.map(({ arrived }) => arrived)), new Set([5]));
    // Those of the last round may have been interrupted before they said so.
    assert.deepEqual(new Set(all.slice(0, -1).map(({ told }) => told)), new Set([5]));
  });

  test(`a ramp adds users and takes them away, ${place}`, async (t) => {
    const { world, run } = await runner(t);
    const store = place === 'in memory' ? 'memory' : world.redisUrl;
    const stages = [['3s', 6], ['4s', 6], ['2s', 2], ['6s', 2]].map(([duration, target]) => ({ duration, target }));
    const scenario = { executor: 'ramping-vus', startVUs: 2, stages };
    const outcome = (await run({ store, atLeast: 2, grace: '1s', scenario })).expect(0);
    const sizes = meetings(outcome).map(({ arrived }) => arrived);
    assert.ok(sizes[0] >= 2, 'the first phase waits for two');
    assert.equal(Math.max(...sizes), 6, 'all whom the ramp has added');
    assert.ok(sizes.at(-1) <= 2, 'without those whom it has taken away');
  });
}

test('who runs in a scenario that is not named is not expected', async (t) => {
  const { run } = await runner(t);
  const others = { ...always(2, '4s'), exec: 'elsewhere' };
  const sizes = meetings((await run({ atLeast: 5, scenario: always(5, '4s'), others })).expect(0)).map(({ arrived }) => arrived);
  assert.deepEqual(new Set(sizes), new Set([5]));
});

test("'running' alone expects the users of all scenarios", async (t) => {
  const { run } = await runner(t);
  const crowd = { parties: 'running', scenario: always(5, '5s'), others: always(2, '5s') };
  const sizes = meetings((await run(crowd)).expect(0)).map(({ arrived }) => arrived);
  const all = sizes.slice(sizes.indexOf(7));
  assert.ok(all.length > 2, `all seven met: ${sizes}`);
  assert.deepEqual(new Set(all), new Set([7]), 'and nobody is missed from then on');
});

test('a store that forgets is told again who runs', async (t) => {
  const { world, segment } = await runner(t);
  const crowd = (duration) => ({ atLeast: 6, scenario: always(6, duration) });
  const told = [];
  const onLine = (line) => told.push(...[...line.replaceAll('\\', '').matchAll(/MET (\[.*?\])/g)].map(([, json]) => JSON.parse(json)));
  let [disturbed, before] = [undefined, 0];
  const watch = (line) => {
    onLine(line);
    if ((told.at(-1)?.[0] ?? 0) >= 3) {
      disturbed ??= world.redis('FLUSHALL').then(() => (before = told.length));
    }
  };
  const runs = [segment(crowd('8s'), '0:1/2', { onLine: watch }), segment(crowd('16s'), '1/2:1', { onLine: watch })];
  (await Promise.all(runs)).forEach((outcome) => outcome.expect(0));
  await disturbed;
  assert.ok(before > 0, 'it forgot');
  // Until both have come back nobody waits for the users of one that has not.
  assert.ok(told.slice(before + 12).some(([, , arrived]) => arrived === 6), 'all six meet again');
  assert.equal(told.at(-1)[2], 3, 'and in the end those who are left');
});

test('users of two processes meet, and of one where the other has ended', async (t) => {
  const { segment } = await runner(t);
  const crowd = (duration) => ({ atLeast: 6, scenario: always(6, duration) });
  const outcomes = await Promise.all([segment(crowd('4s'), '0:1/2'), segment(crowd('12s'), '1/2:1')]);
  outcomes.forEach((outcome) => outcome.expect(0));
  const sizes = meetings(...outcomes).map(({ arrived }) => arrived);
  assert.deepEqual(sizes, sizes.toSorted((a, b) => b - a), 'nobody is missed until one ends');
  assert.deepEqual([sizes[0], sizes.at(-1)], [6, 3]);
});

test('nobody waits for the users of a killed process for ever', async (t) => {
  const { world, segment } = await runner(t);
  const crowd = { atLeast: 6, scenario: always(6, '300s') };
  let child;
  const killed = segment(crowd, '0:1/2', { started: (started) => (child = started) });
  const left = segment({ ...crowd, until: 3 }, '1/2:1');
  const phase = async () => Number((await world.redis('HGET', 'K6_BARRIER_STATE:run:crowd', '@open')) ?? 0);
  while ((await phase()) < 3) {
    assert.equal(child.exitCode, null, 'it runs');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGKILL');
  await killed;
  const sizes = meetings((await left).expect(ABORTED)).map(({ arrived }) => arrived);
  assert.deepEqual([sizes[0], sizes.at(-1)], [6, 3]);
});
