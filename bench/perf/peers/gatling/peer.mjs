/** Gatling's rendezVous, beside a Barrier in memory. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { meet, oneFails, PATIENCE, root } from '../ours.mjs';
import { ensure, run } from '../programs.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** No simulation may last longer, in s. */
const LIMIT = 300;

export const title = "Gatling's rendezVous: nobody does anything between two rounds";

/** @type {string} */
let home;
export async function prepare() {
  home = await ensure(join(root, 'scripts/ensure-gatling.sh'));
  return { gatling: readFileSync(join(home, 'version'), 'utf8').trim() };
}

async function simulate(shape, users, rounds, folder, seconds = LIMIT) {
  const classes = join(folder, 'classes');
  mkdirSync(classes);
  const path = [join(home, 'lib/*'), classes, here].join(delimiter); // `here` has logback.xml
  await run('javac', ['-cp', path, '-d', classes, join(here, 'Meetings.java')]);
  const result = join(folder, 'result');
  const given = { shape, users, rounds, seconds, result, 'gatling.data.enableAnalytics': false };
  await run('java', ['--add-opens=java.base/java.lang=ALL-UNNAMED', ...Object.entries(given).map(([name, value]) => `-D${name}=${value}`),
    '-cp', path, 'io.gatling.app.Gatling', '--simulation', 'Meetings', '--no-reports', '--results-folder', join(folder, 'results')]);
  if (!existsSync(result)) throw new Error('Gatling ended without a result');
  return readFileSync(result, 'utf8');
}

export const meets = {
  'gatling-places': {
    name: 'Gatling, a `rendezVous` for each round',
    ours: false,
    all: (users, rounds, folder) => simulate('places', users, rounds, folder),
    fails: (users, folder) => simulate('fails', users, 1, folder, PATIENCE),
  },
  'gatling-loop': {
    name: 'Gatling, one `rendezVous` in a loop',
    ours: false,
    all: (users, rounds, folder) => simulate('loop', users, rounds, folder),
  },
  'gatling-barrier': {
    name: '`Barrier`, memory',
    ours: true,
    all: (users, rounds, folder) => meet('barrier', users, rounds, folder),
    fails: (users, folder) => oneFails('barrier', users, folder),
  },
  'gatling-barrier-accounts': {
    name: '`Barrier`, memory, `failUnaccounted`',
    ours: true,
    fails: (users, folder) => oneFails('barrier-accounts', users, folder),
  },
};
