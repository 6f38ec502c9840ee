/** What is tried before a run does nothing to anybody else, and forgives nothing but what it knows the reason of. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { TURNSTILE_PORT, boxOffice, startRoom, turnstile } from './room.mjs';
import { EVENTS, startRedis, startWorld } from './world.mjs';

const js = resolve(fileURLToPath(import.meta.url), '../../..');
const PROBE = join(js, 'sse-throughput-probe.js');
const PORTS = join(js, '../docs/how-to/port-to-your-waiting-room');
const [EVENT] = EVENTS;

/** What the probe says, by the look: `ok` of each line of it, and all texts. */
async function probe(world, env) {
  const args = ['--log-format', 'raw', '--summary-mode', 'disabled'];
  const { output, code } = await world.k6({ VUS: 2, ...env }, { script: PROBE, args });
  assert.equal(code, 0, output);
  const lines = output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const of = (check) => lines.filter((line) => line.check === check);
  return { output, of, ok: (check) => of(check).map(({ ok }) => ok), wrong: lines.filter(({ ok }) => !ok) };
}

test('a port whose users cannot leave before they are let in is sound, and nothing of its events is changed', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, (queues) => ({
    ...boxOffice(queues),
    'DELETE /shows/*/number': () => ({ status: 404 }),
  }));
  for (const port of ['shows.js', 'streamed-shows.js']) {
    const said = await probe(world, { BASE_URL: baseUrl, SYSTEM: join(PORTS, port) });
    assert.deepEqual(said.wrong, [], said.output);
    assert.match(said.of('stream')[0].seen, new RegExp(`^the first user waits for event ${EVENT}, and cannot leave it before it is let in: .*404`));
    assert.match(said.of('events')[0].seen, new RegExp(`^whether event ${EVENT} \\(and 1 more\\) is OPEN is not known here, so it was left`));
  }
  assert.deepEqual(requests.filter(({ call }) => call.startsWith('PUT')), []);
});

test('the user of a port that cannot close events leaves the queue of an open one, so is not let in afterwards', async (t) => {
  const world = await startRedis(t);
  let room;
  const { baseUrl } = await startRoom(t, (queues) => {
    room = queues;
    return boxOffice(queues);
  });
  room.byRounds = true;
  room.setOpen(EVENT, true);
  const said = await probe(world, { BASE_URL: baseUrl, SYSTEM: join(PORTS, 'shows.js') });
  assert.deepEqual(said.wrong, [], said.output);
  assert.deepEqual(said.of('stream').map(({ seen }) => seen), [`the first user waits for event ${EVENT} and leaves it`]);
  assert.deepEqual(room.promote(EVENT), []);
});

test('each person acts with cookies of their own, as in a run', async (t) => {
  const world = await startRedis(t);
  let room;
  const { baseUrl, requests } = await startRoom(t, (queues) => {
    room = queues;
    return turnstile(queues);
  });
  const port = join(world.folder, 'port.js');
  await writeFile(port, TURNSTILE_PORT);
  const env = { BASE_URL: baseUrl, SYSTEM: port };
  for (const open of [true, false]) {
    EVENTS.forEach((event) => room.setOpen(event, open));
    requests.length = 0;
    const said = await probe(world, { ...env, VUS: 4 });
    assert.deepEqual(said.wrong, [], said.output);
    assert.deepEqual(said.of('events').map(({ seen }) => seen), ['all 2 events can be opened and closed'], said.output);
    assert.deepEqual(said.of('users').map(({ seen }) => seen), ['the first and the last of 4 users log in']);
    assert.deepEqual(said.of('stream').map(({ seen }) => seen), [`the first user waits for event ${EVENT} and leaves it`]);
    assert.deepEqual(EVENTS.map((event) => room.isOpen(event)), [open, open]);
    const users = requests.filter(({ call, body }) => call === 'POST /session' && body.user.startsWith('user'));
    assert.deepEqual(users.map(({ body }) => body.user).sort(), ['user1@example.com', 'user4@example.com'], 'each logs in once');
  }
  (await world.k6({ ...env, VUS: 4 })).expect(0, 'Completed users: 4');
});

test('what LEAN=1 takes from a port is found out before a run', async (t) => {
  const world = await startRedis(t);
  const { baseUrl } = await startRoom(t, boxOffice);
  const said = await probe(world, { BASE_URL: baseUrl, SYSTEM: join(PORTS, 'shows.js'), LEAN: 1 });
  assert.match(said.of('admin')[0].seen, /LEAN=1 has taken away what is used here: of k6\/http all but request/);
  assert.deepEqual(said.ok('users'), [false], said.output);
  const own = await startWorld(t);
  const sound = await probe(own, { LEAN: 1 });
  assert.deepEqual(sound.wrong, [], sound.output);
});

test('only the texts OPEN and CLOSED are a status, and what else is told changes no event', async (t) => {
  const world = await startRedis(t);
  const { baseUrl, requests } = await startRoom(t, boxOffice);
  const port = join(world.folder, 'port.js');
  for (const [returned, seen] of [
    ['true', 'eventStatus returned true'],
    ["'open for all'", 'eventStatus returned "open for all"'],
    ['undefined', 'eventStatus returned undefined'],
    ["(() => { throw new Error('no such show'); })()", 'eventStatus failed: no such show'],
  ]) {
    await writeFile(port, `export * from '${join(PORTS, 'shows.js')}';\nexport const eventStatus = () => ${returned};\n`);
    const said = await probe(world, { BASE_URL: baseUrl, SYSTEM: port });
    assert.deepEqual(said.wrong, [], said.output);
    assert.ok(said.of('events')[0].seen.endsWith(`so it was left as it is: ${seen}`), said.output);
  }
  assert.deepEqual(requests.filter(({ call }) => call.startsWith('PUT')), []);
  await writeFile(port, `export * from '${join(PORTS, 'shows.js')}';\nexport const eventStatus = () => ' open ';\n`);
  const wrong = await probe(world, { BASE_URL: baseUrl, SYSTEM: port });
  assert.match(wrong.wrong[0].seen, /^event event-a was set to CLOSED, and eventStatus still says OPEN; it was opened again$/);
  const set = requests.filter(({ call }) => call.startsWith('PUT')).map(({ event, body }) => `${event} ${body.open}`);
  assert.deepEqual(set, ['event-a true', 'event-b true', 'event-a false', 'event-a true']);
});

test('a Redis that is not that of the room is named, and no event is changed because it holds no status', async (t) => {
  const world = await startWorld(t);
  await world.redis('HSET', 'event_statuses', EVENT, 'OPEN');
  await world.redis('HSET', 'event_statuses', EVENTS[1], 'OPEN');
  const other = await startRedis(t);
  const said = await probe(world, { REDIS_URL: other.redisUrl });
  assert.deepEqual(said.wrong.map(({ check }) => check), ['redis'], said.output);
  assert.match(said.of('redis')[0].seen, /^REDIS_URL is not the Redis of this room: /);
  assert.match(said.of('events')[0].seen, /so it was left as it is: event_statuses has no such event/);
  for (const event of EVENTS) {
    assert.equal(await world.redis('HGET', 'event_statuses', event), 'OPEN');
  }
  // One that has a status of the same event is not believed either.
  await other.redis('HSET', 'event_statuses', EVENT, 'OPEN');
  const copied = await probe(world, { REDIS_URL: other.redisUrl });
  assert.deepEqual(copied.wrong.map(({ check }) => check), ['redis'], copied.output);
  assert.equal(await world.redis('HGET', 'event_statuses', EVENT), 'OPEN');
});

test('without the admin no event is closed, so none is said to have stayed so, and nobody waits in an open one', async (t) => {
  const world = await startWorld(t);
  await world.redis('HSET', 'event_statuses', EVENT, 'OPEN');
  const said = await probe(world, { ADMIN_PASSWORD: 'wrong' });
  assert.deepEqual(said.wrong.map(({ check }) => check), ['admin'], said.output);
  assert.deepEqual(said.of('stream'), []);
  assert.equal(await world.redis('EXISTS', 'WAITING_QUEUE_IDX'), 0);
  assert.equal(await world.redis('HGET', 'event_statuses', EVENT), 'OPEN');
});

test('settings with which no run can succeed are told, and nothing is tried', async (t) => {
  const world = await startWorld(t);
  await writeFile(join(world.folder, 'half.js'), 'export function logIn() {}\nexport function leave() {}\n');
  for (const [env, seen] of [
    [{ HOT_EVENT_ID: 'event-c' }, /^HOT_EVENT_ID must be one of EVENT_IDS \(event-a, event-b\), got "event-c"$/],
    [{ EVENT_IDS: ' , ' }, /^EVENT_IDS is empty/],
    [{ VUS: 20, LOGIN_BATCH_SIZE: 1, BARRIER_TIMEOUT_MS: 5000 }, /^the barrier cannot be met/],
    [{ SYSTEM: 'half.js', PWD: world.folder }, /half\.js exports no function setEventStatus, wait; /],
  ]) {
    const said = await probe(world, env);
    assert.deepEqual(said.wrong.map(({ check }) => check), ['settings'], said.output);
    assert.match(said.wrong[0].seen, seen);
    assert.deepEqual([said.of('settings').length, said.of('admin').length], [1, 0]);
  }
  assert.deepEqual(await world.redis('KEYS', '*'), []);
});

test('logins that nobody answers are no search for the last user who can', async (t) => {
  const world = await startRedis(t);
  const login = { headers: { Authorization: 'token', 'Set-Cookie': 'refreshToken=r; Path=/' } };
  const answers = (silent) => ({ body: { email } }) => {
    const user = Number(/^user(\d+)@/.exec(email)?.[1] ?? 0);
    return silent.includes(user) ? { silent: true } : user > 5 ? { status: 401 } : login;
  };
  for (const [silent, seen, asked] of [
    [[50], /^the last of 100 users, user100@example\.com, cannot log in: status 401.*; how many can was not found out, since user50@example\.com got no answer$/, [1, 1, 50, 100, 100]],
    [[100], /^the last of 100 users, user100@example\.com, cannot log in: .*timeout/, [1, 1, 100, 100]],
    [[], /^of 100 users only the first 5 can log in; the last, user100@example\.com: status 401/, [1, 1, 4, 5, 6, 7, 13, 25, 50, 100, 100]],
  ]) {
    const { baseUrl, requests } = await startRoom(t, () => ({ 'POST /api/v1/auth/login': answers(silent) }));
    const said = await probe(world, { VUS: 100, BASE_URL: baseUrl, LOGIN_TIMEOUT_MS: 300 });
    assert.deepEqual(said.of('users').map(({ ok }) => ok), [false], said.output);
    assert.match(said.of('users')[0].seen, seen);
    const users = requests.map(({ body }) => Number(/^user(\d+)@/.exec(body?.email)?.[1] ?? 0)).filter((user) => user > 0);
    assert.deepEqual(users.sort((a, b) => a - b), asked);
  }
});

test('preset slots are compared with no seats, however the flag is written', async (t) => {
  const world = await startWorld(t, ['--seats', '2']);
  const said = await probe(world, { SLOT_BOOST: 'true', SEATS: 8 });
  assert.deepEqual([said.wrong, said.of('slots')], [[], []], said.output);
  assert.deepEqual((await probe(world, { SLOT_BOOST: 'false', SEATS: 8 })).ok('slots'), [false]);
});

test('a user who could not join is not taken out of a queue', async (t) => {
  const world = await startRedis(t);
  await world.redis('HSET', `WAITING_USER_IDS:${EVENT}`, 'acc-1', '"true"');
  const { baseUrl, requests } = await startRoom(t, () => ({
    'POST /api/v1/auth/login': () => ({ headers: { Authorization: 'token', 'Set-Cookie': 'refreshToken=r; Path=/' } }),
    'PATCH /api/v1/events/*': () => ({}),
    'GET /api/v1/broker/events/*/tickets/waiting': () => ({ status: 409 }),
    'POST /api/v1/broker/events/*/tickets/disconnect': () => ({}),
  }));
  const said = await probe(world, { BASE_URL: baseUrl });
  assert.deepEqual(said.wrong, [], said.output);
  assert.match(said.of('stream')[0].seen, /^the first user cannot wait for event event-a: status 409/);
  assert.equal(requests.filter(({ call }) => call.endsWith('/disconnect')).length, 0);
});

test('left-overs explain a queue of another type, and no broker that is dead', async (t) => {
  const world = await startWorld(t, ['--queue', 'hash']);
  await world.redis('ZADD', `WAITING:${EVENT}`, '1', 'left over');
  const other = await probe(world, {});
  assert.deepEqual(other.ok('stream'), [true], other.output);
  assert.match(other.of('stream')[0].seen, /cannot wait for event event-a: status 500/);
  const answer = await fetch(`${world.baseUrl}/faults`, { method: 'PUT', body: JSON.stringify({ 'dead-brokers': 1 }) });
  assert.ok(answer.ok);
  const dead = await probe(world, {});
  assert.deepEqual(dead.ok('stream'), [false], dead.output);
  assert.match(dead.of('stream')[0].seen, /cannot wait for event event-a: status 500/);
});

test('an event whose status may not be read stays open, and that is said', async (t) => {
  const world = await startWorld(t);
  await world.redis('HSET', 'event_statuses', EVENT, 'OPEN');
  await world.redis('ACL', 'SETUSER', 'bench', 'on', '>password', '~WAITING*', '~ENTRY*', '+@all');
  const said = await probe(world, { REDIS_USERNAME: 'bench', REDIS_PASSWORD: 'password' });
  assert.deepEqual(said.wrong, [], said.output);
  assert.match(said.of('events')[0].seen, /^whether event event-a \(and 1 more\) is OPEN is not known here, so it was left as it is/);
  assert.equal(await world.redis('HGET', 'event_statuses', EVENT), 'OPEN');
  assert.equal(await world.redis('HGET', 'event_statuses', EVENTS[1]), null);
});
