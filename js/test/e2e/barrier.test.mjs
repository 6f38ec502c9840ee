/** Whole runs of k6 with barriers: how runs end, what they leave behind, and what several processes see of each other. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { startRedis } from './world.mjs';

/** Exit codes of k6. */
const THRESHOLDS_CROSSED = 99;
const INTERRUPTED = 105;
const ABORTED = 108;

let scripts = 0;

/** Starts k6 with a script given as text. */
async function start(world, script, args = [], env = {}) {
  const file = join(world.folder, `script-${++scripts}.js`);
  await writeFile(file, `import { Barrier } from 'k6/x/barrier';\n${script}`);
  const child = world.startTest(file, args, { REDIS_URL: world.redisUrl, K6_BARRIER_RUN_ID: 'run', ...env });
  const run = { child, output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      run.output += chunk;
      child.emit('printed');
    });
  }
  run.ended = once(child, 'close').then(([code]) => code);
  /** Waits until the run has printed the text. */
  run.printed = async (text) => {
    while (!run.output.includes(text)) {
      const ended = await Promise.race([once(child, 'printed').then(() => false), run.ended.then(() => true)]);
      assert.ok(!ended || run.output.includes(text), `k6 ended without printing ${JSON.stringify(text)}\n${run.output}`);
    }
  };
  return run;
}

/** Runs k6 to its end, which must be this exit code. */
async function finish(run, code) {
  assert.equal(await run.ended, code, run.output);
  return run;
}

/** Nobody is connected any more, and every key will go away by itself. */
async function assertNothingLeft(world, run) {
  const clients = (await world.redis('CLIENT', 'LIST')).trim().split('\n');
  assert.equal(clients.length, 1, `connections: ${clients.join('\n')}`);
  for (const key of await world.redis('KEYS', '*')) {
    assert.ok((await world.redis('PTTL', key)) > 0, `${key} has no TTL`);
  }
  assert.doesNotMatch(run.output, /context is done before all/);
  assert.doesNotMatch(run.output, /panic|goroutine \d/);
}

const WAITERS = (users, body, more = '') => `
import exec from 'k6/execution';
import { sleep } from 'k6';
const barrier = new Barrier('default', { parties: ${users + 1}, store: __ENV.REDIS_URL, timeout: '1h', failUnaccounted: ['users'], reasons: ['login'] });
export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: ${users}, iterations: 1, ${more} } } };
export default function () {
  ${body}
}`;

test('exec.test.abort ends a run of waiters', async (t) => {
  const world = await startRedis(t);
  const run = await start(
    world,
    WAITERS(20, `if (exec.vu.idInTest === 20) { while (barrier.status().arrived < 19) sleep(0.01); exec.test.abort('enough'); } barrier.arriveAndWait();`),
  );
  await finish(run, ABORTED);
  await assertNothingLeft(world, run);
});

test('one Ctrl-C ends a run of waiters and says goodbye to the store', async (t) => {
  const world = await startRedis(t);
  const run = await start(world, WAITERS(20, `barrier.arriveAndWait();`));
  await arrivals(world, 20);
  run.child.kill('SIGINT');
  await finish(run, INTERRUPTED);
  await assertNothingLeft(world, run);
});

test('two Ctrl-C end a run at once, and only keys with a TTL stay', async (t) => {
  const world = await startRedis(t);
  const teardown = `\nexport function teardown() { console.log('teardown begins'); sleep(60); }`;
  const run = await start(world, WAITERS(20, `barrier.arriveAndWait();`) + teardown);
  await arrivals(world, 20);
  run.child.kill('SIGINT');
  await run.printed('teardown begins');
  run.child.kill('SIGINT');
  await finish(run, INTERRUPTED);
  await disconnected(world);
  await assertNothingLeft(world, run);
});

test('gracefulStop ends waiters, and who has no outcome is accounted for', async (t) => {
  const world = await startRedis(t);
  const run = await start(
    world,
    WAITERS(20, `if (exec.vu.idInTest === 1) { barrier.register({ participant: 1 }); barrier.wait(); } barrier.arriveAndWait();`, `maxDuration: '2s', gracefulStop: '0s'`),
  );
  await finish(run, 0);
  await assertNothingLeft(world, run);
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:run'), 19);
  assert.equal(await world.redis('GET', 'K6_BARRIER_ITERATION-ENDED_FAIL:run'), '1');
});

test('an exception in the script is accounted for, and the others go on', async (t) => {
  const world = await startRedis(t);
  const run = await start(
    world,
    `
    import { check } from 'k6';
    import exec from 'k6/execution';
    const barrier = new Barrier('default', { parties: 5, store: __ENV.REDIS_URL, timeout: '30s', failUnaccounted: ['users'] });
    export const options = {
      scenarios: { users: { executor: 'per-vu-iterations', vus: 5, iterations: 1 } },
      thresholds: { checks: ['rate==1'], 'barrier_failures{reason:iteration-ended}': ['count==2'], barrier_arrivals: ['count==3'] },
    };
    export default function () {
      if (exec.vu.idInTest < 3) throw new Error('the script has a bug');
      check(barrier.arriveAndWait(), { 'all are accounted for': (r) => r.arrived === 3 && r.failed['iteration-ended'] === 2 });
    }`,
  );
  await finish(run, 0);
  await assertNothingLeft(world, run);
});

test('a user that dies before its first new Barrier is accounted for', async (t) => {
  const world = await startRedis(t);
  const run = await start(
    world,
    `
    import exec from 'k6/execution';
    import { sleep } from 'k6';
    export const options = {
      scenarios: {
        users: { executor: 'per-vu-iterations', vus: 3, iterations: 1 },
        controller: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'controller' },
      },
      thresholds: { 'barrier_failures{reason:iteration-ended}': ['count==1'], 'barrier_wait_duration{scenario:controller}': ['max>0'] },
    };
    const open = () => new Barrier('default', { parties: 3, timeout: '30s', failUnaccounted: ['users'] });
    export default function () {
      if (exec.scenario.iterationInTest === 2) {
        // The others have opened the barrier by then.
        while (exec.instance.iterationsCompleted < 2) sleep(0.05);
        throw new Error('died early');
      }
      open().arrive();
    }
    export function controller() {
      const { reason, failed } = open().wait();
      console.log('ended', reason, JSON.stringify(failed));
    }`,
  );
  await finish(run, 0);
  assert.match(run.output, /ended all \{\\"iteration-ended\\":1\}/);
});

test('an abort in one process is seen by every waiter of another', async (t) => {
  const world = await startRedis(t);
  const barrier = `const barrier = new Barrier('default', { parties: 9, store: __ENV.REDIS_URL, timeout: '1h' });`;
  const waiters = await start(
    world,
    `${barrier}
    export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 4, iterations: 1 } } };
    export default function () {
      try { barrier.arriveAndWait(); } catch (e) { console.log('caught', e.name, e.message); }
    }`,
  );
  await arrivals(world, 4);
  const aborter = await start(world, `${barrier}\nexport default function () { barrier.abort('the target is down'); }`);
  await finish(aborter, 0);
  await finish(waiters, 0);
  assert.equal(waiters.output.match(/caught BarrierBrokenError .*default.* is broken \(abort\): the target is down/g)?.length, 4, waiters.output);
  await assertNothingLeft(world, waiters);
});

test('thresholds on tagged metrics judge a run, and every sample has its tags', async (t) => {
  const world = await startRedis(t);
  const script = (login) => `
    import { group } from 'k6';
    import exec from 'k6/execution';
    const barrier = new Barrier('gate', { parties: 4, timeout: '30s', reasons: ['login', 'sse'] });
    export const options = {
      scenarios: { users: { executor: 'per-vu-iterations', vus: 4, iterations: 1, tags: { wave: 'first' } } },
      thresholds: {
        'barrier_failures{reason:login}': ['count==${login}'],
        'barrier_failures{reason:sse}': ['count==0'],
        'barrier_arrivals{scenario:users,wave:first,barrier:gate}': ['count==3'],
        'barrier_wait_duration{group:::checkout}': ['max>0'],
        'barrier_timeouts{barrier:gate}': ['count==0'],
      },
    };
    export default function () {
      exec.vu.tags.mine = 'custom';
      group('checkout', () => {
        if (exec.scenario.iterationInTest === 0) barrier.fail('login');
        else barrier.arriveAndWait();
      });
    }`;
  await finish(await start(world, script(0)), THRESHOLDS_CROSSED);
  const samples = join(world.folder, 'samples.json');
  await finish(await start(world, script(1), ['--out', `json=${samples}`]), 0);

  const seen = { barrier_arrivals: 0, barrier_failures: 0, barrier_timeouts: 0, barrier_wait_duration: 0, barrier_skew_duration: 0 };
  for (const line of (await readFile(samples, 'utf8')).trim().split('\n')) {
    const { type, metric, data } = JSON.parse(line);
    if (type !== 'Point' || !metric.startsWith('barrier_')) continue;
    seen[metric] += metric.endsWith('_duration') ? 1 : data.value; // identical samples of a counter come as one
    const { reason, ...tags } = data.tags;
    assert.deepEqual(tags, { barrier: 'gate', group: '::checkout', mine: 'custom', scenario: 'users', wave: 'first' }, line);
    assert.equal(data.metadata.phase, '0', line);
    assert.equal(reason !== undefined, metric === 'barrier_failures', line);
  }
  assert.deepEqual({ ...seen, barrier_skew_duration: 3 }, { barrier_arrivals: 3, barrier_failures: 1, barrier_timeouts: 0, barrier_wait_duration: 3, barrier_skew_duration: 3 });
});

test('waiting costs neither threads nor descriptors nor connections', async (t) => {
  const world = await startRedis(t);
  const run = await start(
    world,
    WAITERS(500, `barrier.arriveAndWait();`),
  );
  await arrivals(world, 500);
  const { pid } = run.child;
  const threads = readdirSync(`/proc/${pid}/task`).length;
  const sockets = readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
  assert.ok(threads < 50, `${threads} threads for 500 waiters`);
  assert.ok(sockets < 10, `${sockets} sockets for 500 waiters`);
  assert.equal((await world.redis('CLIENT', 'LIST')).trim().split('\n').length, 2, 'one connection of k6, and this one');
  run.child.kill('SIGINT');
  await finish(run, INTERRUPTED);
  await assertNothingLeft(world, run);
});

test('a long wait reports its progress once per process, and its end', async (t) => {
  const world = await startRedis(t);
  const script = `
    import { sleep } from 'k6';
    import exec from 'k6/execution';
    const barrier = new Barrier('default', { parties: 5, timeout: '30s', reasons: ['login'] });
    export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 5, iterations: 1 } } };
    export default function () {
      const participant = exec.scenario.iterationInTest + 1;
      if (participant === 1) barrier.fail('login', { participant });
      if (participant === 2) sleep(6);
      if (participant > 1) barrier.arriveAndWait({ participant });
    }`;
  const run = await finish(await start(world, script), 0);
  const said = run.output.match(/barrier \\"default\\": [^\n]*(?=" source)/g);
  assert.deepEqual(said, [
    'barrier \\"default\\": 3 of 5 arrived, 1 failed (login 1), missing 2',
    'barrier \\"default\\": released (all): 4 of 5 arrived, 1 failed (login 1)',
  ], run.output);
});

test('a segment of a run needs a shared store and a run id', async (t) => {
  const world = await startRedis(t);
  const half = ['--execution-segment', '0:1/2'];
  const script = (store) => `
    const barrier = new Barrier('default', { parties: 2, store: ${store} });
    export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 2, iterations: 1 } } };
    export default function () { try { barrier.arrive(); } catch (e) { console.log(e.name, e.option, e.message); } }`;
  const memory = await finish(await start(world, script(`'memory'`), half), 0);
  assert.match(memory.output, /BarrierOptionError store arrive\(\) failed.*under the execution segment 0:1\/2, allowed is a redis:\/\/ URL/);
  const random = await finish(await start(world, script('__ENV.REDIS_URL'), half, { K6_BARRIER_RUN_ID: '' }), 0);
  assert.match(random.output, /BarrierOptionError runId arrive\(\) failed.*K6_BARRIER_RUN_ID, the same in all processes/);
});

test('a participant of two processes and left-overs of a killed one are refused with the remedy', async (t) => {
  const world = await startRedis(t);
  const script = (participant, more = '') => `
    const barrier = new Barrier('default', { parties: 3, store: __ENV.REDIS_URL, timeout: '1h' });
    export default function () {
      try { barrier.arrive({ participant: ${participant} }); ${more} } catch (e) { console.log(e.name, e.message); }
    }`;
  const first = await start(world, script(1, 'barrier.wait();'));
  await arrivals(world, 1);
  const same = await finish(await start(world, script(1)), 0);
  assert.match(same.output, /BarrierConflictError arrive\(\) failed; reason: .*execution segments/);

  first.child.kill('SIGKILL');
  await first.ended;
  const next = await finish(await start(world, script(2)), 0);
  assert.match(next.output, /BarrierConflictError arrive\(\) failed; reason: .*earlier run.*option runId or K6_BARRIER_RUN_ID/);
});

/** Waits until so many have arrived, as outside readers see it. */
async function arrivals(world, count) {
  while ((await world.redis('SCARD', 'K6_BARRIER_JOINED:run')) < count) {
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** Waits until the server has noticed that only this test is left. */
async function disconnected(world) {
  while ((await world.redis('CLIENT', 'LIST')).trim().split('\n').length > 1) {
    await new Promise((done) => setTimeout(done, 10));
  }
}
