/** `k6 x barrier` beside running tests: what it shows, and that what it ends is ended for every process. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { freePort, startRedis, withTls } from './world.mjs';

const root = resolve(fileURLToPath(import.meta.url), '../../../..');

/** Four are expected, user 3 fails, nobody else comes: whoever arrives waits. */
const SCRIPT = `
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';
const barrier = new Barrier('default', { parties: 5, store: __ENV.REDIS_URL, timeout: '1h', reasons: ['login'] });
export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 3, iterations: 1, maxDuration: '1h' } } };
export default function () {
  const participant = exec.scenario.iterationInTest + 1;
  if (participant === 3) {
    barrier.fail('login', { participant });
    return;
  }
  try {
    const { reason, arrived, failed } = barrier.arriveAndWait({ participant });
    console.log('went on: ' + reason + ' ' + arrived + ' ' + failed.login);
  } catch (e) {
    console.log('ended: ' + e.name + ' ' + e.status.broken.message);
  }
}`;

async function startRun(t) {
  const world = await startRedis(t);
  const script = join(world.folder, 'script.js');
  await writeFile(script, SCRIPT);
  return { world, run: (...args) => world.k6({ K6_BARRIER_RUN_ID: 'load-7' }, { script, args }) };
}

/** Looks until so many have arrived and one has failed. */
async function untilArrived(world, arrived) {
  for (;;) {
    const { stdout } = await world.operate(0, 'list', '--json');
    const [barrier] = JSON.parse(stdout).barriers;
    if (barrier?.arrived === arrived && barrier.failedTotal === 1) {
      return;
    }
    await setTimeout(200); // each look is a process of its own
  }
}

test('an operator sees who is missing, follows the barrier and lets the others go', async (t) => {
  const { world, run } = await startRun(t);
  const running = run();
  await untilArrived(world, 2);

  assert.match(
    (await world.operate(0, 'list')).stdout,
    /^load-7 +default +open +0 +5 +2 +1 \(login 1\) +0 +0 +2 +\d+s ago$/m,
  );
  const status = (await world.operate(0, 'status', '--run-id', 'load-7')).stdout;
  for (const line of [/state +open, phase 0/, /expected +5/, /arrived +2/, /failed +1 \(login 1\)/, /missing +2: 4, 5$/m, /processes +1,/]) {
    assert.match(status, line);
  }

  const watch = world.startOperator('watch');
  await once(watch.child.stdout, 'data');
  assert.match(watch.stdout, /^\d\d:\d\d:\d\d load-7 default: 2 of 5 arrived, 1 failed \(login 1\), 2 missing$/m);

  const refused = await world.operate(1, 'release', '--run-id', 'load-7');
  assert.match(refused.stderr, /give --yes to release/);
  assert.match((await world.operate(0, 'release', '--run-id', 'load-7', '--yes')).stdout, /released phase 0 of barrier/);
  assert.equal(await watch.ended, 0, watch.stderr);
  assert.match(watch.stdout, /load-7 default: released \(operator\): 2 of 5 arrived, 1 failed \(login 1\)$/m);

  const outcome = (await running).expect(0);
  assert.equal(outcome.output.match(/went on: operator 2 1/g)?.length, 2, outcome.output);
  assert.match((await world.operate(1, 'abort', '--run-id', 'load-7', '--yes')).stderr, /was released already: nothing was aborted/);
});

test('an abort ends the wait in every process', async (t) => {
  const { world, run } = await startRun(t);
  const sequence = ['--execution-segment-sequence', '0,1/3,1'];
  const runs = [run('--execution-segment', '0:1/3', ...sequence), run('--execution-segment', '1/3:1', ...sequence)];
  await untilArrived(world, 2);

  const watch = world.startOperator('watch', '--json');
  await once(watch.child.stdout, 'data');
  await world.operate(0, 'abort', '--run-id', 'load-7', '--yes', '--reason', 'wrong build');
  assert.equal(await watch.ended, 0, watch.stderr);
  const lines = watch.stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(lines[0].processes, 2, 'the operator is none of them');
  assert.equal(lines.at(-1).state, 'broken');

  const output = (await Promise.all(runs)).map((outcome) => outcome.expect(0).output).join('');
  assert.equal(output.match(/ended: BarrierBrokenError wrong build/g)?.length, 2, output);
});

test('an operator needs a few permissions and speaks TLS', async (t) => {
  const port = await freePort();
  const world = await startRedis(t, { args: withTls(port) });
  const page = await readFile(join(root, 'docs/how-to/operate-a-running-test.md'), 'utf8');
  const acl = /^redis-cli -p 6379 (ACL SETUSER (?:.*\\\n)*.*)$/m.exec(page)[1];
  await world.redis(...acl.replaceAll(/[\\']/g, '').split(/\s+/));
  const script = join(world.folder, 'script.js');
  await writeFile(script, SCRIPT);
  const running = world.k6({ K6_BARRIER_RUN_ID: 'load-7' }, { script });
  const secure = ['--redis', `rediss://operator:password@127.0.0.1:${port}`, '--tls-server-name', 'redis.test'];
  const files = ['--tls-ca', 'ca.pem', '--tls-cert', 'client.pem', '--tls-key', 'client.key'];
  await untilArrived(world, 2);
  assert.match((await world.operate(0, 'status', ...secure, ...files)).stdout, /missing +2: 4, 5$/m);
  await world.operate(0, 'release', '--run-id', 'load-7', '--yes', ...secure, ...files);
  assert.match((await world.operate(0, 'list', ...secure, ...files)).stdout, /released \(operator\)/);
  (await running).expect(0, 'went on: operator 2 1');
});

test('a store that cannot be used is named without its password', async (t) => {
  const world = await startRedis(t);
  const wrong = world.redisUrl.replace('//', '//user:sEcret@');
  const { stdout, stderr } = await world.operate(1, 'list', '--redis', wrong);
  assert.match(stderr, /user or password is missing or wrong/);
  assert.doesNotMatch(stdout + stderr, /sEcret/);
});
