/**
 * The container fw-k6 without a daemon: built from the Dockerfile, then run with fewer users for a shorter time than a run of record.
 * FW_K6_VUS and FW_K6_DURATION say how many and how long.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, test } from 'node:test';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');
const EVIDENCE = join(ROOT, '.cache/container/evidence');
const VUS = process.env.FW_K6_VUS ?? '200';
const DURATION = process.env.FW_K6_DURATION ?? '1m';

function container(args, env = {}) {
  const { status, stdout, stderr } = spawnSync(join(ROOT, 'scripts/container.sh'), args, {
    encoding: 'utf8',
    env: { ...process.env, FW_K6_EVIDENCE: EVIDENCE, ...env },
    maxBuffer: 64 << 20,
  });
  return { status, told: stdout + stderr };
}

/** The only file with this name below the folder of evidence whose path has this word. */
function kept(name, word) {
  const found = readdirSync(EVIDENCE, { recursive: true }).filter((path) => path.endsWith(`/${name}`) && path.includes(`/${word}/`));
  assert.equal(found.length, 1, `${name}: ${found}`);
  const path = join(EVIDENCE, found[0]);
  return { path, content: JSON.parse(readFileSync(path, 'utf8')) };
}

before(() => {
  rmSync(EVIDENCE, { recursive: true, force: true });
  const { status, told } = container(['build']);
  assert.equal(status, 0, told);
});

test('the image has every suite', () => {
  for (const file of readdirSync(join(ROOT, 'bench/suites')).filter((name) => name.endsWith('.toml'))) {
    const suite = file.replace('.toml', '');
    const { status, told } = container(['run', 'list', suite]);
    assert.equal(status, 0, told);
    assert.match(told, /\(runs by default\)/, suite);
  }
});

test('the smoke scenario of the waiting room passes in it, with the Redis of the archive', () => {
  const { status, told } = container(['run', 'run', 'waiting-room', '--scenario', 'smoke', '--variant', 'zset']);
  assert.equal(status, 0, told);
  assert.match(told, /verdict +PASS/);
  assert.equal(kept('verdict.json', 'smoke').content.verdict, 'PASS');
});

test('the suite runs by the environment alone, and is marked as no run of record', () => {
  const { status, told } = container(['run'], { FW_K6_ENV: `VUS=${VUS} DURATION=${DURATION}` });
  const { path, content: meta } = kept('meta.json', 'websocket-streaming');
  const { content: verdict } = kept('verdict.json', 'websocket-streaming');
  assert.equal(verdict.verdict, 'PASS', told);
  assert.equal(status, 0, told);
  assert.deepEqual([meta.environment.VUS.value, meta.environment.DURATION.value, meta.ofRecord], [VUS, DURATION, false]);
  const { content: summary } = kept('summary.json', 'websocket-streaming');
  assert.equal(summary.metrics.vus_max.values.max, Number(VUS));
  assert.notEqual(statSync(path).uid, 0, 'nothing in the container runs as root');
});
