import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accountsOf, readConfig } from '../../lib/settings.js';

test('defaults are those of the reference', () => {
  assert.deepEqual(
    { ...readConfig({}) },
    {
      eventIds: [],
      baseUrl: 'http://localhost:8080',
      brokerBaseUrl: 'http://localhost:8080',
      redisUrl: 'redis://127.0.0.1:6379',
      redisTls: undefined,
      runId: '',
      system: './systems/sse.js',
      scenario: '',
      vus: 1,
      holdMs: 0,
      hotRatio: 0,
      hotEventId: '',
      burstOffsetMs: 3000,
      loginBatchSize: 100,
      loginBatchIntervalMs: 1000,
      loginBatchJitterMs: 0,
      loginTimeoutMs: 10000,
      maxLoginAttempts: 10,
      loginRetryDelayMs: 0,
      loginEmailDomain: 'example.com',
      loginPassword: 'password123',
      usersCsv: '',
      adminEmail: 'admin@example.com',
      adminPassword: 'password123',
      sseTimeoutMs: 120000,
      sseIdleTimeoutMs: 15000,
      eventTimeoutMs: 10000,
      disconnectTimeoutMs: 2000,
      pollIntervalMs: 1000,
      gatewayHeaders: { userId: 'User-Id', role: 'Role', email: 'Email' },
      sseP95Threshold: 5000,
      barrierTimeoutMs: 300000,
      barrierTtlSeconds: 3600,
      writeOpenAt: true,
      slots: 0,
      slotsFrom: '',
      stallMs: 10000,
      verbose: false,
      lean: false,
      warnings: [],
      cutOff: {
        byStream: 'cut off by SSE_TIMEOUT_MS=120000: see why the queue is slow, or raise HOLD_MS and SSE_TIMEOUT_MS',
        byScenario: "cut off by the users' time limit of 60 s: see why the queue is slow, or raise HOLD_MS and SSE_TIMEOUT_MS",
        mend: 'see why the queue is slow, or raise HOLD_MS and SSE_TIMEOUT_MS',
      },
    },
  );
});

test('event ids are trimmed, not empty and not repeated', () => {
  assert.deepEqual(readConfig({ EVENT_IDS: ' a, b ,,a, ' }).eventIds, ['a', 'b']);
});

test('a preset gives way to VUS, HOLD_MS and HOT_RATIO', () => {
  const facts = ({ vus, holdMs, hotRatio }) => [vus, holdMs, hotRatio];
  assert.deepEqual(facts(readConfig({ SCENARIO: 'baseline' })), [2000, 300000, 0.5]);
  assert.deepEqual(facts(readConfig({ SCENARIO: 'target' })), [10000, 600000, 0.6]);
  assert.deepEqual(facts(readConfig({ SCENARIO: 'stress' })), [30000, 60000, 0.7]);
  assert.deepEqual(facts(readConfig({ SCENARIO: 'custom', VUS: '50' })), [50, 0, 0]);
  assert.deepEqual(facts(readConfig({ SCENARIO: 'toString' })), [1, 0, 0]);
  assert.deepEqual(facts(readConfig({ SCENARIO: 'target', VUS: '7', HOLD_MS: '1', HOT_RATIO: '0' })), [7, 1, 0]);
});

test('the broker is behind the base address unless it has its own', () => {
  assert.equal(readConfig({ BASE_URL: 'http://gate:1/' }).brokerBaseUrl, 'http://gate:1');
  assert.equal(readConfig({ BASE_URL: 'http://gate:1', BROKER_BASE_URL: 'http://broker:2/' }).brokerBaseUrl, 'http://broker:2');
});

test('a hot ratio is a share or a percentage, and never fails', () => {
  const ratio = (value) => readConfig({ HOT_RATIO: value }).hotRatio;
  assert.deepEqual(['0.25', '1', '25', '250', '-1', 'many', ''].map(ratio), [0.25, 1, 0.25, 1, 0, 0, 0]);
});

test('what is too small becomes the least that is allowed', () => {
  const config = readConfig({ VUS: '0', LOGIN_BATCH_SIZE: '-5', MAX_LOGIN_RETRIES: '0', BURST_OFFSET_MS: '-1', STALL_MS: '500' });
  assert.deepEqual(
    [config.vus, config.loginBatchSize, config.maxLoginAttempts, config.burstOffsetMs, config.stallMs],
    [1, 1, 1, 0, 3000],
  );
});

test('an unusable value is refused with its name', () => {
  assert.throws(() => readConfig({ VUS: 'ten' }), /VUS must be a whole number, got "ten"/);
  assert.throws(
    () => readConfig({ SSE_TIMEOUT_MS: '1.5' }),
    /SSE_TIMEOUT_MS must be a whole number of milliseconds, such as 60000 or 60000ms, got "1.5"/,
  );
  assert.throws(() => readConfig({ HOLD_MS: '60s' }), /HOLD_MS must be .*, got "60s"/);
  assert.throws(() => readConfig({ HOLD_MS: 'ms' }), /HOLD_MS must be .*, got "ms"/);
  assert.throws(() => readConfig({ VERBOSE_LOGS: 'maybe' }), /VERBOSE_LOGS must be 1, true, 0 or false, got "maybe"/);
  assert.throws(() => readConfig({ SYSTEM: 'grpc' }), /SYSTEM must be sse, polling or the path of a .js file, got "grpc"/);
});

test('milliseconds may have their unit, and flags may be words', () => {
  assert.equal(readConfig({ HOLD_MS: '60000ms' }).holdMs, 60000);
  assert.equal(readConfig({ HOLD_MS: '60000 ms' }).holdMs, 60000);
  assert.deepEqual(['true', 'TRUE', '1', 'false', '0'].map((VERBOSE_LOGS) => readConfig({ VERBOSE_LOGS }).verbose), [true, true, true, false, false]);
});

test('the slots of an event are its seats, unless they are preset', () => {
  const slots = (env) => [readConfig(env).slots, readConfig(env).slotsFrom];
  assert.deepEqual(slots({ SEATS: '8' }), [8, 'SEATS']);
  assert.deepEqual(slots({ SEATS: '8', SLOT_BOOST: '0', SLOT_BOOST_VALUE: '70' }), [8, 'SEATS']);
  assert.deepEqual(slots({ SEATS: '8', SLOT_BOOST: '1', SLOT_BOOST_VALUE: '70' }), [70, 'SLOT_BOOST_VALUE']);
  assert.deepEqual(slots({ SLOT_BOOST: '1' }), [10000, 'SLOT_BOOST_VALUE']);
});

test('a system is one that comes along, or a file from the current folder on', () => {
  const system = (SYSTEM) => readConfig({ SYSTEM, PWD: '/here' }).system;
  assert.deepEqual(['sse', 'polling', 'room.js', '/there/room.js'].map(system), [
    './systems/sse.js',
    './systems/polling.js',
    '/here/room.js',
    '/there/room.js',
  ]);
});

test('an empty variable is an unset one', () => {
  assert.deepEqual(readConfig({ VUS: '', BASE_URL: ' ', WRITE_OPEN_AT_REDIS: '' }), readConfig({}));
});

test('settings without effect are warned of', () => {
  const names = (env) => readConfig(env).warnings.map((warning) => warning.split(' ')[0]);
  assert.deepEqual(names({ ADMIN_OPEN_DELAY_MS: '1', WAIT_FOR_IN_ENTRY: '1', BARRIER_POLL_INTERVAL_MS: '200', HOT_RATIO: '0.5' }), [
    'ADMIN_OPEN_DELAY_MS',
    'WAIT_FOR_IN_ENTRY',
    'BARRIER_POLL_INTERVAL_MS',
    'HOT_RATIO',
  ]);
  assert.deepEqual(names({ SCENARIO: 'target' }), []);
  assert.deepEqual(names({ HOT_RATIO: '0.5', HOT_EVENT_ID: 'a' }), []);
});

test('a user and a password of Redis may stand beside the URL', () => {
  const url = (env) => readConfig(env).redisUrl;
  const both = { REDIS_USERNAME: 'k6', REDIS_PASSWORD: 'p@ss:w/ord%' };
  assert.equal(url({ REDIS_URL: 'rediss://host:6380/3', ...both }), 'rediss://k6:p%40ss%3Aw%2Ford%25@host:6380/3');
  assert.equal(url({ REDIS_URL: 'redis+cluster://a:1,b:2', ...both }), 'redis+cluster://k6:p%40ss%3Aw%2Ford%25@a:1,b:2');
  assert.equal(url({ REDIS_PASSWORD: 'x' }), 'redis://:x@127.0.0.1:6379');
  assert.equal(url({ REDIS_URL: 'redis://:own@host', ...both }), 'redis://:own@host', 'those of the URL win');
  assert.equal(url({ REDIS_URL: 'host', ...both }), 'host', 'left for the barrier to refuse');
});

test('certificates of Redis are read from files, from the current folder on', () => {
  const files = { '/here/ca.pem': 'CA', '/etc/k6.pem': 'CERT', '/etc/k6.key': 'KEY' };
  const read = (path) => files[path] ?? assert.fail(path);
  const tls = (env) => readConfig({ PWD: '/here', REDIS_URL: 'rediss://host', ...env }, read).redisTls;
  assert.equal(tls({}), undefined);
  assert.equal(tls({ REDIS_TLS_CA: 'ca.pem' }).ca, 'CA');
  assert.equal(tls({ REDIS_TLS_CA: 'ca.pem' }).cert, undefined);
  const all = { REDIS_TLS_CERT: '/etc/k6.pem', REDIS_TLS_KEY: '/etc/k6.key', REDIS_TLS_SERVER_NAME: 'redis.test' };
  assert.deepEqual(tls(all), { ca: undefined, cert: 'CERT', key: 'KEY', serverName: 'redis.test' });
  assert.throws(() => tls({ REDIS_TLS_CA: 'ca.pem', REDIS_URL: '' }), /REDIS_TLS_\* are given, so REDIS_URL must begin with rediss:/);
});

test('users may be named by a file', () => {
  assert.equal(readConfig({ USERS_CSV: 'users.csv', PWD: '/here' }).usersCsv, '/here/users.csv');
  const two = [
    { email: 'a@b', password: 'x,y' },
    { email: 'c@d', password: 'z' },
  ];
  assert.deepEqual(accountsOf('email,password\r\na@b,x,y\r\n\r\nc@d,z\r\n', 2), two);
  assert.deepEqual(accountsOf('a@b,x,y\nc@d,z', 1), two);
  assert.throws(() => accountsOf('a@b,x', 2), /USERS_CSV must be lines of email,password, one for each user: got 1 users for VUS=2/);
  assert.throws(() => accountsOf('a@b,x\ns3cret', 2), (error) => /its user 2 has no/.test(error.message) && !/s3cret/.test(error.message));
});
