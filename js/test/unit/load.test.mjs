// The loads of a harness.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { declared } from '../../lib/load.js';

const OWN = { own: { executor: 'shared-iterations' } };

function under(LOAD) {
  globalThis.__ENV = LOAD === undefined ? {} : { LOAD };
  return declared(OWN);
}

test('declared loads take the place of those of the harness', () => {
  assert.equal(under(undefined), OWN);
  assert.equal(under(' '), OWN);
  assert.deepEqual(under('{"chat":{"executor":"constant-vus","vus":3}}'), { chat: { executor: 'constant-vus', vus: 3 } });
});

test('what is no set of scenarios is refused with what was received', () => {
  for (const text of ['{', '[]', 'null', '5']) {
    assert.throws(() => under(text), (error) => error instanceof Error && error.message.includes(`received \`${text}\``), text);
  }
});
