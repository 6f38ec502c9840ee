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

import { serve } from '../e2e/world.mjs';

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

test('the suite runs by the environment alone, at the service that it names, and is marked as no run of record', async (t) => {
  const listen = ['--listen', '127.0.0.1:0', '--stream-listen', '127.0.0.1:0'];
  const { match } = await serve(t, join(ROOT, 'bin/chat-service'), listen, /listening on (\S+)\nstream on (\S+)\n/);
  const [, api, stream] = match;
  const addresses = `BASE_URL=${api} WS_URL=${stream.replace(/^http/, 'ws')}`;
  const { status, told } = container(['run'], { FW_K6_ENV: `${addresses} VUS=${VUS} DURATION=${DURATION}` });
  const { path, content: meta } = kept('meta.json', 'websocket-streaming');
  const { content: verdict } = kept('verdict.json', 'websocket-streaming');
  assert.equal(verdict.verdict, 'PASS', told);
  assert.equal(status, 0, told);
  assert.deepEqual([meta.environment.VUS.value, meta.environment.DURATION.value, meta.ofRecord], [VUS, DURATION, false]);
  const { content: summary } = kept('summary.json', 'websocket-streaming');
  assert.equal(summary.metrics.vus_max.values.max, Number(VUS));
  const { messages } = await (await fetch(`${api}/counters`)).json();
  assert.ok(messages > 0, 'that service had the load');
  assert.notEqual(statSync(path).uid, 0, 'nothing in the container runs as root');
});

test('without an address it is at the service of port 4000, and at its own where it is asked for the suite alone', () => {
  for (const [options, expected] of [
    [['--env-file', '/opt/k6-barrier/chat.env'], /target +service\n[^]*BASE_URL=http:\/\/localhost:4000 /],
    [[], /target +chat\n/],
  ]) {
    const { status, told } = container(['run', 'run', 'chat', '--dry-run', ...options]);
    assert.equal(status, 0, told);
    assert.match(told, expected);
  }
});
