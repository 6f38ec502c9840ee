/** The harness speaks to other waiting rooms than the reference, and to brokers behind no gateway. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { TURNSTILE_PORT, boxOffice, startRoom, turnstile } from './room.mjs';
import { EVENTS, K6, startRedis, startWorld } from './world.mjs';

const ABORTED = 108;
const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');
const PORTS = join(ROOT, 'docs/how-to/port-to-your-waiting-room');
const PORT = join(PORTS, 'shows.js');

/** The reference's calls, for users who ask again and again; one question finds the room too busy to answer, some are refused. */
const polled = ({ busyAt = 0, refusedFrom = Infinity } = {}) => (queues) => {
  const claimsOf = ({ headers }) => JSON.parse(Buffer.from(headers.authorization.split('.')[1], 'base64url'));
  const tokenOf = (email) => `x.${Buffer.from(JSON.stringify({ sub: `acc ${email}`, role: 'USER' })).toString('base64url')}.x`;
  let questions = 0;
  return {
    'POST /api/v1/auth/login': ({ body: { email } }) => ({
      headers: { Authorization: tokenOf(email), 'Set-Cookie': 'refreshToken=r; Path=/; Secure' },
    }),
    'PATCH /api/v1/events/*': ({ event, url }) => queues.setOpen(event, url.searchParams.get('status') === 'OPEN') ?? {},
    'GET /api/v1/broker/events/*/tickets/waiting': (request) => {
      if (++questions === busyAt) {
        return { status: 503 };
      }
      if (questions >= refusedFrom) {
        return { status: 403 };
      }
      const { sub: userId } = claimsOf(request);
      const order = queues.placeOf(request.event, userId);
      return { body: { userId, eventId: request.event, ...(order === 0 ? { status: 'IN_PROGRESS', token: 't' } : { status: 'IN_ENTRY', order }) } };
    },
    'POST /api/v1/broker/events/*/tickets/disconnect': (request) => ({ status: queues.leave(request.event, claimsOf(request).sub) ? 200 : 404 }),
  };
};

test('a waiting room with other paths and JSON takes one file', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, boxOffice);
  const run = (await world.k6({ VUS: 10, BASE_URL: baseUrl, SYSTEM: PORT, POLL_INTERVAL_MS: 100 })).expect(0, 'Barrier met', 'Completed users: 10');
  assert.equal(run.value('completed_users'), 10);
  assert.equal(run.value('barrier_arrivals'), 10);
  assert.equal(run.value('in_entry_events'), 10);
  assert.ok(run.value('open_to_promote_ms', 'max') > 0);
  assert.equal(run.value('sse_failures') + run.value('disconnect_failures'), 0);
  assert.equal(requests.filter(({ call }) => call === 'DELETE /shows/*/number').length, 10);
});

test('a waiting room with streams of its own takes one file', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, boxOffice);
  const run = (await world.k6({ VUS: 10, BASE_URL: baseUrl, SYSTEM: join(PORTS, 'streamed-shows.js'), SEATS: 2 })).expect(0, 'Barrier met');
  assert.equal(run.value('completed_users'), 10);
  assert.equal(run.value('sse_failures') + run.value('disconnect_failures'), 0);
  assert.equal(requests.filter(({ call }) => call === 'DELETE /shows/*/number').length, 10);
  assert.equal(run.value('slots_at_join', 'max'), 0, 'a room without slots in Redis has none to compare');
  assert.doesNotMatch(run.output, /slots now|slots while|stalled/);
});

test('the suite of the reference runs a port, by the command of its page', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, boxOffice);
  const [, program, ...args] = /^SEATS=\d+ (bin\/barrier-bench run .* VUS=50)$/m.exec(await readFile(`${PORTS}.md`, 'utf8'))[0].split(' ');
  const env = {
    PATH: process.env.PATH,
    HOME: world.folder,
    TMPDIR: world.folder,
    BARRIER_MACHINE_LOCK: join(world.folder, 'machine.lock'),
    EVIDENCE_ROOT: join(world.folder, 'evidence'),
    K6_BIN: resolve(K6),
    BASE_URL: baseUrl,
    REDIS_URL: world.redisUrl,
    EVENT_IDS: EVENTS.join(','),
    SYSTEM: 'docs/how-to/port-to-your-waiting-room/shows.js',
    SEATS: '2',
    POLL_INTERVAL_MS: '100',
  };
  const runner = spawn(join(ROOT, program), args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => runner.kill('SIGTERM'));
  const [printed, errors] = await Promise.all([text(runner.stdout), text(runner.stderr), once(runner, 'close')]);
  const kept = await readdir(env.EVIDENCE_ROOT, { recursive: true });
  const read = async (name) => JSON.parse(await readFile(join(env.EVIDENCE_ROOT, kept.find((path) => path.endsWith(`/custom/${name}`))), 'utf8'));
  const { reasons } = await read('verdict.json');
  // How busy the machine is is not the port's.
  assert.deepEqual(reasons.filter((reason) => !reason.startsWith('generator-')), [], `${printed}${errors}`);
  const { completedUsers, sseFailures, disconnectFailures } = await read('derived.json');
  assert.deepEqual({ completedUsers, sseFailures, disconnectFailures }, { completedUsers: 50, sseFailures: 0, disconnectFailures: 0 });
  assert.ok(requests.filter(({ call }) => call === 'DELETE /shows/*/number').length >= 50, 'and whoever tried it before');
});

test('a room that falls silent holds the users of a port no longer than it may', async (t) => {
  const world = await startRedis(t);
  const { baseUrl } = await startRoom(t, (queues) => ({ ...boxOffice(queues), 'GET /shows/*/number': () => ({ silent: true }) }));
  const env = { VUS: 1, BASE_URL: baseUrl, SYSTEM: PORT, SSE_IDLE_TIMEOUT_MS: 1000, SSE_TIMEOUT_MS: 30000 };
  const run = (await world.k6(env)).expect(ABORTED, /user 1 lost the place at event event-a: status 0 .*timeout/);
  assert.deepEqual(['sse_failures', 'cut_off_users'].map((name) => run.value(name)), [1, 0], 'long before its time was up');
});

test('users of a port whose question fails leave the queue that they are in', async (t) => {
  const world = await startRedis(t);
  let asked = 0;
  const { baseUrl, requests } = await startRoom(t, (queues) => {
    queues.byRounds = true;
    const room = boxOffice(queues);
    return { ...room, 'GET /shows/*/number': (request) => (++asked === 2 ? { status: 500, body: { why: 'too busy' } } : room['GET /shows/*/number'](request)) };
  });
  const env = { VUS: 1, BASE_URL: baseUrl, SYSTEM: PORT, POLL_INTERVAL_MS: 100 };
  (await world.k6(env)).expect(99, /user 1 lost the place at event event-a: status 500 .*too busy/);
  assert.deepEqual(requests.filter(({ call }) => call === 'DELETE /shows/*/number').length, 1);
});

test('an answer that a port calls ordinary is no failed request, with LEAN=1 too', async (t) => {
  const world = await startRedis(t);
  let asked = 0;
  const { baseUrl } = await startRoom(t, (queues) => {
    const room = turnstile(queues);
    return { ...room, 'GET /shows/*/number': (request) => (++asked % 2 === 0 ? { status: 429 } : room['GET /shows/*/number'](request)) };
  });
  const port = join(world.folder, 'port.js');
  const again = TURNSTILE_PORT.replace('if (answer.status !== 200)', 'if (answer.status === 429) return { ahead: 1 };\n  if (answer.status !== 200)');
  const ordinary = `${again.replace('timeout: 5000', 'timeout: 5000, responseCallback: fine')}\nconst fine = http.expectedStatuses(200, 429);`;
  const env = { VUS: 4, BASE_URL: baseUrl, SYSTEM: port, LEAN: 1 };
  for (const [text, code] of [[ordinary, 0], [again, 99]]) {
    await writeFile(port, text);
    const run = (await world.k6(env)).expect(code);
    assert.equal(run.value('completed_users'), 4);
    assert.equal(run.value('http_req_failed', 'rate') > 0.05, code === 99);
  }
});

test('why a stream is refused is told in the words of the room', async (t) => {
  const world = await startRedis(t);
  const { baseUrl } = await startRoom(t, (queues) => ({
    ...boxOffice(queues),
    'GET /shows/*/numbers': () => ({ status: 403, body: { why: 'the show is for members' } }),
  }));
  const env = { VUS: 1, BASE_URL: baseUrl, SYSTEM: join(PORTS, 'streamed-shows.js') };
  (await world.k6(env)).expect(ABORTED, /user 1 lost the place at event event-a: status 403 .*the show is for members/);
  const login = { headers: { Authorization: 'token', 'Set-Cookie': 'refreshToken=r; Path=/' } };
  const waiting = 'GET /api/v1/broker/events/*/tickets/waiting';
  for (const [answer, seen] of [
    [{ status: 401, body: { message: 'expired', token: 'topsecret' } }, /user 1 lost the place at event event-a: status 401, body {\\?"message\\?":\\?"expired\\?",\\?"token\\?":\\?"\*\*\*/],
    [{ body: { message: 'log in first' } }, /user 1 lost the place at event event-a: got Content-Type .*, body .*log in first/],
    [{ status: 500, body: 'x'.repeat(20_000) }, /event-a: status 500, body .{0,2}x{250,290}…/],
  ]) {
    const other = await startRoom(t, () => ({ 'POST /api/v1/auth/login': () => login, 'PATCH /api/v1/events/*': () => ({}), [waiting]: () => answer }));
    const run = (await world.k6({ VUS: 1, BASE_URL: other.baseUrl })).expect(ABORTED, seen);
    assert.doesNotMatch(run.output, /topsecret/);
  }
});

test('what a ported system refuses is told in its own words', async (t) => {
  const world = await startRedis(t);
  const { baseUrl } = await startRoom(t, boxOffice);
  const env = { VUS: 2, BASE_URL: baseUrl, SYSTEM: PORT, LOGIN_PASSWORD: 'wrong', MAX_LOGIN_RETRIES: 1 };
  (await world.k6(env)).expect(ABORTED, /user 1 could not log in: status 403 .*no such pair/, 'joined=0, loginFail=2');
});

test('what refuses to let a user go is told, too', async (t) => {
  const world = await startRedis(t);
  const { baseUrl } = await startRoom(t, (queues) => ({ ...boxOffice(queues), 'DELETE /shows/*/number': () => ({ status: 405 }) }));
  const env = { VUS: 1, BASE_URL: baseUrl, SYSTEM: PORT, POLL_INTERVAL_MS: 100, VERBOSE_LOGS: 1 };
  const run = (await world.k6(env)).expect(99, /user 1 could not leave event event-a: status 405/, 'Disconnect failures: 1');
  assert.doesNotMatch(run.output, /has left/);
});

test('users are those of a file', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, (queues) => ({
    ...boxOffice(queues),
    'POST /session': ({ body: { user, secret } }) => (secret === `of ${user}` ? { status: 201, body: { token: `token of ${user}` } } : { status: 403, body: { secret } }),
  }));
  await writeFile(join(world.folder, 'users.csv'), 'email,password\nann,of ann\nbob,of bob\ncarl,not his\n');
  const env = { BASE_URL: baseUrl, SYSTEM: PORT, USERS_CSV: 'users.csv', PWD: world.folder, POLL_INTERVAL_MS: 100, MAX_LOGIN_RETRIES: 1, ADMIN_EMAIL: 'root', ADMIN_PASSWORD: 'of root' };
  (await world.k6({ ...env, VUS: 2 })).expect(0, 'Completed users: 2');
  assert.deepEqual(requests.filter(({ call }) => call === 'POST /session').map(({ body }) => body.user).sort(), ['ann', 'bob', 'root', 'root', 'root']);
  const refused = (await world.k6({ ...env, VUS: 3 })).expect(ABORTED, /user 3 could not log in: status 403/);
  assert.doesNotMatch(refused.output, /not his/);
  (await world.k6({ ...env, VUS: 4 })).expect(ABORTED, 'USERS_CSV must be lines of email,password, one for each user: got 3 users for VUS=4');
});

test('a system that cannot be used is refused before the run', async (t) => {
  const world = await startRedis(t);
  (await world.k6({ SYSTEM: 'nowhere.js' })).expect(ABORTED, /SYSTEM: .*\/nowhere\.js could not be loaded/);
  await writeFile(join(world.folder, 'half.js'), 'export function logIn() {}\nexport function leave() {}\n');
  (await world.k6({ SYSTEM: 'half.js', PWD: world.folder })).expect(ABORTED, /half\.js exports no function setEventStatus, wait;/);
});

test('users who ask again and again meet, are promoted and leave', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, polled({ busyAt: 2 }));
  const run = (await world.k6({ VUS: 10, BASE_URL: baseUrl, SYSTEM: 'polling', POLL_INTERVAL_MS: 100 })).expect(0, 'Barrier met');
  assert.equal(run.value('completed_users'), 10);
  assert.equal(run.value('sse_failures') + run.value('disconnect_failures'), 0);
  assert.ok(run.value('sse_events') >= 10);
  assert.ok(requests.every(({ headers }) => headers['user-id'] === undefined), 'a gateway adds its headers itself');
});

for (const queue of ['zset', 'hash']) {
  test(`users of the reference ask again and again, with a ${queue} queue`, async (t) => {
    const world = await startWorld(t, ['--queue', queue, '--seats', '2', '--transport', 'polling']);
    const env = { VUS: 8, SEATS: 2, SYSTEM: 'polling', POLL_INTERVAL_MS: 100 };
    const run = (await world.k6(env)).expect(0, 'Barrier met', 'Slots at join, most, at end: 2, 2, 2 (SEATS=2)');
    assert.deepEqual(['completed_users', 'barrier_arrivals', 'in_entry_events'].map((name) => run.value(name)), [8, 8, 8]);
    assert.equal(run.value('sse_failures') + run.value('disconnect_failures') + run.value('failed_looks'), 0);
    for (const event of EVENTS) {
      assert.deepEqual(await Promise.all([`WAITING:${event}`, `WAITING_USER_IDS:${event}`].map((key) => world.redis('EXISTS', key))), [0, 0]);
    }
  });
}

test('who asks again and again in vain leaves the queue', async (t) => {
  const world = await startWorld(t, ['--transport', 'polling', '--fault', 'stall-promotion=true']);
  const env = { EVENT_IDS: EVENTS[0], VUS: 3, SYSTEM: 'polling', POLL_INTERVAL_MS: 100, SSE_TIMEOUT_MS: 2000 };
  const run = (await world.k6(env)).expect(99, 'cut off by SSE_TIMEOUT_MS=2000');
  assert.deepEqual(['cut_off_users', 'sse_failures', 'disconnect_failures'].map((name) => run.value(name)), [3, 3, 0]);
  assert.equal(await world.redis('EXISTS', `WAITING_USER_IDS:${EVENTS[0]}`), 0);
});

test('who is refused leaves the queue that the first answer led to', async (t) => {
  const world = await startRedis(t);
  for (const [refusedFrom, left] of [[2, 1], [1, 0]]) {
    const { baseUrl, requests } = await startRoom(t, polled({ refusedFrom }));
    const env = { EVENT_IDS: EVENTS[0], VUS: 1, BASE_URL: baseUrl, SYSTEM: 'polling', POLL_INTERVAL_MS: 100 };
    (await world.k6(env)).expect(left === 1 ? 99 : ABORTED, /user 1 lost the place at event event-a: status 403/);
    assert.equal(requests.filter(({ call }) => call.endsWith('/disconnect')).length, left);
  }
});

test('users of a port give up when their time is up, and leave the queue', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, (queues) => {
    queues.byRounds = true;
    return boxOffice(queues);
  });
  // The pause is longer than k6 would wait for them.
  const env = { VUS: 2, BASE_URL: baseUrl, SYSTEM: PORT, POLL_INTERVAL_MS: 600_000, SSE_TIMEOUT_MS: 2000 };
  const run = (await world.k6(env)).expect(99, 'cut off by SSE_TIMEOUT_MS=2000');
  assert.equal(run.value('cut_off_users'), 2);
  assert.equal(requests.filter(({ call }) => call === 'DELETE /shows/*/number').length, 2);
});

test('a broker behind no gateway gets the headers that a gateway would add', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, port, requests } = await startRoom(t, polled());
  const env = { VUS: 2, BASE_URL: `http://localhost:${port}`, BROKER_BASE_URL: baseUrl, SYSTEM: 'polling', POLL_INTERVAL_MS: 100 };
  const headersOf = (call) => requests.findLast((request) => request.call.endsWith(call)).headers;
  (await world.k6({ ...env, VUS: 1 })).expect(0);
  for (const call of ['/waiting', '/disconnect']) {
    const { 'user-id': id, role, email } = headersOf(call);
    assert.deepEqual([id, role, email], ['acc user1@example.com', 'USER', 'user1@example.com'], call);
  }
  (await world.k6({ ...env, VUS: 1, GATEWAY_USER_ID_HEADER: 'X-Account', GATEWAY_ROLE_HEADER: 'X-Role', GATEWAY_EMAIL_HEADER: 'X-Mail' })).expect(0);
  const { 'x-account': id, 'x-role': role, 'x-mail': email, 'user-id': none } = headersOf('/waiting');
  assert.deepEqual([id, role, email, none], ['acc user1@example.com', 'USER', 'user1@example.com', undefined]);
});

test('LEAN=1 is enough for the harness, and named to whoever needs more', async (t) => {
  const world = await startWorld(t);
  (await world.k6({ VUS: 4, LEAN: 1 })).expect(0, 'Completed users: 4');
  const other = await startRedis(t);
  const { baseUrl } = await startRoom(t, boxOffice);
  (await other.k6({ VUS: 1, BASE_URL: baseUrl, SYSTEM: PORT, LEAN: 1, MAX_LOGIN_RETRIES: 1 })).expect(
    ABORTED,
    /cannot log in at .*LEAN=1 has taken away what is used here: of k6\/http all but request.*run without LEAN=1/,
  );
});
