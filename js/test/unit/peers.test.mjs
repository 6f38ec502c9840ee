// How `make perf-peers` counts who went on before all had come.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { count, read } from '../../../bench/perf/peers/early.mjs';

const users = (...notes) => notes.map(([came, went]) => ({ came, went }));

test('a round in which nobody goes on before the last has come has nobody early', () => {
  const met = users([[1, 10], [5, 14]], [[4, 12], [4, 13]]);
  assert.deepEqual(count(met, 2), { waits: 4, early: 0, stuck: 0 });
});

test('who goes on before the last has come is early, in that round alone', () => {
  const met = users([[1, 10], [2, 13]], [[4, 12], [5, 14]]);
  assert.deepEqual(count(met, 2), { waits: 4, early: 1, stuck: 0 });
});

test('where one never comes, all who go on are early, and who never goes on is stuck', () => {
  const met = users([[1, 3], [5, null]], [[2, null], [6, null]], [[2, 6], [7, 7]]);
  assert.deepEqual(count(met, 2), { waits: 5, early: 1, stuck: 1 });
});

test('every user has to have written its line', () => {
  const lines = '{"came":[1],"went":[2]}\nsomething else\n{"came":[1],"went":[null]}\n';
  assert.equal(read(lines, 2)[1].went[0], null);
  assert.throws(() => read(lines, 3), /2 of 3 users wrote/);
});
