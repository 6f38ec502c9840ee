/** A barrier by hand in Locust, in one process and in two workers with a master, beside ours in as many processes. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { meet, oneFails, PATIENCE, root } from '../ours.mjs';
import { ensure, run, together } from '../programs.mjs';
import { freePort, startRedis } from '../redis/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** No run may last longer, in s. */
const LIMIT = 300;

export const title = 'Locust, by hand: nobody does anything between two rounds';

/** @type {string} */
let locust;
/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
export async function prepare() {
  locust = join(await ensure(join(root, 'scripts/ensure-locust.sh')), 'bin/locust');
  redis = await startRedis(await ensure(join(root, 'scripts/ensure-redis.sh')));
  const [version, python] = /^locust (\S+).*\(Python (\S+?)[,)]|^locust (\S+)/.exec(await run(locust, ['--version']))?.slice(1) ?? [];
  return { locust: version ?? 'unknown', python: python ?? 'unknown' };
}
export const close = () => redis?.close();

/** Runs Locust with so many workers, or in one process where there are none. */
async function visit(workers, users, rounds, folder, fails) {
  const env = { USERS: users, ROUNDS: rounds, FAILS: fails ? 'yes' : 'no', NOTES: folder };
  const file = ['--locustfile', join(here, 'locustfile.py'), '--loglevel', 'WARNING', '--exit-code-on-error', '0', '--stop-timeout', '0'];
  const test = ['--headless', '--users', `${users}`, '--spawn-rate', `${users}`, '--run-time', `${fails ? PATIENCE : LIMIT}s`];
  if (workers === 0) {
    await run(locust, [...file, ...test], { env });
  } else {
    const port = `${await freePort()}`;
    await together([
      [locust, [...file, ...test, '--master', '--master-bind-host', '127.0.0.1', '--master-bind-port', port, '--expect-workers', `${workers}`], { env }],
      ...Array.from({ length: workers }, () => [locust, [...file, '--worker', '--master-host', '127.0.0.1', '--master-port', port], { env }]),
    ]);
  }
  return readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8')).join('');
}

const byHand = (name, workers) => ({
  name,
  ours: false,
  all: (users, rounds, folder) => visit(workers, users, rounds, folder, false),
  fails: (users, folder) => visit(workers, users, 1, folder, true),
});

export const meets = {
  'locust-one': byHand('Locust, one process, gevent', 0),
  'locust-barrier-one': {
    name: '`Barrier`, one process, memory',
    ours: true,
    all: (users, rounds, folder) => meet('barrier', users, rounds, folder),
    fails: (users, folder) => oneFails('barrier', users, folder),
  },
  'locust-two': byHand('Locust, two workers, messages', 2),
  'locust-barrier-two': {
    name: '`Barrier`, two processes, Redis',
    ours: true,
    all: (users, rounds, folder) => meet('barrier', users, rounds, folder, { store: redis.url, processes: 2 }),
    fails: (users, folder) => oneFails('barrier', users, folder, { store: redis.url, processes: 2 }),
  },
};
