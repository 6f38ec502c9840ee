import assert from 'node:assert/strict';
import { test } from 'node:test';

import { errorText } from '../../lib/pure.js';
import { queuesOf } from '../../lib/queues.js';
import { readConfig } from '../../lib/settings.js';

test('a drain is watched on after a store that could not be opened at first', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const warn = t.mock.method(console, 'warn', () => {});
  const added = {};
  class Metric {
    constructor(name) {
      this.add = (value) => (added[name] ??= []).push(value);
    }
  }
  let openings = 0;
  class QueueCounter {
    constructor() {
      if (++openings === 1) {
        throw new Error('connection refused');
      }
    }
    counts = () => ({ 'WAITING:a': 1 });
    command = () => '7';
  }
  const sleep = (seconds) => t.mock.timers.tick(seconds * 1000);
  const queues = queuesOf({ sleep, Counter: Metric, Trend: Metric, QueueCounter, errorText })(readConfig({ EVENT_IDS: 'a' }));
  queues.seeDrain(() => (Date.now() < 1_002_500 ? 1 : 0), 2_000_000);
  assert.deepEqual(added.failed_looks, [1]);
  assert.deepEqual(added.slots_most, [7, 7], 'the second and the third second');
  assert.equal(openings, 2);
  assert.deepEqual(warn.mock.calls.map((call) => call.arguments), [['the queues could not be looked at while they drain: connection refused']]);
});

test('users who stay beyond their time are counted when k6 is about to end them, and not before', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const told = t.mock.method(console, 'error', () => {});
  class Metric {
    add = () => {};
  }
  class QueueCounter {
    counts = () => ({ 'WAITING:a': 0 });
    command = () => null;
  }
  const sleep = (seconds) => t.mock.timers.tick(seconds * 1000);
  const queues = queuesOf({ sleep, Counter: Metric, Trend: Metric, QueueCounter, errorText })(readConfig({ EVENT_IDS: 'a', SYSTEM: '/own.js' }));
  const goAt = (time) => () => (Date.now() < time ? 3 : 0);
  assert.equal(queues.seeDrain(goAt(1_025_000), 1_002_000), 0, 'late, and by themselves');
  assert.equal(told.mock.callCount(), 0);
  assert.equal(queues.seeDrain(goAt(Infinity), Date.now() + 2000), 3);
  assert.match(told.mock.calls[0].arguments[0], /^3 users are still there 25 s after their time limit, and k6 ends them: .*wait\(\) of \/own\.js is to throw/);
});
