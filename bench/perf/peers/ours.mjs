/** Our side of each comparison: k6 with the module. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { together } from './programs.mjs';

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

/** Runs a script in one k6, or in several that share its users evenly; gives what their users wrote. */
async function share(script, variables, folder, processes) {
  const bounds = Array.from({ length: processes + 1 }, (_, bound) => (bound === 0 || bound === processes ? `${bound / processes}` : `${bound}/${processes}`));
  const logs = Array.from({ length: processes }, (_, number) => join(folder, `notes-${number}`));
  const env = processes === 1 ? {} : { K6_BARRIER_RUN_ID: `peers-${Date.now()}-${process.pid}` };
  const segments = (number) => (processes === 1 ? []
    : ['--execution-segment', `${bounds[number]}:${bounds[number + 1]}`, '--execution-segment-sequence', bounds.join(',')]);
  await together(logs.map((log, number) => [k6, words(join(here, script), log, variables, segments(number)), { env }]));
  return logs.map((log) => readFileSync(log, 'utf8')).join('\n');
}

/** Lets users meet at one of ours; gives what they noted. */
export function meet(kind, users, rounds, folder, { store = 'memory', over = 0, processes = 1 } = {}) {
  const variables = { MEET: kind, USERS: users, ROUNDS: rounds, STORE: store, OVER_MS: over, PROCESSES: processes };
  return share('meetings.js', variables, folder, processes);
}

/** Lets all but one come to a Barrier; gives what they wrote. */
export function oneFails(kind, users, folder, { store = 'memory', processes = 1 } = {}) {
  return share('one-fails.js', { MEET: kind, USERS: users, STORE: store, PATIENCE: `${PATIENCE}s` }, folder, processes);
}

/** What a line of ours has in it that tells who failed to come. */
export const NAMED = /missing:? 1\b|, 1 failed$/;
