/** However an iteration of a real virtual user ends: `failUnaccounted` accounts for the participant once, and says the truth. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { startRedis } from './world.mjs';

/** Exit codes of k6. */
const ABORTED = 108;
const EXCEPTION = 107;

const WARNING = /context is done before all/;

/**
 * Runs one script whose users are participants, and compares what outside readers see afterwards.
 *
 * @param {{ vus: number, scenario?: string, body: string, more?: string, code?: number, arrived: string[], failed?: object, warns?: boolean }} run
 *   warns: k6 may warn, as it may where it interrupts elsewhere than in the module
 */
async function account(t, { vus, scenario = '', body, more = '', code = 0, arrived, failed = {}, warns = false }) {
  const world = await startRedis(t);
  const script = join(world.folder, 'script.js');
  const executor = scenario || `executor: 'per-vu-iterations', vus: ${vus}, iterations: 1`;
  await writeFile(
    script,
    `
    import { fail, sleep } from 'k6';
    import exec from 'k6/execution';
    import { Barrier } from 'k6/x/barrier';
    const barrier = new Barrier('default', { parties: 99, store: __ENV.REDIS_URL, timeout: '1h', failUnaccounted: ['users'], reasons: ['login'] });
    export const options = { scenarios: { users: { ${executor} } } };
    const me = () => exec.vu.idInTest;
    const until = (met) => { while (!met()) sleep(0.01); };
    ${more}
    export default ${body}`,
  );
  const run = await world.k6({ K6_BARRIER_RUN_ID: 'run' }, { script });
  assert.equal(run.code, code, run.output);
  const reasons = { 'iteration-ended': 0, login: 0, ...failed };
  const joined = await world.redis('SMEMBERS', 'K6_BARRIER_JOINED:run');
  assert.deepEqual(joined.sort(), arrived, run.output);
  for (const [reason, count] of Object.entries(reasons)) {
    const key = `K6_BARRIER_${reason.toUpperCase()}_FAIL:run`;
    assert.equal(Number(await world.redis('GET', key)), count, `${reason}\n${run.output}`);
  }
  assert.doesNotMatch(run.output, /could not be failed|panic|goroutine \d/);
  if (!warns) {
    assert.doesNotMatch(run.output, WARNING);
  }
  return { world, run };
}

test('by an exception, before and after an outcome', (t) =>
  account(t, {
    vus: 5,
    body: `function () {
      if (me() === 2) barrier.arrive();
      if (me() === 3) barrier.fail('login');
      if (me() === 4) barrier.register({ participant: 'four' });
      if (me() === 5) fail('as k6 has it');
      throw new Error('the script has a bug');
    }`,
    arrived: ['2'],
    failed: { 'iteration-ended': 3, login: 1 },
  }));

test('by a promise that is rejected while another one waits', (t) =>
  account(t, {
    vus: 2,
    body: `async function () {
      const waiting = me() === 1 ? barrier.asyncArriveAndWait() : barrier.asyncWait();
      if (me() === 2) barrier.register({ participant: 'two' });
      await barrier.asyncMissing();
      await Promise.reject(new Error('the script has a bug'));
      await waiting;
    }`,
    arrived: ['1'],
    failed: { 'iteration-ended': 1 },
  }));

test('by the end of the scenario, in a call of the module', (t) =>
  account(t, {
    vus: 4,
    scenario: `executor: 'per-vu-iterations', vus: 4, iterations: 1, maxDuration: '2s', gracefulStop: '0s'`,
    body: `function () {
      if (me() === 1) barrier.arriveAndWait();
      if (me() === 2) { barrier.register({ participant: 'two' }); barrier.wait(); }
      if (me() === 3) barrier.wait();
      if (me() === 4) { barrier.fail('login'); barrier.wait(); }
    }`,
    arrived: ['1'],
    failed: { 'iteration-ended': 1, login: 1 }, // who only waits is no participant
  }));

test('by the end of the scenario, in sleep()', (t) =>
  account(t, {
    vus: 3,
    scenario: `executor: 'per-vu-iterations', vus: 3, iterations: 1, maxDuration: '2s', gracefulStop: '0s'`,
    body: `function () {
      if (me() === 2) barrier.arrive();
      if (me() === 3) barrier.register({ participant: 'three' });
      sleep(60);
    }`,
    arrived: ['2'],
    failed: { 'iteration-ended': 2 },
    warns: true,
  }));

test('within the graceful stop of the scenario, by itself', (t) =>
  account(t, {
    vus: 2,
    scenario: `executor: 'per-vu-iterations', vus: 2, iterations: 1, maxDuration: '1s', gracefulStop: '60s'`,
    body: `function () {
      until(() => exec.scenario.progress >= 1);
      if (me() === 1) barrier.arrive();
    }`,
    arrived: ['1'],
    failed: { 'iteration-ended': 1 },
  }));

test('by a ramp-down, while other users go on', (t) =>
  account(t, {
    vus: 3,
    scenario: `executor: 'ramping-vus', startVUs: 3, gracefulRampDown: '0s', gracefulStop: '0s',
      stages: [{ duration: '2s', target: 3 }, { duration: '0s', target: 1 }, { duration: '1s', target: 1 }]`,
    body: `function () {
      if (me() === 1) barrier.arriveAndWait();
      if (me() === 2) barrier.arrive();
      sleep(60);
    }`,
    arrived: ['1', '2'],
    failed: { 'iteration-ended': 1 },
    warns: true,
  }));

test('by exec.test.abort, in every kind of wait', (t) =>
  account(t, {
    vus: 5,
    code: ABORTED,
    body: `function () {
      if (me() === 1) barrier.arriveAndWait();
      if (me() === 2) { barrier.register({ participant: 'two' }); barrier.wait(); }
      if (me() === 3) { barrier.register({ participant: 'three' }); sleep(60); }
      if (me() === 4) { barrier.arrive(); sleep(60); }
      until(() => barrier.status().arrived === 2);
      exec.test.abort('enough');
    }`,
    arrived: ['1', '4'],
    failed: { 'iteration-ended': 3 },
    warns: true,
  }));

test('in setup and teardown nobody is unaccounted for', (t) =>
  account(t, {
    vus: 1,
    more: `
      export function setup() { barrier.arrive({ participant: 'setup' }); }
      export function teardown() { barrier.status(); throw new Error('the teardown has a bug'); }`,
    body: `function () { barrier.arrive(); }`,
    code: EXCEPTION,
    arrived: ['1', 'setup'],
  }));

test('where setup fails no iteration was, and none is accounted for', (t) =>
  account(t, {
    vus: 2,
    more: `export function setup() { barrier.arrive({ participant: 'setup' }); throw new Error('the setup has a bug'); }`,
    body: `function () { barrier.arrive(); }`,
    code: EXCEPTION,
    arrived: ['setup'],
  }));
