/** Whole runs of k6 on Redis as people run it: with TLS, with a user of its own, and on a cluster. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { EVENTS, freePort, freePortForNode, startRedis, startWaitingRoom, withTls } from './world.mjs';

const root = resolve(fileURLToPath(import.meta.url), '../../../..');
const GUIDE = readFileSync(join(root, 'docs/how-to/connect-to-redis.md'), 'utf8');
const BENCHMARK_GUIDE = readFileSync(join(root, 'docs/how-to/benchmark-your-waiting-room.md'), 'utf8');

/** The scripts of the guide, in their order. */
const [PLAIN, WITH_TLS, HOSTS] = [...GUIDE.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
const ACL = /^redis-cli -p 6379 (ACL SETUSER (?:.*\\\n)*.*)$/m.exec(GUIDE)[1].replaceAll(/[\\']/g, '').split(/\s+/);

const ABORTED = 108;

const RENDEZVOUS = `
import exec from 'k6/execution';
import { Barrier, QueueCounter } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS);
const barrier = new Barrier('default', { parties: USERS, store: __ENV.REDIS_URL, timeout: '120s', reasons: ['login'] });
const queues = new QueueCounter({ redis: __ENV.REDIS_URL, keys: ['WAITING:a', 'WAITING:b', 'WAITING:c'] });

export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } } };

export default function () {
  const participant = exec.scenario.iterationInTest + 1;
  if (participant === 1) barrier.fail('login', { participant });
  const { reason, arrived, failed, serverReleasedAt } = barrier.arriveAndWait({ participant });
  console.log('RELEASED ' + JSON.stringify([reason, arrived, failed.login, serverReleasedAt, queues.total()]));
}
`;

/** Runs a script given as text, which must end well. */
async function run(world, script, env = {}, args = []) {
  const file = join(world.folder, `script-${env.SEGMENT ?? 'whole'}.js`.replaceAll(/[:/]/g, '-'));
  await writeFile(file, script);
  const outcome = await world.k6({ K6_BARRIER_RUN_ID: 'run', ...env }, { script: file, args });
  return outcome.expect(0);
}

/** What users were told at their release. */
function releases(outcome) {
  return [...outcome.output.matchAll(/RELEASED (\[.*?\])/g)].map(([, told]) => JSON.parse(told.replaceAll('\\', '')));
}

test('a run meets as the guide says, on one server', async (t) => {
  const world = await startRedis(t);
  await run(world, PLAIN, { REDIS_URL: `${world.redisUrl}/3` });
  assert.match(await world.redis('INFO', 'keyspace'), /^db3:keys=2,expires=2/m);

  // An address that cannot be reached is mapped.
  const mapped = HOSTS.replace('127.0.0.1:7001', `127.0.0.1:${world.redisPort}`).replace('{ ', '{ ...load, ');
  assert.notEqual(mapped, HOSTS);
  await run(world, PLAIN.replace('export const options', 'const load') + mapped, { REDIS_URL: 'redis://172.18.0.2' });
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:run'), 100);
});

test('a run meets with the permissions of the guide alone', async (t) => {
  const world = await startRedis(t);
  await world.redis(...ACL);
  const url = world.redisUrl.replace('//', '//k6:password@');
  await run(world, PLAIN, { REDIS_URL: url });
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:run'), 100);

  await world.redis('ACL', 'SETUSER', 'k6', '-publish');
  const refused = await world.k6({ K6_BARRIER_RUN_ID: 'other', REDIS_URL: url }, { script: join(world.folder, 'script-whole.js') });
  refused.expect(0, /BarrierStoreError: arriveAndWait\(\) failed; reason: .*'publish'.*the ACL user needs ~K6_BARRIER_\*.*\+publish/);
  assert.doesNotMatch(refused.output, /password/);
});

test('a run meets over TLS, by a name that k6 resolves', async (t) => {
  const port = await freePort();
  const world = await startRedis(t, { args: withTls(port) });
  const hosts = HOSTS.replace(/\{ hosts: .* \}/, `{ ...load, hosts: { 'redis.test': '127.0.0.1' } }`);
  assert.notEqual(hosts, HOSTS);
  const script = WITH_TLS.replace('export const options', 'const load') + hosts;
  const url = { REDIS_URL: `rediss://redis.test:${port}` };
  await run(world, script, url);
  assert.equal(await world.redis('SCARD', 'K6_BARRIER_JOINED:run'), 100);

  // An operator sees the run as well.
  const flags = ['--tls-ca', 'ca.pem', '--tls-cert', 'client.pem', '--tls-key', 'client.key', '--tls-server-name', 'redis.test'];
  const { stdout } = await world.operate(0, 'list', '--redis', `rediss://127.0.0.1:${port}`, ...flags);
  assert.match(stdout, /run.*default.*released/s);

  const blocked = script.replace("'127.0.0.1' }", "'127.0.0.1' }, blacklistIPs: ['127.0.0.0/8']");
  const refused = await run(world, blocked, { ...url, K6_BARRIER_RUN_ID: 'blocked' });
  refused.expect(0, /the address redis\.test:\d+ could not be resolved: .*blacklisted/);
  const stranger = await run(world, script.replace(/, cert: .*? \}/, ' }'), { ...url, K6_BARRIER_RUN_ID: 'stranger' });
  stranger.expect(0, /it may want a certificate of the client: give tls\.cert and tls\.key/);
  for (const { output } of [refused, stranger]) {
    assert.doesNotMatch(output, /PRIVATE KEY/);
  }
});

test('the harness takes a Redis with TLS, a user of its own and another database', async (t) => {
  const port = await freePort();
  const world = await startRedis(t, { args: withTls(port) });
  // The waiting room has a way of its own to the same queues.
  await startWaitingRoom(world, `${world.redisUrl}/3`);
  await world.redis(.../^ACL SETUSER .*$/m.exec(BENCHMARK_GUIDE)[0].split(' '), '>p@ss:w/ord%');
  const env = {
    VUS: 15,
    REDIS_URL: `rediss://127.0.0.1:${port}/3`,
    REDIS_USERNAME: 'bench',
    REDIS_PASSWORD: 'p@ss:w/ord%',
    REDIS_TLS_CA: 'ca.pem',
    REDIS_TLS_CERT: join(world.folder, 'client.pem'),
    REDIS_TLS_KEY: join(world.folder, 'client.key'),
    REDIS_TLS_SERVER_NAME: 'redis.test',
    PWD: world.folder,
  };
  const run = (await world.k6({ ...env, RUN_ID: 'secured' })).expect(0, 'Barrier met after', 'Completed users: 15');
  const inDatabase = (...command) => world.redis('EVAL', "redis.call('SELECT', 3) return redis.call(unpack(ARGV))", '0', ...command);
  assert.equal(await inDatabase('SCARD', 'K6_BARRIER_JOINED:secured'), 15);
  assert.match(await inDatabase('GET', 'K6_OPEN_AT_MS:secured'), /^\d{13}$/);
  assert.doesNotMatch(run.output, /was not stored/);

  // By the URL alone; what the first run left in the queues is found there.
  const url = env.REDIS_URL.replace('//', `//bench:${encodeURIComponent(env.REDIS_PASSWORD)}@`);
  const second = await world.k6({ ...env, REDIS_URL: url, REDIS_USERNAME: '', REDIS_PASSWORD: '' });
  second.expect(ABORTED, /left-over queue state of event event-a: .*WAITING_QUEUE_IDX\[event-a\]=\d/);

  const stranger = await world.k6({ ...env, REDIS_TLS_CERT: '', REDIS_TLS_KEY: '' });
  stranger.expect(ABORTED, /Redis precondition check failed: .*cannot be reached/);
  const wrong = await world.k6({ ...env, REDIS_PASSWORD: 'p%40ss' });
  wrong.expect(ABORTED, /Redis precondition check failed: .*user or password is missing or wrong/);
  (await world.k6({ ...env, REDIS_URL: world.redisUrl })).expect(ABORTED, /REDIS_TLS_\* are given, so REDIS_URL must begin with rediss:/);
  (await world.k6({ ...env, REDIS_TLS_CA: 'none.pem' })).expect(ABORTED, new RegExp(`${world.folder}/none\\.pem`));
  for (const { output } of [run, second, stranger, wrong]) {
    assert.doesNotMatch(output, /PRIVATE KEY|p@ss|p%40ss/);
  }
});

test('the harness takes a cluster', async (t) => {
  const nodes = await startCluster(t);
  const world = await startWaitingRoom(nodes[0], (await startRedis(t)).redisUrl);
  const env = { VUS: 15, RUN_ID: 'spread', REDIS_URL: `redis+cluster://${nodes.map((node) => `127.0.0.1:${node.redisPort}`)}` };
  (await world.k6(env)).expect(0, 'Barrier met after', 'Completed users: 15');
  assert.equal(await (await owning(nodes, 'spread')).redis('SCARD', 'K6_BARRIER_JOINED:{spread}'), 15);
  assert.match(await (await owning(nodes, 'K6_OPEN_AT_MS:spread')).redis('GET', 'K6_OPEN_AT_MS:spread'), /^\d{13}$/);

  await (await owning(nodes, 'WAITING_QUEUE_IDX')).redis('HSET', 'WAITING_QUEUE_IDX', EVENTS[1], '7');
  await (await owning(nodes, `WAITING_USER_IDS:${EVENTS[1]}`)).redis('HSET', `WAITING_USER_IDS:${EVENTS[1]}`, 'a', '1');
  const refused = await world.k6({ ...env, RUN_ID: 'other' });
  refused.expect(ABORTED, `WAITING:event-b=0, WAITING_USER_IDS:event-b=1, WAITING_QUEUE_IDX[event-b]=7`);
});

test('four segments of a run meet on a cluster', async (t) => {
  const nodes = await startCluster(t);
  const [world] = nodes;
  const owner = await owning(nodes, 'run');
  // A queue on each node; which one holds which is the cluster's affair.
  for (const key of ['WAITING:a', 'WAITING:b', 'WAITING:c']) {
    await (await owning(nodes, key)).redis('ZADD', key, '1', 'x', '2', 'y');
  }
  const hosts = nodes.map((node) => `127.0.0.1:${node.redisPort}`);
  const cuts = ['0', '1/4', '2/4', '3/4', '1'];
  const segments = cuts.slice(1).map((end, at) => `${cuts[at]}:${end}`);
  const outcomes = await Promise.all(
    segments.map((segment, at) => {
      // Each is told of another node first.
      const url = `redis+cluster://${[...hosts.slice(at % 3), ...hosts.slice(0, at % 3)].join(',')}`;
      const args = ['--execution-segment', segment, '--execution-segment-sequence', cuts.join(',')];
      return run(world, RENDEZVOUS, { REDIS_URL: url, USERS: 40, SEGMENT: segment }, args);
    }),
  );
  const told = outcomes.map(releases);
  assert.deepEqual(told.map((users) => users.length), [10, 10, 10, 10]);
  const [[, , , instant]] = told[0];
  for (const release of told.flat()) {
    assert.deepEqual(release, ['all', 39, 1, instant, 6], 'all were released at one instant, with one count');
  }
  assert.equal(await owner.redis('SCARD', 'K6_BARRIER_JOINED:{run}'), 39);
  const { stdout } = await world.operate(0, 'list', '--redis', `redis+cluster://${hosts[1]}`);
  assert.match(stdout, /run.*default.*released/s);
  assert.equal(await owner.redis('GET', 'K6_BARRIER_LOGIN_FAIL:{run}'), '1');
});

/** Three servers that are a cluster, each with a third of the slots. */
async function startCluster(t) {
  const nodes = [];
  for (let n = 0; n < 3; n++) {
    // Nobody is to fail over because the machine is busy.
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '60000'];
    nodes.push(await startRedis(t, { port: await freePortForNode(), args }));
  }
  const bounds = [0, 5461, 10923, 16384];
  for (const [n, node] of nodes.entries()) {
    const slots = Array.from({ length: bounds[n + 1] - bounds[n] }, (_, at) => String(bounds[n] + at));
    await node.redis('CLUSTER', 'ADDSLOTS', ...slots);
    await nodes[0].redis('CLUSTER', 'MEET', '127.0.0.1', String(node.redisPort));
  }
  for (const node of nodes) {
    for (let info = ''; !/cluster_state:ok/.test(info) || !/cluster_known_nodes:3/.test(info); ) {
      await new Promise((done) => setTimeout(done, 20));
      info = await node.redis('CLUSTER', 'INFO');
    }
  }
  return nodes;
}

/** The node that serves a key's slot. */
async function owning(nodes, key) {
  const slot = await nodes[0].redis('CLUSTER', 'KEYSLOT', key);
  return nodes[slot < 5461 ? 0 : slot < 10923 ? 1 : 2];
}
