#!/usr/bin/env node
// Lets users meet in other tools and in k6-barrier, in one run, and counts who was let go too early or never:
//
//   node bench/perf/peers/run.mjs [--only jmeter,redis,locust,gatling] [--users 10,100] [--rounds 50] [--cycles 3]
//
// `make perf-peers` builds what it needs; `--help` says more. A cycle runs each once; the order turns from cycle to cycle. In
// the first one it is also seen what becomes of those who wait for a user that has failed. Writes peers.md and peers.json to
// evidence/peers/<time>, and the tables to the terminal.
//
// Exit code 0 where none of ours let anybody go early, all came through, and nobody waited for one who had failed, 1 where
// something could not be run, 2 otherwise.
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';

import { apart, count, read } from './early.mjs';
import * as gatling from './gatling/peer.mjs';
import * as jmeter from './jmeter.mjs';
import * as locust from './locust/peer.mjs';
import { k6, NAMED, PATIENCE, root } from './ours.mjs';
import { outcomes } from './outcomes.mjs';
import { run, withFolder } from './programs.mjs';
import * as redis from './redis/peer.mjs';
import { HELP, settings } from './settings.mjs';
import * as tables from './tables.mjs';

const PEERS = { jmeter, redis, locust, gatling };
/** Peers whose notes are in nanoseconds, not in milliseconds. */
const NANOSECONDS = ['jmeter-timer', 'gatling-places', 'gatling-loop'];

/** Runs one of a peer's meets once. */
async function measure({ peer, meet, question, users, rounds }) {
  return withFolder(async (folder) => {
    const { [meet]: { all, fails } } = PEERS[peer].meets;
    if (question === 'fails') return outcomes(await fails(users, folder), { came: users - 1, named: NAMED });
    const given = await all(users, rounds, folder);
    const { text, seen, calls } = typeof given === 'string' ? { text: given } : given;
    const notes = read(text, users);
    const distance = apart(notes, rounds);
    return { ...count(notes, rounds), apart: distance === null ? null : distance / (NANOSECONDS.includes(meet) ? 1e6 : 1), seen, calls };
  });
}

/** All that is to be run: of each peer all sizes, and of these each meet. */
function plan(peers) {
  const figures = [];
  for (const [peer, { users: sizes, rounds }] of Object.entries(peers)) {
    for (const users of sizes) {
      for (const [meet, { name, ours, all }] of Object.entries(PEERS[peer].meets)) {
        if (all) figures.push({ peer, question: 'all', meet, name, ours, users, rounds, runs: [] });
      }
    }
    for (const [meet, { name, ours, fails }] of Object.entries(PEERS[peer].meets)) {
      if (fails) figures.push({ peer, question: 'fails', meet, name, ours, users: Math.min(...sizes), rounds: 1, runs: [] });
    }
  }
  return figures;
}

/** Makes ready what the peers need, before anything is measured; gives their versions. */
async function prepare(names) {
  const versions = {};
  for (const name of names) {
    try {
      Object.assign(versions, await PEERS[name].prepare());
    } catch (error) {
      const others = names.filter((other) => other !== name);
      throw new Error(`${name} cannot be run: ${error.message}${others.length === 0 ? '' : `\nwithout it: --only ${others.join(',')}`}`);
    }
  }
  return versions;
}

function report(peers, figures, conditions) {
  const texts = Object.keys(peers).map((peer) => {
    const of = (question) => figures.filter((figure) => figure.peer === peer && figure.question === question);
    const failing = of('fails');
    return [`## ${PEERS[peer].title}`, tables.all(of('all'), { distance: peer !== 'jmeter' }),
      ...(failing.length === 0 ? [] : [`One user fails before it comes; the run is ended after ${PATIENCE} s:`, tables.fails(failing)])].join('\n\n');
  });
  return `${texts.join('\n\n')}\n\n${Object.entries(conditions).map(([name, value]) => `- ${name}: ${value}`).join('\n')}\n`;
}

const kept = ({ ours, question, runs }) => !ours || runs.every((one) => (question === 'all' ? one.early === 0 && one.stuck === 0 : one.waiting === 0 && one.named === one.came));

async function main() {
  const asked = settings(process.argv.slice(2));
  if (asked.help) {
    console.log(HELP);
    return 0;
  }
  const version = (await run(k6, ['version'])).split('\n')[0];
  const conditions = {
    at: new Date().toISOString(),
    machine: `${os.cpus().length} CPUs (${os.cpus()[0]?.model ?? 'unknown'}), ${os.type()} ${os.release()}`,
    loadAtStart: os.loadavg()[0],
    k6: version,
    ...await prepare(Object.keys(asked.peers)),
    ...('jmeter' in asked.peers || 'gatling' in asked.peers ? { java: /\S+ (\S+)/.exec(await run('java', ['--version']))?.[1] ?? 'unknown' } : {}),
    cycles: asked.cycles,
    ...Object.fromEntries(Object.entries(asked.peers).map(([peer, { users, rounds }]) => [`${peer}Meets`, `${users.join(', ')} users, ${rounds} rounds`])),
  };
  const figures = plan(asked.peers);
  for (let cycle = 0; cycle < asked.cycles; cycle += 1) {
    const order = cycle % 2 === 0 ? figures : figures.toReversed();
    for (const figure of order.filter(({ question }) => question === 'all' || cycle === 0)) {
      const what = `${figure.meet}, ${figure.users} users${figure.question === 'fails' ? ', one fails' : ''}`;
      const one = await measure(figure).catch((error) => Promise.reject(new Error(`${what}: ${error.message}`)));
      figure.runs.push(one);
      console.error(`cycle ${cycle + 1} of ${asked.cycles}: ${what}: ${JSON.stringify(one)}`);
    }
  }
  const folder = join(root, 'evidence/peers', conditions.at.replace(/[-:]/g, '').replace(/T(\d+)\..*/, '-$1'));
  mkdirSync(folder, { recursive: true });
  const text = report(asked.peers, figures, conditions);
  writeFileSync(join(folder, 'peers.md'), text);
  writeFileSync(join(folder, 'peers.json'), `${JSON.stringify({ schemaVersion: 2, conditions, figures }, null, 2)}\n`);
  console.log(`${text}\nwritten to ${folder}`);
  return figures.every(kept) ? 0 : 2;
}

let code = 1;
try {
  code = await main();
} catch (error) {
  console.error(`perf-peers: ${error.message}`);
}
process.exit(code); // ends what still runs, such as a Redis
