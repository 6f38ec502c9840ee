/** The chat suite's wrapper with the real runner, k6 and the reference service. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { startChat } from './chat.mjs';
import { freePort } from './world.mjs';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');

test('run-health passes at a healthy service; where no stream listens it fails, names the address, and sends no load', async (t) => {
  const chat = await startChat(t);
  const health = (env) =>
    spawnSync(join(ROOT, 'run-slo-testing.sh'), ['run-health'], {
      encoding: 'utf8',
      env: { ...process.env, ...chat.env, EVIDENCE_ROOT: join(chat.folder, 'evidence'), BARRIER_MACHINE_LOCK: join(chat.folder, 'lock'), ...env },
    });
  const well = health({});
  assert.equal(well.status, 0, well.stdout + well.stderr);

  const nobody = `127.0.0.1:${await freePort()}`;
  const ill = health({ WS_URL: `ws://${nobody}` });
  const told = ill.stdout + ill.stderr;
  assert.equal(ill.status, 3, told);
  assert.ok(told.includes(`http://${nobody}/health`), told);
  const { messages } = await chat.counters();
  assert.equal(messages, 0, 'no load was sent');
});
