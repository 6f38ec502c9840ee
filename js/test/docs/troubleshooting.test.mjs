/** Every message of the troubleshooting page is printed, word for word: each of its causes is brought about here. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { EVENTS, startRedis, startWorld } from '../e2e/world.mjs';
import { readBook, readText, ROOT } from './book.mjs';
import { expectPrinted } from './shell.mjs';

const { blocks } = readBook().find(({ path }) => path === 'docs/troubleshooting.md');

/** Each case is what a user does wrong. Where it throws, what it throws is printed. */
const CASES = `
import { Barrier, QueueCounter } from 'k6/x/barrier';
import { sleep } from 'k6';

const { REDIS_URL, SECRET_REDIS_URL } = __ENV;
let inInit = '';
try {
  new Barrier('init', { parties: 1 }).arrive();
} catch (error) {
  inInit = error.message ?? String(error);
}

const shared = (runId, options) => new Barrier('shared', { parties: 3, runId, ...options });
const cases = {
  init: () => { throw new Error(inInit); },
  unknown: () => new Barrier('x', { parties: 3, partys: 3 }),
  parties: () => new Barrier('x', { parties: 0 }),
  ttl: () => new Barrier('x', { parties: 1, ttl: '10s' }),
  differ: () => { new Barrier('differ', { parties: 3 }).arrive(); new Barrier('differ', { parties: 4 }).arrive(); },
  named: () => new Barrier('named', { parties: 3 }).arriveAndWait({ timeout: '50ms', participant: 2 }),
  unnamed: () => new Barrier('unnamed', { parties: 3 }).arriveAndWait({ timeout: '50ms' }),
  broken: () => { const b = new Barrier('broken', { parties: 3 }); b.abort('the target is down'); b.arriveAndWait(); },
  late: () => {
    const b = new Barrier('late', { parties: 1, late: 'error' });
    b.arrive({ participant: 1 });
    b.arrive({ participant: 2 });
  },
  unreachable: () => shared('r', { store: 'redis://127.0.0.1:1' }).arrive(),
  nohost: () => shared('r', { store: 'redis://nohost.invalid' }).arrive(),
  password: () => shared('r', { store: SECRET_REDIS_URL }).arrive(),
  leftover: () => shared('old', { store: REDIS_URL }).arrive(),
  layout: () => shared('older', { store: REDIS_URL }).arrive(),
  type: () => new QueueCounter({ redis: REDIS_URL, keys: ['text'] }).counts(),
  queue: () => new QueueCounter({ redis: REDIS_URL, keys: ['empty'] }).waitFor(5, { timeout: '50ms' }),
};

export const options = {
  scenarios: {
    cases: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'cases' },
    twice: { executor: 'per-vu-iterations', vus: 2, iterations: 1, exec: 'twice' },
  },
};

function tell(what) {
  try {
    what();
  } catch (error) {
    console.error(error.message);
  }
}

export function setup() {
  tell(() => new Barrier('setup', { parties: 1 }).arrive());
}

function allCases() {
  Object.values(cases).forEach(tell);
}
export { allCases as cases };

export function twice() {
  tell(() => new Barrier('twice', { parties: 3 }).arrive({ participant: 1 }));
}
`;

const SEGMENT = ['--execution-segment', '0:1/2'];

test('each message of the page is printed, word for word', async (t) => {
  const printed = [];
  const world = await startWorld(t, ['--fail-logins', '1']);
  const secret = await startRedis(t);
  await secret.redis('CONFIG', 'SET', 'requirepass', 'sesame');
  await world.redis('SET', 'text', 'x');
  await world.redis('HSET', 'K6_BARRIER_STATE:older:shared', 'inc', '0'); // as the first layout had it

  // The record of a process that is gone: what a k6 that was killed leaves.
  const left = join(world.folder, 'left.js');
  await writeFile(
    left,
    `import { Barrier } from 'k6/x/barrier';
     export default () => new Barrier('shared', { parties: 3, runId: 'old', store: __ENV.REDIS_URL }).arrive();`,
  );
  await world.k6({}, { script: left });

  const script = join(world.folder, 'cases.js');
  await writeFile(script, CASES);
  const run = async (env, options) => printed.push((await world.k6(env, options)).output);
  await run({ SECRET_REDIS_URL: secret.redisUrl }, { script });

  const segmented = join(world.folder, 'segmented.js');
  await writeFile(
    segmented,
    `import { Barrier } from 'k6/x/barrier';
     export const options = { vus: 2, iterations: 2 };
     export default () => new Barrier('x', { parties: 3, store: __ENV.STORE || 'memory' }).arrive();`,
  );
  await run({}, { script: segmented, args: SEGMENT });
  await run({ STORE: world.redisUrl }, { script: segmented, args: SEGMENT });

  const stranger = join(world.folder, 'stranger.js');
  await writeFile(stranger, `import 'k6/x/no-such-module'; export default function () {}`);
  await run({}, { script: stranger });

  await run({ EVENT_IDS: '' });
  await run({ VUS: 20, LOGIN_BATCH_SIZE: 1, BARRIER_TIMEOUT_MS: 5000 });
  await run({ VUS: 1, BASE_URL: 'http://127.0.0.1:1' });
  await run({ VUS: 2, MAX_LOGIN_RETRIES: 1 });
  await world.redis('DEL', 'WAITING:event-a', 'WAITING:event-b', 'WAITING_USER_IDS:event-a', 'WAITING_USER_IDS:event-b');
  await world.redis('HSET', 'WAITING_QUEUE_IDX', EVENTS[0], '7');
  await run({ VUS: 2 });
  const healthy = await startWorld(t);
  printed.push((await healthy.k6({ VUS: 2, SSE_P95_THRESHOLD: 1 })).output);

  const outside = { cwd: ROOT, encoding: 'utf8', env: { PATH: process.env.PATH, TMPDIR: world.folder, BARRIER_MACHINE_LOCK: join(world.folder, 'machine.lock'), BASE_URL: world.baseUrl, REDIS_URL: world.redisUrl } };
  for (const [command, ...args] of [
    ['scripts/run-k6-barrier-benchmark.sh'],
    ['bin/barrier-bench', 'clean', 'waiting-room', '--scenario', 'custom', '--set', 'VUS=2'],
  ]) {
    printed.push(spawnSync(command, args, outside).stderr);
  }

  const output = printed.join('\n').replaceAll('\\"', '"');
  for (const block of blocks.filter(({ language, sample, source }) => language === 'text' && !sample && !source)) {
    for (const line of block.text.split('\n')) {
      expectPrinted({ ...block, text: line }, output);
    }
  }
});

test('each message that no test can bring about is in the source', () => {
  for (const { source, text, line } of blocks.filter((block) => block.source)) {
    // As a person reads it: strings that are written in several pieces are one.
    const code = readText(source)
      .replaceAll(/\\\n\s*/g, '')
      .replaceAll(/" \+\s*"/g, '')
      .replaceAll(/\\"/g, '"');
    for (const piece of text.split(/…|\n|"make k6"/).map((part) => part.trim())) {
      assert.ok(piece.length < 4 || code.includes(piece), `docs/troubleshooting.md:${line}: not in ${source}: ${piece}`);
    }
  }
});
