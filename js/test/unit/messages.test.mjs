import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodeMessage } from '../../lib/pure.js';

const position = { userId: 'acc-1', eventId: 'e', status: 'IN_ENTRY', order: 1 };
const plain = JSON.stringify(position);

test('every encoding of a message is understood', () => {
  for (const data of [
    plain,
    `  ${plain}\n`,
    `data:${plain}`,
    `data: ${plain}`,
    JSON.stringify(plain),
    ` data:${JSON.stringify(plain)} `,
    `data: ${JSON.stringify(plain)}`,
    plain.replaceAll('"', '\\"'),
  ]) {
    assert.deepEqual(decodeMessage(data), position, data);
  }
});

test('a quote inside a text does no harm', () => {
  const message = { status: 'IN_PROGRESS', token: 'a"b' };
  assert.deepEqual(decodeMessage(JSON.stringify(message)), message);
});

test('what is no JSON object is no message', () => {
  for (const data of ['', '   ', 'data:', 'connected userId:acc-1', '"text"', '"', 'null', '7', '{', '[', undefined, null]) {
    assert.equal(decodeMessage(data), undefined, String(data));
  }
});
