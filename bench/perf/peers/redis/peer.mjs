/** A barrier by hand, k6/x/redis and a counter that everybody polls, beside a Barrier over the same Redis. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { k6, meet, oneFails, PATIENCE, root, words } from '../ours.mjs';
import { ensure, run } from '../programs.mjs';
import { startRedis } from './server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** Over how long the users come to each round, evenly, in ms. */
const OVER = 2000;

export const title = `k6/x/redis, polling: users come to each round over ${OVER / 1000} s`;

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
export async function prepare() {
  redis = await startRedis(await ensure(join(root, 'scripts/ensure-redis.sh')));
  const xk6Redis = /xk6-redis (v\S+),/.exec(await run(k6, ['version']))?.[1];
  if (!xk6Redis) throw new Error('this k6 has no k6/x/redis; `make k6` builds one that has');
  return { redis: redis.version, 'xk6-redis': xk6Redis };
}
export const close = () => redis?.close();

function polling(interval) {
  const script = (users, rounds, folder, more) => async () => {
    const log = join(folder, 'notes');
    await run(k6, words(join(here, 'polling.js'), log, { USERS: users, ROUNDS: rounds, STORE: redis.url, INTERVAL_MS: interval, ...more }));
    return readFileSync(log, 'utf8');
  };
  return {
    name: `\`k6/x/redis\`, polling every ${interval} ms`,
    ours: false,
    all: (users, rounds, folder) => watched(users, rounds, script(users, rounds, folder, { OVER_MS: OVER, PATIENCE: '10m' })),
    fails: async (users, folder) => (await redis.watch(script(users, 1, folder, { FAILS: 'yes', PATIENCE: `${PATIENCE}s` }))).result,
  };
}

/**
 * What Redis saw meanwhile: the most connections at once, and per user and round how often it read from one, a pipeline at
 * once, and the commands that it carried out, those inside scripts as well.
 */
async function watched(users, rounds, use) {
  const { result, peak, reads, calls } = await redis.watch(use);
  const sum = Object.values(calls).reduce((all, count) => all + count, 0);
  return { text: result, seen: { connections: peak, reads: reads / users / rounds, commands: sum / users / rounds }, calls };
}

export const meets = {
  'redis-polling-200': polling(200),
  'redis-polling-50': polling(50),
  'redis-barrier': {
    name: '`Barrier`, Redis',
    ours: true,
    all: (users, rounds, folder) => watched(users, rounds, () => meet('barrier', users, rounds, folder, { store: redis.url, over: OVER })),
    fails: (users, folder) => oneFails('barrier', users, folder, { store: redis.url }),
  },
  'redis-barrier-accounts': {
    name: '`Barrier`, Redis, `failUnaccounted`',
    ours: true,
    fails: (users, folder) => oneFails('barrier-accounts', users, folder, { store: redis.url }),
  },
};
