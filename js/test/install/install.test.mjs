/**
 * The ways to a k6 with this extension beside `make k6`, by the commands of docs/how-to/install.md: with other extensions,
 * from a release without sources and Rust, by stock xk6, with a shared core.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { readBook, ROOT as root } from '../docs/book.mjs';

const MODULE = 'github.com/k6-barrier/k6-barrier/xk6-barrier';

/** The commands of the page that are left to this file. */
const PAGE = readBook().find(({ path }) => path === 'docs/how-to/install.md').blocks.filter((block) => block.language === 'sh' && block.parsed);
const used = new Set();

/** Runs the block of the page that has this text; paths and versions are those of the test. */
async function follow(part, replaced, options) {
  const [block, ...others] = PAGE.filter(({ text }) => text.includes(part));
  assert.ok(block && others.length === 0, `the page must have one block with ${part}`);
  used.add(block);
  const commands = Object.entries(replaced).reduce((text, [before, after]) => {
    assert.ok(text.includes(before), `${before} is not in the commands of ${block.page}:${block.line}`);
    return text.replaceAll(before, after);
  }, block.text);
  return run('bash', ['-euo', 'pipefail', '-c', commands], options);
}

/** A folder with the real xk6 in it, and the environment that finds it there. */
async function stockXk6(t) {
  const here = await folder(t);
  await copyFile(join(root, 'bin/libexec/xk6'), join(here, 'xk6'));
  return { here, env: { ...process.env, PATH: here + delimiter + process.env.PATH } };
}

const SCRIPT = `
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';
const barrier = new Barrier('start', { parties: 2 });
export const options = { vus: 2, iterations: 2, thresholds: { checks: ['rate==1'], barrier_arrivals: ['count==2'] } };
export default function () {
  check(barrier.arriveAndWait(), { 'both were there': (r) => r.reason === 'all' && r.arrived === 2 });
}`;

/** An extension of somebody else. */
const MINE = `package mine

import "go.k6.io/k6/v2/js/modules"

type module struct{}

func (module) Hello() string { return "hello" }

func init() { modules.Register("k6/x/mine", module{}) }
`;

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
const k6Version = async () => /go\.k6\.io\/k6\/v2 (v\S+)/.exec(await readFile(join(root, 'xk6-barrier/go.mod'), 'utf8'))[1];

test('a release builds without sources and without Rust', async (t) => {
  const release = await folder(t);
  const version = `v0.0.0-test.${process.pid}`;
  await run(join(root, 'scripts/release.sh'), ['--built', version, release]);
  await run('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: release });

  // Somebody else's machine: xk6, and a Rust that must not be asked.
  const { here, env } = await stockXk6(t);
  const asked = join(here, 'asked');
  for (const name of ['cargo', 'rustc', 'rustup']) {
    await writeFile(join(here, name), `#!/bin/sh\necho ${name} >>'${asked}'\nexit 1\n`);
    await chmod(join(here, name), 0o755);
  }
  const cache = await goEnv('GOMODCACHE');
  t.after(async () => {
    const unpacked = join(cache, `${MODULE}@${version}`);
    await promisify(execFile)('chmod', ['-R', 'u+w', unpacked]).catch(() => {}); // Go protects it; it may not be there yet
    await rm(unpacked, { recursive: true, force: true });
    for (const end of ['info', 'lock', 'mod', 'zip', 'ziphash']) {
      await rm(join(cache, 'cache/download', MODULE, '@v', `${version}.${end}`), { force: true });
    }
  });
  await follow('GOPROXY', { '/releases/v0.1.0': release, 'v0.1.0': version }, { cwd: here, env });
  await assert.rejects(readFile(asked), { code: 'ENOENT' }, 'Rust was asked');

  const files = await readdir(join(cache, `${MODULE}@${version}`), { recursive: true });
  assert.ok(files.includes('LICENSE') && files.includes('THIRD-PARTY-LICENSES.txt'), files.join('\n'));
  await runScript(join(here, 'k6'), here);
  await runScript(join(here, 'k6'), here, join(cache, `${MODULE}@${version}`, 'smoke.test.js'));
});

test('stock xk6 builds from the tag of a git repository, and a module without its core says so', async (t) => {
  const release = await folder(t);
  const version = `v0.0.0-tag.${process.pid}`;
  await run(join(root, 'scripts/release.sh'), ['--built', version, release]);
  const { here, env } = await stockXk6(t);
  // A module cache of its own, beside what this machine has fetched: what is tried is the way from git.
  const cache = join(here, 'modules');
  t.after(() => run('go', ['clean', '-modcache'], { env: { ...env, GOMODCACHE: cache } }));
  // In a file, as xk6 hands few variables on.
  await writeFile(join(here, '.gitconfig'), `[url "file://${release}/repository.git"]\n\tinsteadOf = https://github.com/k6-barrier/k6-barrier\n`);
  const known = `file://${await goEnv('GOMODCACHE')}/cache/download`;
  const go = {
    GOMODCACHE: cache,
    GOPROXY: `${known},${await goEnv('GOPROXY')}`,
    GOPRIVATE: 'github.com/k6-barrier/*',
    CGO_ENABLED: '1',
    GOFLAGS: '-tags=netgo,osusergo',
    GOCACHE: await goEnv('GOCACHE'),
    HOME: here,
  };
  await run(join(here, 'xk6'), ['build', await k6Version(), '--with', `${MODULE}@${version}`], { cwd: here, env: { ...env, ...go } });
  await runScript(join(here, 'k6'), here);

  const sources = join(here, 'sources');
  await mkdir(sources);
  await run('bash', ['-c', 'git ls-files -z -- xk6-barrier | xargs -0 cp --parents --target-directory="$0"', sources], { cwd: root });
  const refused = await promisify(execFile)('go', ['build', './internal/core'], { cwd: join(sources, 'xk6-barrier'), env: { ...env, CGO_ENABLED: '1' } }).then(
    () => 'it was built',
    (error) => error.stderr,
  );
  assert.match(refused.split('\n').find((line) => line.includes('error')) ?? refused, /its native core is not here; build with bin\/xk6/);
});

test('an archive runs where nothing else is', async (t) => {
  const page = PAGE.find(({ text }) => text.includes('tar xf'));
  used.add(page);
  const release = await folder(t);
  const version = `v0.0.0-test.${process.pid}`;
  await run(join(root, 'scripts/archive.sh'), [version, release]);
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const name = `k6-barrier-${version}-linux-${arch}`;
  await run('sha256sum', ['--check', '--quiet', `${name}.tar.gz.sha256`], { cwd: release });
  const place = await folder(t);
  await run('tar', ['xf', join(release, `${name}.tar.gz`)], { cwd: place });
  const here = join(place, name);
  // No program but those of the archive.
  const env = { PATH: join(place, 'nothing'), HOME: place, K6_NO_USAGE_REPORT: 'true' };
  const first = await run('./k6', ['run', '--quiet', 'js/examples/barrier-first.js'], { cwd: here, env });
  assert.match(first, /barrier_arrivals/);
  const printed = await run('bin/barrier-bench', ['run', 'waiting-room', '--scenario', 'smoke', '--variant', 'zset'], { cwd: here, env });
  assert.match(printed, /verdict +PASS/);
  const told = await run('bin/barrier-bench', ['doctor', 'waiting-room', '--scenario', 'smoke'], { cwd: here, env });
  assert.ok(told.includes(`private Redis from ${join(here, 'bin/redis-server')}`), told);
  const licences = await readdir(join(here, 'licences'));
  assert.deepEqual(licences.sort(), ['THIRD-PARTY-LICENSES.txt', 'k6-AGPL-3.0.md', 'redis-server.txt']);
  assert.match(await readFile(join(here, 'licences/k6-AGPL-3.0.md'), 'utf8'), /GNU AFFERO GENERAL PUBLIC LICENSE/);
  const sources = await readdir(join(here, 'sources'));
  assert.ok(sources.includes(`k6-${await k6Version()}.zip`) && sources.includes(`k6-barrier-${version}.tar.gz`), sources.join(' '));
});

test('another extension is built in as well', async (t) => {
  const here = await folder(t);
  const mine = join(here, 'my-extension');
  await mkdir(mine);
  await writeFile(join(mine, 'go.mod'), `module example.com/my-extension\n\ngo 1.25\n\nrequire go.k6.io/k6/v2 ${await k6Version()}\n`);
  await writeFile(join(mine, 'mine.go'), MINE);
  const k6 = join(here, 'k6');
  await follow('my-extension', { '../my-extension': relative(root, mine), 'xk6 build': `xk6 build --output ${k6}` }, { cwd: root });
  await writeFile(join(here, 'both.js'), `import mine from 'k6/x/mine';\nif (mine.hello() !== 'hello') throw new Error();\n${SCRIPT}`);
  await runScript(k6, here, 'both.js');
});

test('stock xk6 builds a checkout', async (t) => {
  const { here, env } = await stockXk6(t);
  const k6 = join(here, 'k6');
  const built = { 'v2.2.0': await k6Version(), 'xk6 build': `xk6 build --output ${k6}`, 'make core': 'test -s xk6-barrier/internal/core/lib/build-id' };
  await follow('xk6 build v2.2.0 --with github.com/k6-barrier/k6-barrier/xk6-barrier=./', built, { cwd: root, env });
  await runScript(k6, here);
});

test('a k6 with a shared core runs', async (t) => {
  const here = await folder(t);
  const k6 = join(here, 'k6');
  await follow('barrier_shared', { 'xk6 build': `xk6 build --output ${k6}` }, { cwd: root });
  const where = /libbarrier_ffi\.so => (\S+)/;
  const [, built] = where.exec(await run('ldd', [k6]));
  assert.ok(built.startsWith(join(root, 'xk6-barrier/internal/core/lib/')), built);
  await runScript(k6, here);

  // Another folder may be named.
  await copyFile(built, join(here, 'libbarrier_ffi.so'));
  const [, found] = where.exec(await run('ldd', [k6], { env: { ...process.env, LD_LIBRARY_PATH: here } }));
  assert.equal(found, join(here, 'libbarrier_ffi.so'));
});

test('no command of the page is left out', () => {
  assert.deepEqual(PAGE.filter((block) => !used.has(block)).map(({ page, line }) => `${page}:${line}`), []);
});
