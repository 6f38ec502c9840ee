#!/usr/bin/env node
// Measures how far apart several k6 processes wake that share one barrier over Redis:
//
//   scripts/measure-segments.mjs [processes=4] [users=2000] [repetitions=5]
//
// It starts a private Redis, and for each repetition the processes as execution segments with one run id. Needs ./k6 (or
// K6_BIN) and redis-server (or REDIS_SERVER_BIN). It fails where a user was not released with all the others.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startRedis } from '../js/test/e2e/world.mjs';

const root = resolve(fileURLToPath(import.meta.url), '../..');
const k6 = process.env.K6_BIN ?? resolve(root, 'k6');
const script = resolve(root, 'xk6-barrier/bench/segments.js');
const [processes, users, repetitions] = [4, 2000, 5].map((fallback, at) => Number(process.argv[at + 2] ?? fallback));

const cleanups = [];
const world = await startRedis({ after: (cleanup) => cleanups.unshift(cleanup) });

const cuts = Array.from({ length: processes + 1 }, (_, at) => (at === 0 ? '0' : at === processes ? '1' : `${at}/${processes}`));

async function runSegment(at, runId) {
  const segment = `${cuts[at]}:${cuts[at + 1]}`;
  const child = spawn(
    k6,
    ['run', '--quiet', '--no-color', '--address', '', '--execution-segment', segment, '--execution-segment-sequence', cuts.join(','), script],
    {
      cwd: world.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: world.folder,
        K6_AUTO_EXTENSION_RESOLUTION: 'false',
        K6_NO_USAGE_REPORT: 'true',
        K6_BARRIER_RUN_ID: runId,
        REDIS_URL: world.redisUrl,
        USERS: String(users),
        SEGMENT: segment,
      },
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  }
  const [code] = await once(child, 'close');
  const result = /^RESULT (.*)$/m.exec(output);
  if (code !== 0 || !result) {
    throw new Error(`segment ${segment} ended with ${code}:\n${output}`);
  }
  return JSON.parse(result[1]);
}

const spread = (values) => Math.max(...values) - Math.min(...values);

try {
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    const results = await Promise.all(
      Array.from({ length: processes }, (_, at) => runSegment(at, `measure-${process.pid}-${repetition}`)),
    );
    console.log(`repetition ${repetition}`);
    for (const { segment, waiters, releasedAt, firstWake, lastWake } of results) {
      console.log(
        `  ${segment.padEnd(8)} ${waiters} users, released at ${releasedAt?.toFixed(3)}, first wake ${firstWake?.toFixed(3)}, last wake ${lastWake?.toFixed(3)}`,
      );
    }
    const waiters = results.reduce((sum, r) => sum + r.waiters, 0);
    if (waiters !== users || results.some((r) => r.arrived !== users)) {
      throw new Error(`${waiters} of ${users} users were released`);
    }
    console.log(
      `  all ${waiters} released; the processes' instants are ${spread(results.map((r) => r.releasedAt)).toFixed(3)} ms apart, ` +
        `their first wakes ${spread(results.map((r) => r.firstWake)).toFixed(3)} ms`,
    );
  }
} finally {
  for (const cleanup of cleanups) {
    await cleanup();
  }
}
