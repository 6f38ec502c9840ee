/** Redis or the target dies while users are connected: the run ends by itself, says why, and sums up. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startWorld } from './world.mjs';

const ABORTED = 108;
const THRESHOLDS = 99;
/** k6 would end the users' scenario by itself after its limit of 60 s and 30 s of grace: a run must not need that. */
const LIMIT_MS = 85_000;

const settings = { SSE_IDLE_TIMEOUT_MS: 4000, LOGIN_TIMEOUT_MS: 4000, VERBOSE_LOGS: 1 };
/** The second half of the users comes when the first half has long been waiting. */
const twoBatches = {
  VUS: 6,
  LOGIN_BATCH_SIZE: 3,
  LOGIN_BATCH_INTERVAL_MS: 5000,
  BARRIER_TIMEOUT_MS: 10000,
  SSE_TIMEOUT_MS: 12000,
};
/** With one seat for each of two events, nobody can be through long before the last one is. */
const slowDrain = { VUS: 20, SSE_TIMEOUT_MS: 12000 };

/** Runs the harness, and once so many lines have the text, does something to a process. */
async function disturbedRun(world, env, text, disturb, times) {
  const run = await world.disturbedK6({ ...settings, ...env }, text, disturb, times);
  assert.ok(run.elapsedMs < LIMIT_MS, `it took ${run.elapsedMs} ms\n${run.output}`);
  assert.ok(run.summary, 'it sums up');
  return run;
}

test('Redis dies before all users have met', async (t) => {
  const world = await startWorld(t);
  const run = await disturbedRun(world, twoBatches, 'joined the queue', () => world.redisServer.kill('SIGKILL'));
  run.expect(
    ABORTED,
    new RegExp(`Barrier failed: .*127.0.0.1:${world.redisPort}.*; joined=\\d, loginFail=0, sseFail=\\d, expected=6`),
    /queue sizes unknown \(.*cannot be reached/,
  );
  assert.ok(run.value('barrier_wait_ms', 'max') > 0);
});

test('Redis dies after the events have opened', async (t) => {
  const world = await startWorld(t, ['--seats', '1']);
  const run = await disturbedRun(world, slowDrain, 'all events are OPEN', () => world.redisServer.kill('SIGKILL'));
  run.expect(THRESHOLDS, 'Barrier met', 'lost the place at event');
  assert.ok(run.value('completed_users') < 20);
});

test('the target dies before all users have met', async (t) => {
  const world = await startWorld(t);
  const run = await disturbedRun(world, twoBatches, 'joined the queue', () => world.waitingRoom.kill('SIGKILL'), twoBatches.LOGIN_BATCH_SIZE);
  // Those who had joined before stay so: they were in the queue.
  run.expect(ABORTED, /Barrier failed: \d arrived, \d failed \(.*login 3.*\); joined=/, /could not log in: .*connection refused/);
});

test('the target dies after the events have opened', async (t) => {
  const world = await startWorld(t, ['--seats', '1']);
  const run = await disturbedRun(world, slowDrain, 'all events are OPEN', () => world.waitingRoom.kill('SIGKILL'));
  run.expect(THRESHOLDS, 'lost the place at event', /teardown: the admin \S+ cannot log in at .*connection refused/);
  assert.ok(run.value('sse_failures') > 0);
});

test('the target freezes before all users have met', async (t) => {
  const world = await startWorld(t);
  const run = await disturbedRun(world, twoBatches, 'joined the queue', () => world.waitingRoom.kill('SIGSTOP'));
  run.expect(ABORTED, /Barrier failed: .*joined=\d, loginFail=\d, sseFail=\d/, /teardown: the admin .* cannot log in/);
});

test('the target freezes after the events have opened', async (t) => {
  const world = await startWorld(t, ['--seats', '1']);
  const run = await disturbedRun(world, slowDrain, 'all events are OPEN', () => world.waitingRoom.kill('SIGSTOP'));
  run.expect(THRESHOLDS, 'nothing was received within 4s', /teardown: the admin .* cannot log in/);
});
