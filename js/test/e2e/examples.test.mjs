import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';

import { EXAMPLES, startRedis, startWorld } from './world.mjs';

const PROMISES = 'redis-promises-in-sse-handler.js';
const PROCESSES = 'barrier-processes.js';

/** The URL of a stream that goes on for as long as its client wants. */
async function startStream(t) {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': heartbeat\n\n');
    let id = 0;
    const timer = setInterval(() => response.write(`id: ${++id}\ndata: message ${id}\n\n`), 20);
    response.on('close', () => clearInterval(timer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}/stream`;
}

// Every example checks itself, by thresholds or checks.
for (const name of readdirSync(EXAMPLES).filter((file) => file.endsWith('.js') && file !== PROMISES)) {
  test(`example ${name}`, async (t) => {
    const world = await startRedis(t);
    const env = { K6_BARRIER_RUN_ID: 'example', SSE_URL: await startStream(t) };
    const run = (await world.k6(env, { script: join(EXAMPLES, name) })).expect(0);
    assert.doesNotMatch(run.output, /✗/);
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
