/** What a user of the harness may expect of the barrier, whatever the queues look like meanwhile. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { EVENTS, startWorld } from './world.mjs';

test('the barrier is met although the queues are empty whenever somebody looks', async (t) => {
  const world = await startWorld(t);
  const queues = EVENTS.map((event) => `WAITING:${event}`);
  let opened = false;
  let emptyWhileWaiting = false;
  let ended = false;
  const run = world
    .k6(
      { VUS: 4, LOGIN_BATCH_SIZE: 3, LOGIN_BATCH_INTERVAL_MS: 8000, VERBOSE_LOGS: 1, RUN_ID: 'by-hand' },
      {
        onLine: (line) => {
          // Setup is over, and with it its CLOSED: somebody opens the events by hand.
          if (line.includes('joined the queue') && !opened) {
            opened = true;
            void world.redis('HSET', 'event_statuses', ...EVENTS.flatMap((event) => [event, 'OPEN']));
          }
        },
      },
    )
    .finally(() => (ended = true));
  // The users of the first batch are promoted long before the last one comes.
  while (!ended && !emptyWhileWaiting) {
    const joined = await world.redis('SCARD', 'K6_BARRIER_JOINED:by-hand');
    const waiting = await world.redis('EXISTS', ...queues);
    emptyWhileWaiting = joined === 3 && waiting === 0;
    await pause(20);
  }
  (await run).expect(0, 'Barrier met after', 'Completed users: 4');
  assert.ok(emptyWhileWaiting, 'three had joined, nobody was in a queue, and the barrier still waited for the fourth');
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:by-hand'), 4);
});
