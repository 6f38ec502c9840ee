#!/usr/bin/env node
// Meets with JMeter's Synchronizing Timer, with our Group and with our Barrier, and counts who was let go too early:
//
//   node bench/perf/peers/run.mjs [--users 10,100,500] [--rounds 50] [--cycles 3]
//
// `make perf-peers` builds what it needs. Nobody does anything between two rounds. A cycle runs each once; the order turns from
// cycle to cycle. Writes peers.md and peers.json to evidence/peers/<time>, and the table to the terminal.
//
// Exit code 0 where none of ours let anybody go early and all came through, 1 where something could not be run, 2 otherwise.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { count, read } from './early.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
/** JMeter ends itself where nobody has moved for so many seconds. */
const PATIENCE = 10;
/** No run may take longer, in ms. */
const LIMIT = 15 * 60_000;

const PEERS = {
  'jmeter-timer': { name: 'JMeter, Synchronizing Timer', ours: false, run: jmeter },
  group: { name: '`Group`, memory', ours: true, run: k6 },
  barrier: { name: '`Barrier`, memory', ours: true, run: k6 },
};

function whole(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: got ${JSON.stringify(text)}, allowed is a whole number from 1`);
  return value;
}

function settings() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({ options: { users: text('10,100,500'), rounds: text('50'), cycles: text('3') } });
  return {
    users: values.users.split(',').map((users) => Math.max(2, whole('users', users))),
    rounds: whole('rounds', values.rounds),
    cycles: whole('cycles', values.cycles),
  };
}

/** Runs a program to its end and returns what it printed. */
function run(program, words, env = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(program, words, {
    encoding: 'utf8', maxBuffer: 1 << 28, timeout: LIMIT, env: { ...process.env, ...env },
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ended with ${signal ?? status}:\n${`${stdout}${stderr}`.slice(-2000)}`);
  return stdout;
}

function jmeter(_, users, rounds, folder) {
  const result = join(folder, 'notes');
  const log = join(folder, 'jmeter.log');
  const given = { users, rounds, result, patience: PATIENCE };
  const words = ['-Djava.awt.headless=true', '-jar', join(home, 'bin/ApacheJMeter.jar'), '-n', '-t', join(here, 'timer.jmx'), '-j', log];
  run('java', [...words, ...Object.entries(given).map(([name, value]) => `-J${name}=${value}`)]);
  if (!existsSync(result)) throw new Error(`JMeter wrote no notes:\n${readFileSync(log, 'utf8').slice(-2000)}`);
  return readFileSync(result, 'utf8');
}

function k6(meet, users, rounds, folder) {
  const log = join(folder, 'notes');
  run(resolve(root, 'k6'), ['run', '--quiet', '--no-usage-report', '--summary-mode', 'disabled', '--address', '', '--log-format', 'raw',
    '--log-output', `file=${log}`, '-e', `MEET=${meet}`, '-e', `USERS=${users}`, '-e', `ROUNDS=${rounds}`, join(here, 'meetings.js')]);
  return readFileSync(log, 'utf8');
}

function measure(meet, users, rounds) {
  const folder = mkdtempSync(join(os.tmpdir(), 'peers-'));
  try {
    return count(read(PEERS[meet].run(meet, users, rounds, folder), users), rounds);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const sum = (counts, name) => counts.reduce((all, one) => all + one[name], 0);

/** The figures as a table of Markdown. */
function table(figures) {
  const lines = ['| | users of a round | waits | let go before all had come | never let go |', '|---|---:|---:|---:|---:|'];
  for (const { meet, users, counts } of figures) {
    const [waits, early, stuck] = ['waits', 'early', 'stuck'].map((name) => sum(counts, name).toLocaleString('en'));
    lines.push(`| ${PEERS[meet].name} | ${users} | ${waits} | ${early} | ${stuck} |`);
  }
  return lines.join('\n');
}

const asked = settings();
const home = run(resolve(root, 'scripts/ensure-jmeter.sh'), []).trim();
const conditions = {
  at: new Date().toISOString(),
  machine: `${os.cpus().length} CPUs (${os.cpus()[0]?.model ?? 'unknown'}), ${os.type()} ${os.release()}`,
  loadAtStart: os.loadavg()[0],
  jmeter: readFileSync(join(home, 'version'), 'utf8').trim(),
  java: /"(.*?)"/.exec(spawnSync('java', ['-version'], { encoding: 'utf8' }).stderr)?.[1] ?? 'unknown',
  k6: run(resolve(root, 'k6'), ['version']).split('\n')[0],
  ...asked,
};

const figures = asked.users.flatMap((users) => Object.keys(PEERS).map((meet) => ({ meet, users, counts: [] })));
for (let cycle = 0; cycle < asked.cycles; cycle += 1) {
  const order = cycle % 2 === 0 ? figures : figures.toReversed();
  for (const figure of order) {
    const counted = measure(figure.meet, figure.users, asked.rounds);
    figure.counts.push(counted);
    console.error(`cycle ${cycle + 1} of ${asked.cycles}: ${figure.meet}, ${figure.users} users: ${JSON.stringify(counted)}`);
  }
}

const folder = join(root, 'evidence/peers', conditions.at.replace(/[-:]/g, '').replace(/T(\d+)\..*/, '-$1'));
mkdirSync(folder, { recursive: true });
const text = `${table(figures)}\n\n${Object.entries(conditions).map(([name, value]) => `- ${name}: ${value}`).join('\n')}\n`;
writeFileSync(join(folder, 'peers.md'), text);
writeFileSync(join(folder, 'peers.json'), `${JSON.stringify({ schemaVersion: 1, conditions, figures }, null, 2)}\n`);
console.log(`${text}\nwritten to ${folder}`);
const kept = figures.every(({ meet, counts }) => !PEERS[meet].ours || (sum(counts, 'early') === 0 && sum(counts, 'stuck') === 0));
process.exitCode = kept ? 0 : 2;
