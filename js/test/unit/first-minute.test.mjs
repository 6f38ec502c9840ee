// What scripts/first-minute.sh says where it cannot do its work.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const SCRIPT = join(import.meta.dirname, '../../../scripts/first-minute.sh');

/** Runs it as somebody who is not root and may not become it. */
function asNobody(t, ...args) {
  const bin = mkdtempSync(join(tmpdir(), 'first-minute-'));
  t.after(() => rmSync(bin, { recursive: true }));
  for (const [name, script] of [['id', 'echo 1000'], ['sudo', 'exit 1']]) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return spawnSync(SCRIPT, args, { env: { ...process.env, PATH: `${bin}:${process.env.PATH}` }, encoding: 'utf8' });
}

test('without root it says so, and makes nothing', (t) => {
  const { status, stdout, stderr } = asNobody(t);
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /needs root: call this as root, or where sudo asks for no password; nothing was tried/);
});

test('an unknown trial is named with those that there are', (t) => {
  const { status, stderr } = asNobody(t, 'docker');
  assert.equal(status, 1);
  assert.match(stderr, /"docker" cannot be tried; what can is: archive, xk6/);
});
