/** The ways to a k6 with this extension beside `make k6`: from a release without sources and Rust, and with a shared core. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = resolve(fileURLToPath(import.meta.url), '../../../..');
const MODULE = 'github.com/k6-barrier/k6-barrier/xk6-barrier';

/** The tags that `bin/xk6` sets, so that what Go has built before serves here too. */
const TAGS = 'netgo,osusergo';

const SCRIPT = `
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';
const barrier = new Barrier('start', { parties: 2 });
export const options = { vus: 2, iterations: 2, thresholds: { checks: ['rate==1'], barrier_arrivals: ['count==2'] } };
export default function () {
  check(barrier.arriveAndWait(), { 'both were there': (r) => r.reason === 'all' && r.arrived === 2 });
}`;

/** Runs a program to its end, which must be good, and gives what it printed. */
async function run(command, args, options) {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { maxBuffer: 1 << 26, ...options });
    return stdout + stderr;
  } catch (error) {
    assert.fail(`${command} ${args.join(' ')}: ${error.message}\n${error.stdout}${error.stderr}`);
  }
}

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'k6-barrier-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

/** Runs the script with two users, or another one, by this k6. */
async function runScript(k6, cwd, script = 'script.js') {
  await writeFile(join(cwd, 'script.js'), SCRIPT);
  const env = { PATH: process.env.PATH, HOME: cwd, K6_AUTO_EXTENSION_RESOLUTION: 'false', K6_NO_USAGE_REPORT: 'true' };
  await run(k6, ['run', '--quiet', '--address', '', script], { cwd, env });
}

const goEnv = async (name) => (await run('go', ['env', name], { cwd: root })).trim();

test('a release builds without sources and without Rust', async (t) => {
  const release = await folder(t);
  const version = `v0.0.0-test.${process.pid}`;
  await run(join(root, 'scripts/release.sh'), ['--built', version, release]);
  await run('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: release });

  // Somebody else's machine: xk6, and a Rust that must not be asked.
  const here = await folder(t);
  await copyFile(join(root, 'bin/libexec/xk6'), join(here, 'xk6'));
  const asked = join(here, 'asked');
  for (const name of ['cargo', 'rustc', 'rustup']) {
    await writeFile(join(here, name), `#!/bin/sh\necho ${name} >>'${asked}'\nexit 1\n`);
    await chmod(join(here, name), 0o755);
  }
  const cache = await goEnv('GOMODCACHE');
  t.after(async () => {
    await rm(join(cache, `${MODULE}@${version}`), { recursive: true, force: true });
    for (const end of ['info', 'lock', 'mod', 'zip', 'ziphash']) {
      await rm(join(cache, 'cache/download', MODULE, '@v', `${version}.${end}`), { force: true });
    }
  });
  const k6Version = /go\.k6\.io\/k6\/v2 (v\S+)/.exec(await readFile(join(root, 'xk6-barrier/go.mod'), 'utf8'))[1];
  await run(join(here, 'xk6'), ['build', k6Version, '--with', `${MODULE}@${version}`], {
    cwd: here,
    env: {
      ...process.env,
      PATH: here + delimiter + process.env.PATH,
      CGO_ENABLED: '1',
      GOPROXY: `file://${join(release, 'proxy')},${await goEnv('GOPROXY')}`,
      GONOSUMDB: 'github.com/k6-barrier/*',
      GOFLAGS: `-modcacherw -tags=${TAGS}`,
    },
  });
  await assert.rejects(readFile(asked), { code: 'ENOENT' }, 'Rust was asked');

  const files = await readdir(join(cache, `${MODULE}@${version}`), { recursive: true });
  assert.ok(files.includes('LICENSE') && files.includes('THIRD-PARTY-LICENSES.txt'), files.join('\n'));
  await runScript(join(here, 'k6'), here);
  await runScript(join(here, 'k6'), here, join(cache, `${MODULE}@${version}`, 'smoke.test.js'));
});

test('a k6 with a shared core runs', async (t) => {
  const here = await folder(t);
  const k6 = join(here, 'k6');
  await run(join(root, 'bin/xk6'), ['build', '--with', './xk6-barrier', '--output', k6], {
    cwd: root,
    env: { ...process.env, GOFLAGS: `${await goEnv('GOFLAGS')} -tags=barrier_shared`.trim() },
  });
  const where = /libbarrier_ffi\.so => (\S+)/;
  const [, built] = where.exec(await run('ldd', [k6]));
  assert.ok(built.startsWith(join(root, 'xk6-barrier/internal/core/lib/')), built);
  await runScript(k6, here);

  // Another folder may be named.
  await copyFile(built, join(here, 'libbarrier_ffi.so'));
  const [, found] = where.exec(await run('ldd', [k6], { env: { ...process.env, LD_LIBRARY_PATH: here } }));
  assert.equal(found, join(here, 'libbarrier_ffi.so'));
});
