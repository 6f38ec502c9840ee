/** The parts of the load ladders' scripts that need no k6: settings, what looks like chance, texts; and the wrappers of fixtures. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { draw, eventOf, goalUpdates, someUser, STATISTICS } from '../../m2/lib/draw.js';
import { readConfig } from '../../m2/lib/settings.js';
import { summaryText } from '../../m2/lib/summary.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

test('without settings the run is the one of the reference', () => {
  assert.deepEqual(readConfig({}), {
    rps: 100,
    eps: 1000,
    duration: '30m',
    baseUrl: 'http://localhost:8000/challenge',
    eventsAddress: 'localhost:6566',
    namespace: 'test',
    users: 10000,
    goalsPerEvent: 100,
    apiVus: { preAllocated: 100, most: 200 },
    eventVus: { preAllocated: 1000, most: 1500 },
    claimShare: 0.2,
    seedUsers: 0,
    requestTimeoutMs: 60000,
    e2e: false,
    e2eRate: 1,
    e2ePollMs: 20,
    e2eLimitMs: 30000,
    apiP95MaxMs: 2000,
    eventP95MaxMs: 500,
    errorRateMax: 0.01,
  });
});

test('VUs are bounded by the level, and by who runs it', () => {
  const { apiVus, eventVus } = readConfig({ TARGET_RPS: '5000', TARGET_EPS: '100' });
  assert.deepEqual([apiVus, eventVus], [{ preAllocated: 1000, most: 2000 }, { preAllocated: 100, most: 200 }]);
  assert.deepEqual(readConfig({ API_PRE_VUS: '7', API_MAX_VUS: '9' }).apiVus, { preAllocated: 7, most: 9 });
  // More at the start than there may be usually: then there may be so many.
  assert.deepEqual(readConfig({ EVENT_PRE_VUS: '3000' }).eventVus, { preAllocated: 3000, most: 3000 });
});

test('a runner that starts the API says where it is, with its base path', () => {
  const { baseUrl } = readConfig({ BASE_URL: 'http://127.0.0.1:1', API_URL: 'http://127.0.0.1:1/challenge/' });
  assert.equal(baseUrl, 'http://127.0.0.1:1/challenge');
});

test('what an acknowledged event changes is known', () => {
  assert.deepEqual([undefined, 'wins', 'login_count'].map((code) => goalUpdates(code, 100)), [100, 100, 0]);
});

test('a setting of the wrong kind is named with what is allowed', () => {
  for (const [env, says] of [
    [{ TARGET_RPS: '0' }, 'TARGET_RPS must be a whole number of at least 1, got "0"'],
    [{ DURATION: '30' }, 'DURATION must be a duration such as 30m, 90s or 1m30s, got "30"'],
    [{ BASE_URL: 'localhost:8000' }, 'BASE_URL must be an address that begins with http:// or https://, got "localhost:8000"'],
    [{ EVENT_HANDLER_ADDR: 'http://localhost:6566' }, 'EVENT_HANDLER_ADDR must be a host and a port such as localhost:6566, got "http://localhost:6566"'],
    [{ CLAIM_SHARE: '20' }, 'CLAIM_SHARE must be a share from 0 to 1, such as 0.2, got "20"'],
    [{ ERROR_RATE_MAX: '1%' }, 'ERROR_RATE_MAX must be a share from 0 to 1, such as 0.2, got "1%"'],
    [{ API_P95_MAX: '2s' }, 'API_P95_MAX must be a whole number of at least 1, got "2s"'],
    [{ E2E: 'yes' }, 'E2E must be 0 or 1, got "yes"'],
    [{ API_PRE_VUS: '9', API_MAX_VUS: '7' }, 'API_MAX_VUS must be at least API_PRE_VUS, which is 9, got "7"'],
  ]) {
    assert.throws(() => readConfig(env), { message: says });
  }
});

test('events are a fifth logins, of all statistics alike, of users that vary', () => {
  const events = Array.from({ length: 20000 }, (_, iteration) => eventOf(iteration, 10000));
  const share = (of, all = events) => all.filter(of).length / all.length;
  const near = (value, expected) => assert.ok(Math.abs(value - expected) < 0.02, `${value}, expected ${expected}`);
  near(share(({ statistic }) => statistic === undefined), 0.2);
  const values = events.flatMap(({ statistic }) => statistic ?? []);
  for (const code of STATISTICS) {
    near(share(({ statCode }) => statCode === code, values), 0.2);
  }
  assert.ok(values.every(({ latestValue }) => Number.isInteger(latestValue) && latestValue >= 0 && latestValue < 1000));
  const users = new Set(events.map(({ userId }) => userId));
  assert.ok(users.size > 8000 && [...users].every((user) => /^user-0(0\d{4}|10000)$/.test(user)), `${users.size} users`);
  assert.equal(someUser(7, 10000), someUser(7, 10000));
  assert.notEqual(draw(1, 2), draw(2, 1));
});

test('the summary says what was not offered', () => {
  const metrics = {
    'iterations{scenario:api}': { values: { rate: 81.26 } },
    dropped_iterations: { values: { count: 46 } },
    e2e_visibility_ms: { values: { med: 100, 'p(95)': 105, max: 186 } },
    'http_req_failed{load:api}': { values: {}, thresholds: { 'rate<0.01': { ok: false } } },
  };
  const text = summaryText('A load', { metrics }, { api: 100 });
  for (const says of ['100 a second to begin, 81.3 a second done', '46 iterations were never begun', 'p95 105 ms', 'FAILS  http_req_failed{load:api}: rate<0.01']) {
    assert.ok(text.includes(says), text);
  }
});

test('harness and reference target speak of the same messages', () => {
  const [harness, target] = [`${root}/js/m2/proto`, `${root}/bench/targets/challenge/proto`];
  assert.deepEqual(readdirSync(harness), readdirSync(target));
  for (const file of readdirSync(harness)) {
    assert.equal(readFileSync(join(harness, file), 'utf8'), readFileSync(join(target, file), 'utf8'), file);
  }
});

test('the wrapper of all scenarios makes the fixtures, then hands its arguments and the exit code on', () => {
  const program = join(mkdtempSync(join(tmpdir(), 'all-')), 'barrier-bench');
  const wrapper = `${root}/js/m2/run_all_scenarios.sh`;
  const run = (args, says) => {
    writeFileSync(program, `#!/bin/sh\necho "$PWD: $@"\n${says}\n`);
    chmodSync(program, 0o755);
    const { status, stdout } = spawnSync(wrapper, args, { encoding: 'utf8', cwd: tmpdir(), env: { PATH: process.env.PATH, BARRIER_BENCH_BIN: program } });
    return [status, stdout.trim().split('\n')];
  };
  const fixtures = `${root}: fixtures bench/suites/m2.toml`.replace('/:', ':');
  const ran = `${root}: run bench/suites/m2.toml --quick --set A=b c`.replace('/:', ':');
  assert.deepEqual(run(['--quick', '--set', 'A=b c'], '[ "$1" = fixtures ] || exit 3'), [3, [fixtures, ran]]);
  assert.deepEqual(run(['--quick'], 'exit 2'), [2, [fixtures]], 'without fixtures nothing runs');
  const none = spawnSync(wrapper, [], { encoding: 'utf8', env: { PATH: process.env.PATH, BARRIER_BENCH_BIN: '/no/program' } });
  assert.equal(none.status, 2);
  assert.match(none.stderr, /\/no\/program is no program: run 'make build', or set BARRIER_BENCH_BIN/);
});

test('each wrapper of a fixture is one call, whose exit code it hands on', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fixtures-'));
  const program = join(folder, 'challenge');
  writeFileSync(program, '#!/bin/sh\necho "$@"\nexit 7\n');
  chmodSync(program, 0o755);
  const run = (name, args, env = {}) => {
    const call = spawnSync(`${root}/js/m2/fixtures/generate_${name}.sh`, args, {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, CHALLENGE_BIN: program, FIXTURES: '/some/folder', ...env },
    });
    return [call.status, `${call.stdout}${call.stderr}`.trim()];
  };
  for (const name of ['users', 'challenges', 'tokens']) {
    assert.deepEqual(run(name, []), [7, `fixtures --out /some/folder --only ${name}`]);
    assert.deepEqual(run(name, ['--check']), [7, `fixtures --out /some/folder --only ${name} --check`]);
    assert.deepEqual(run(name, ['x']), [2, `usage: generate_${name}.sh [--check]: received x`]);
  }
  const real = run('tokens', [], { MOCK_MODE: 'false' });
  assert.deepEqual(real, [2, 'generate_tokens: MOCK_MODE must be true, got "false": only tokens of mock mode are made']);
});
