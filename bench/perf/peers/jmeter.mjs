/** JMeter's Synchronizing Timer, beside a Group and a Barrier in memory. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { meet, root } from './ours.mjs';
import { ensure, run } from './programs.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** JMeter ends itself where nobody has moved for so many seconds. */
const STILL = 10;

export const title = "JMeter's Synchronizing Timer: nobody does anything between two rounds";

/** @type {string} */
let home;
export async function prepare() {
  home = await ensure(join(root, 'scripts/ensure-jmeter.sh'));
  return { jmeter: readFileSync(join(home, 'version'), 'utf8').trim() };
}

export const meets = {
  'jmeter-timer': { name: 'JMeter, Synchronizing Timer', ours: false, all: timer },
  group: { name: '`Group`, memory', ours: true, all: (...given) => meet('group', ...given) },
  barrier: { name: '`Barrier`, memory', ours: true, all: (...given) => meet('barrier', ...given) },
};

async function timer(users, rounds, folder) {
  const result = join(folder, 'notes');
  const log = join(folder, 'jmeter.log');
  const given = { users, rounds, result, patience: STILL };
  const words = ['-Djava.awt.headless=true', '-jar', join(home, 'bin/ApacheJMeter.jar'), '-n', '-t', join(here, 'timer.jmx'), '-j', log];
  await run('java', [...words, ...Object.entries(given).map(([name, value]) => `-J${name}=${value}`)]);
  if (!existsSync(result)) throw new Error(`JMeter wrote no notes:\n${readFileSync(log, 'utf8').slice(-2000)}`);
  return readFileSync(result, 'utf8');
}
