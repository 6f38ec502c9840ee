/**
 * Programs that a run of the peers starts, and folders that it makes: none outlives it, however it ends.
 *
 * Each program leads a process group of its own, so that what it starts ends with it.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';

/** No program may take longer, in ms. */
const LIMIT = 15 * 60_000;

/** @type {Map<import('node:child_process').ChildProcess, { signal: NodeJS.Signals }>} */
const running = new Map();
const folders = new Set();

/** Ends a program and all that it started. */
export function end(child, signal = running.get(child)?.signal ?? 'SIGKILL') {
  if (child.pid === undefined || !running.has(child)) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error; // it has just ended by itself
  }
}

function clean() {
  for (const child of running.keys()) end(child);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
process.on('exit', clean);
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.on(signal, () => process.exit(128 + number));
}

/** Calls a function with a folder that is gone afterwards. */
export async function withFolder(use) {
  const folder = mkdtempSync(join(os.tmpdir(), 'peers-'));
  folders.add(folder);
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    folders.delete(folder);
  }
}

/**
 * Starts a program.
 *
 * @param {string} program
 * @param {string[]} words
 * @param {{ env?: Record<string, string>, signal?: NodeJS.Signals, limit?: number }} [options] signal: what ends it early
 * @returns {{ child: import('node:child_process').ChildProcess, ended: Promise<string> }} ended gives what it printed to the
 *   standard output, and rejects where it could not be started or its exit code is not 0
 */
export function start(program, words, { env = {}, signal = 'SIGKILL', limit = LIMIT } = {}) {
  const child = spawn(program, words, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  running.set(child, { signal });
  const timer = setTimeout(() => end(child), limit);
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (printed[name] += text));
  const ended = new Promise((resolve, reject) => {
    child.on('error', (error) => {
      running.delete(child);
      clearTimeout(timer);
      reject(new Error(`${program} cannot be started: ${error.message}`));
    });
    child.on('close', (code, by) => {
      running.delete(child);
      clearTimeout(timer);
      if (code === 0) resolve(printed.stdout);
      else reject(new Error(`${program} ended with ${by ?? code}:\n${`${printed.stdout}${printed.stderr}`.slice(-2000)}`));
    });
  });
  ended.catch(() => {}); // whoever waits for it hears of it; a server that is ended has nobody who waits
  return { child, ended };
}

/** Runs a program to its end and returns what it printed. */
export function run(program, words, options) {
  return start(program, words, options).ended;
}

/** Runs programs beside each other; where one fails, the others are ended. Returns what they printed. */
export async function together(programs) {
  const started = programs.map(([program, words, options]) => start(program, words, options));
  try {
    return await Promise.all(started.map(({ ended }) => ended));
  } finally {
    for (const { child } of started) end(child);
  }
}

/** Runs one of the scripts that fetch what is missing, which print where it is. Its messages go to the terminal. */
export function ensure(script, words = []) {
  const { child, ended } = start(script, words, { signal: 'SIGTERM' }); // they clear up on it
  child.stderr?.pipe(process.stderr);
  return ended.then((text) => text.trim());
}
