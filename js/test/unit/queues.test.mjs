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
