import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startRedis } from './world.mjs';

const script = resolve(fileURLToPath(import.meta.url), '../scripts/modules-as-documented.js');

/** A server that sends five named events to each client, and remembers what it was asked. */
async function startEvents(t) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.headers.authorization}`);
    request.on('data', (chunk) => requests.push(String(chunk)));
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (let id = 0; id < 5; id++) {
      response.write(`id: ${id}\nevent: tick\ndata: message ${id}\n\n`);
    }
    if (request.method === 'POST') response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, requests };
}

test('a script that uses k6/x/sse and k6/x/redis as documented runs unchanged', async (t) => {
  const world = await startRedis(t);
  const { url, requests } = await startEvents(t);
  const run = (await world.k6({ SSE_URL: url }, { script })).expect(0, 'event id=0, name=tick, data=message 0');

  assert.equal(run.output.match(/event id=4, name=tick, data=message 4/g).length, 3, 'each user saw the last event');
  assert.equal(run.output.match(/connected/g).length, 3);
  assert.equal(run.output.match(/chain done/g).length, 3);
  assert.doesNotMatch(run.output, /unexpected error/);
  assert.deepEqual(requests, Array(3).fill('GET Bearer XXXX'));

  assert.equal(await world.redis('GET', 'visits'), '3');
  assert.deepEqual((await world.redis('KEYS', 'visit:*')).sort(), ['visit:1', 'visit:2', 'visit:3']);
  assert.equal(await world.redis('EXISTS', 'crocodiles'), 0, 'teardown was awaited');
});

test('what calls return is plain data, and classes can be extended', async (t) => {
  const world = await startRedis(t);
  const { url, requests } = await startEvents(t);
  const script = resolve(fileURLToPath(import.meta.url), '../scripts/plain-objects.js');
  const run = (await world.k6({ SSE_URL: url }, { script })).expect(0);
  assert.match(run.output, /printed \{ label: \\"mine\\" \} \{ reason: \\"all\\", arrived: 2,/);
  assert.ok(requests.some((request) => /(^|&)arrived=2(&|$)/.test(request)), requests.join('\n'));
});
