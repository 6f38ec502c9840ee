import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { EXAMPLES, startRedis, startWorld } from './world.mjs';

const PROMISES = 'redis-promises-in-sse-handler.js';
const PROCESSES = 'barrier-processes.js';

// Every example checks itself by its thresholds.
for (const name of readdirSync(EXAMPLES).filter((file) => file.endsWith('.js') && file !== PROMISES)) {
  test(`example ${name}`, async (t) => {
    const world = await startRedis(t);
    (await world.k6({ K6_BARRIER_RUN_ID: 'example' }, { script: join(EXAMPLES, name) })).expect(0);
  });
}

test(`example ${PROCESSES} in two processes`, async (t) => {
  const world = await startRedis(t);
  const runs = ['0:1/2', '1/2:1'].map((segment) =>
    world.k6(
      { K6_BARRIER_RUN_ID: 'example' },
      {
        script: join(EXAMPLES, PROCESSES),
        args: ['--execution-segment', segment, '--execution-segment-sequence', '0,1/2,1'],
      },
    ),
  );
  for (const run of await Promise.all(runs)) {
    run.expect(0);
  }
});

test('users meet in a stream by the barrier, and not by promises', async (t) => {
  const world = await startWorld(t);
  (await world.k6({}, { script: join(EXAMPLES, PROMISES) })).expect(0);
  const [key] = await world.redis('KEYS', 'EXAMPLE_JOINED:*');
  assert.equal(await world.redis('SCARD', key), 5, 'the commands themselves were carried out');
});
