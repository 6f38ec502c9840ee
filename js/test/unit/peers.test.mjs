// How `make perf-peers` counts who went on before all had come and who waits for one that failed, what it is asked for, how it
// tells what it found, and that nothing outlives it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { apart, count, read } from '../../../bench/perf/peers/early.mjs';
import { NAMED } from '../../../bench/perf/peers/ours.mjs';
import { outcomes } from '../../../bench/perf/peers/outcomes.mjs';
import { read as readInfo } from '../../../bench/perf/peers/redis/server.mjs';
import { DEFAULTS, settings } from '../../../bench/perf/peers/settings.mjs';
import * as tables from '../../../bench/perf/peers/tables.mjs';

const users = (...notes) => notes.map(([came, went]) => ({ came, went }));

test('a round in which nobody goes on before the last has come has nobody early', () => {
  const met = users([[1, 10], [5, 14]], [[4, 12], [4, 13]]);
  assert.deepEqual(count(met, 2), { waits: 4, early: 0, stuck: 0 });
});

test('who goes on before the last has come is early, in that round alone', () => {
  const met = users([[1, 10], [2, 13]], [[4, 12], [5, 14]]);
  assert.deepEqual(count(met, 2), { waits: 4, early: 1, stuck: 0 });
});

test('where one never comes, all who go on are early, and who never goes on is stuck', () => {
  const met = users([[1, 3], [5, null]], [[2, null], [6, null]], [[2, 6], [7, 7]]);
  assert.deepEqual(count(met, 2), { waits: 5, early: 1, stuck: 1 });
});

test('every user has to have written its line', () => {
  const lines = '{"came":[1],"went":[2]}\nsomething else\n{"came":[1],"went":[null]}\n';
  assert.equal(read(lines, 2)[1].went[0], null);
  assert.throws(() => read(lines, 3), /2 of 3 users wrote what they noted; the first other line: something else$/);
});

test('how far apart a round was let go is the median of the rounds in which all were', () => {
  const three = users([[1, 2, 3], [10, 20, 30]], [[1, 2, 3], [14, 21, 39]]);
  assert.equal(apart(three, 3), 4);
  assert.equal(apart(users([[1, 2], [10, null]], [[1, 2], [17, 20]]), 2), 7);
  assert.equal(apart(users([[1], [null]], [[1], [5]]), 1), null);
});

test('who came and neither went on nor was told still waited', () => {
  const text = 'came 2\ncame 3\nsomething else\ncame 0.4\nwent 3: all, 1 failed\ntold 2: not released; missing 1\n';
  assert.deepEqual(outcomes(text, { came: 3, named: NAMED }), { came: 3, went: 1, told: 1, named: 2, waiting: 1 });
  assert.equal(outcomes('came 2\nwent 2\n', { came: 1, named: NAMED }).named, 0);
  assert.equal(outcomes('came 2\ntold 2: missing 12\n', { came: 1, named: NAMED }).named, 0);
});

test('lines that cannot be of users who came once are refused', () => {
  const expected = { came: 1, named: NAMED };
  assert.throws(() => outcomes('came 2\ncame 2\n', expected), /"came 2" does not follow/);
  assert.throws(() => outcomes('went 2\n', expected), /"went 2" does not follow/);
  assert.throws(() => outcomes('came 2\nwent 2\ntold 2: late\n', expected), /"told 2: late" does not follow/);
  assert.throws(() => outcomes('came 2\n', { ...expected, came: 2 }), /1 of 2 users came/);
});

test('without options all peers are run as often as the help says; with --only some of them', () => {
  assert.deepEqual(settings([]), { help: false, cycles: 3, peers: DEFAULTS });
  assert.deepEqual(settings(['--only', 'gatling,redis', '--users', '7,8', '--rounds', '9', '--cycles', '2']), {
    help: false, cycles: 2, peers: { redis: { users: [7, 8], rounds: 9 }, gatling: { users: [7, 8], rounds: 9 } },
  });
  assert.deepEqual(settings(['--help']), { help: true });
});

for (const [words, message] of [
  [['--only', 'jmeter,grinder'], '--only: got "grinder", allowed are jmeter, redis, locust, gatling, with commas between them'],
  [['--only', ''], '--only: got "", allowed are jmeter, redis, locust, gatling, with commas between them'],
  [['--users', '10,1'], '--users: got "1", allowed is a whole number from 2 to 5000'],
  [['--users', '10,'], '--users: got "", allowed is a whole number from 2 to 5000'],
  [['--rounds', '2.5'], '--rounds: got "2.5", allowed is a whole number from 1 to 1000'],
  [['--cycles', '0'], '--cycles: got "0", allowed is a whole number from 1 to 100'],
]) {
  test(`${words.join(' ')} is refused, and what is allowed is said`, () => {
    assert.throws(() => settings(words), { message });
  });
}

test('of what Redis tells, connections, reads and calls are taken', () => {
  const info = '# Clients\r\nconnected_clients:12\r\nmaxclients:10000\r\n# Stats\r\ntotal_reads_processed:34\r\n# Commandstats\r\ncmdstat_get:calls=5,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=9\r\n';
  assert.deepEqual(readInfo(info), { connections: 12, reads: 34, calls: { get: 5, 'config|resetstat': 1 } });
});

test('a table adds the runs of a row up, and tells no distance where somebody was early', () => {
  const run = (early, distance) => ({ waits: 1000, early, stuck: 1, apart: distance });
  assert.equal(tables.all([
    { name: 'one', users: 10, runs: [run(0, 1.234), run(0, 250.4), run(0, 7)] }, { name: 'two', users: 20, runs: [run(2, 5)] },
  ], { distance: true }), `| | users of a round | waits | let go before all had come | never let go | first to last let go, ms |
|---|---:|---:|---:|---:|---:|
| one | 10 | 3,000 | 0 | 3 | 7 |
| two | 20 | 1,000 | 2 | 1 | - |`);
});

test('a table of a peer over Redis tells what came over the connections', () => {
  const runs = [{ waits: 1, early: 0, stuck: 0, apart: null, seen: { connections: 1200, reads: 1.06, commands: 0.5 } }];
  const [heads, , row] = tables.all([{ name: 'one', users: 10, runs }], { distance: false }).split('\n');
  assert.match(heads, /\| connections to Redis \| reads from them, per user and round \| commands in Redis, per user and round \|$/);
  assert.equal(row, '| one | 10 | 1 | 0 | 0 | 1,200 | 1.1 | 0.5 |');
});

test('a table tells what became of those who waited for one that had failed', () => {
  const [, , row] = tables.fails([{ name: 'one', users: 10, runs: [{ came: 9, went: 1, told: 2, named: 3, waiting: 6 }] }]).split('\n');
  assert.equal(row, '| one | 10 | 9 | 1 | 2 | 3 | 6 |');
});

// A program that starts another one, which says its word to the test by a connection and then does nothing.
const programs = JSON.stringify(new URL('../../../bench/perf/peers/programs.mjs', import.meta.url));
const inner = (port) => `require('node:net').connect(${port}, '127.0.0.1').on('close', () => process.exit()); setInterval(() => {}, 1000)`;
const started = (port) => `start('sh', ['-c', '"$0" -e "$1" & wait', process.execPath, ${JSON.stringify(inner(port))}])`;

for (const [how, then, code] of [
  ['by ctrl-C', '', 130],
  ['by an error', 'await run("false", []);', 1],
]) {
  test(`what was started ends with the run that ends ${how}, and so does what that had started`, { timeout: 60_000 }, async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    const script = `import { run, start } from ${programs}; ${started(port)}; process.stdin.once('data', async () => { ${then} });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = once(child, 'exit');
    const [socket] = await once(server, 'connection');
    t.after(() => { socket.destroy(); server.close(); }); // ends the inner one where it was left behind
    socket.on('error', () => {}); // a killed program may reset it
    socket.resume();
    if (then) child.stdin.write('go\n');
    else child.kill('SIGINT');
    await once(socket, 'close');
    assert.equal((await ended)[0], code);
  });
}

test('a wrong option ends the run with exit code 1 and one line', async () => {
  const run = fileURLToPath(new URL('../../../bench/perf/peers/run.mjs', import.meta.url));
  const child = spawn(process.execPath, [run, '--only', 'bogus'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text));
  assert.equal((await once(child, 'close'))[0], 1);
  assert.match(errors, /^perf-peers: --only: got "bogus".*\n$/);
});
