/** Our side of each comparison: k6 with the module. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run, together } from './programs.mjs';

const here = dirname(fileURLToPath(import.meta.url));
export const root = resolve(here, '../../..');
export const k6 = join(root, 'k6');

/** After so many seconds a run is ended in which one user failed. */
export const PATIENCE = 5;

/** Words that let k6 run a script with variables, and write what its users log to a file. */
export function words(script, log, variables, more = []) {
  return ['run', '--quiet', '--no-usage-report', '--summary-mode', 'disabled', '--address', '', '--log-format', 'raw',
    '--log-output', `file=${log}`, ...Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]), ...more, script];
}

/** Lets users meet at one of ours; gives what they noted. */
export async function meet(kind, users, rounds, folder, { store = 'memory', over = 0, processes = 1 } = {}) {
  const variables = { MEET: kind, USERS: users, ROUNDS: rounds, STORE: store, OVER_MS: over, PROCESSES: processes };
  const logs = Array.from({ length: processes }, (_, process) => join(folder, `notes-${process}`));
  const bounds = Array.from({ length: processes + 1 }, (_, process) => (process === 0 || process === processes ? `${process / processes}` : `${process}/${processes}`));
  await together(logs.map((log, process) => [k6, words(join(here, 'meetings.js'), log, variables, processes === 1 ? [] : [
    '--execution-segment', `${bounds[process]}:${bounds[process + 1]}`, '--execution-segment-sequence', bounds.join(','),
  ]), processes === 1 ? {} : { env: { K6_BARRIER_RUN_ID: `peers-${Date.now()}-${globalThis.process.pid}` } }]));
  return logs.map((log) => readFileSync(log, 'utf8')).join('\n');
}

/** Lets all but one come to a Barrier; gives what they wrote. */
export async function oneFails(kind, users, folder, { store = 'memory' } = {}) {
  const log = join(folder, 'events');
  await run(k6, words(join(here, 'one-fails.js'), log, { MEET: kind, USERS: users, STORE: store, PATIENCE: `${PATIENCE}s` }));
  return readFileSync(log, 'utf8');
}

/** What a line of ours has in it that tells who failed to come. */
export const NAMED = /missing:? 1\b|, 1 failed$/;
