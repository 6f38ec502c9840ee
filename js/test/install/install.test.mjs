/**
 * The ways to a k6 with this extension beside `make k6`, by the commands of docs/how-to/install.md: with other extensions,
 * from a release without sources and Rust, by stock xk6, with a shared core.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
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

test('stock xk6 builds from the tag of a git repository', async (t) => {
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
  await follow('osusergo \\\n  xk6 build v2.2.0 --with github.com/k6-barrier/k6-barrier/xk6-barrier@', { 'v2.2.0': await k6Version(), 'v0.1.0': version }, { cwd: here, env: { ...env, ...go } });
  await runScript(join(here, 'k6'), here);
  assert.match(await run(join(here, 'k6'), ['x', 'barrier', 'version'], { env }), new RegExp(`xk6-barrier ${version},`));
});

test('a clone without history makes a release', async (t) => {
  const release = await folder(t);
  const here = await folder(t);
  await run('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, join(here, 'shallow')]);
  // It has what is committed; the library and its name are those of this tree.
  const core = 'xk6-barrier/internal/core';
  await run('bash', ['-c', `cp -r ${core}/lib ${core}/buildid_*.go "$0"`, join(here, 'shallow', core)], { cwd: root });
  await run(join(here, 'shallow/scripts/release.sh'), ['--built', 'v0.0.0-shallow', release]);
  const tag = await run('git', ['--git-dir', join(release, 'repository.git'), 'log', '--format=%s', 'xk6-barrier/v0.0.0-shallow']);
  assert.equal(tag, 'Release v0.0.0-shallow of the module, with the core as static libraries\n');
  const files = await run('git', ['--git-dir', join(release, 'repository.git'), 'ls-tree', '-r', '--name-only', 'xk6-barrier/v0.0.0-shallow']);
  assert.match(files, /^xk6-barrier\/internal\/core\/lib\/linux_\w+\/libbarrier_ffi\.a$/m);
  assert.match(files, /^README\.md$/m);
});

/** The first line of the compiler that has an error, of a build of the module's sources without what these commands remove. */
async function refusal(t, remove, env = {}) {
  const sources = await folder(t);
  await run('bash', ['-c', 'git ls-files -z -- xk6-barrier | xargs -0 cp --parents --target-directory="$0"; cp -r xk6-barrier/internal/core/lib xk6-barrier/internal/core/buildid_*.go "$0/xk6-barrier/internal/core"', sources], { cwd: root });
  const module = join(sources, 'xk6-barrier');
  await run('bash', ['-euc', remove], { cwd: join(module, 'internal/core') });
  const told = await promisify(execFile)('go', ['build', './internal/core'], { cwd: module, env: { ...process.env, CGO_ENABLED: '1', ...env } }).then(
    () => 'it was built',
    (error) => error.stderr,
  );
  return told.split('\n').find((line) => line.includes('error')) ?? told;
}

test('a module without its core says so, and so does one without the library of this system', async (t) => {
  assert.match(await refusal(t, 'rm -r lib buildid_*.go'), /its native core is not here; build with bin\/xk6/);
  assert.match(await refusal(t, 'rm lib/*/libbarrier_ffi.a'), /it has no native core for this system; tags and releases have it for Linux/);
});

test('a core for glibc is refused by a compiler for another C library', async (t) => {
  const preamble = /\/\*([^]*?)\*\//.exec(await readFile(join(root, 'xk6-barrier/internal/core/link_static.go'), 'utf8'))[1].replaceAll(/^#cgo.*$/gm, '');
  const here = await folder(t);
  await writeFile(join(here, 'features.h'), '/* of another C library, which says nothing of glibc */\n');
  const compile = (...flags) =>
    promisify(execFile)('bash', ['-c', 'gcc -fsyntax-only -x c "$@" - <<<"$0"', preamble, ...flags, '-I', join(root, 'xk6-barrier/internal/core/lib')]).then(
      () => 'compiled',
      (error) => error.stderr,
    );
  assert.equal(await compile(), 'compiled');
  assert.match(await compile('-I', here), /its native core was built for glibc, and this system has another C library/);
  assert.match(await compile('-U__x86_64__', '-U__aarch64__'), /its native core is for Linux and macOS on amd64 and arm64/);
});

test('an archive runs where nothing else is, and has all that its pages lead to', async (t) => {
  used.add(PAGE.find(({ text }) => text.includes('tar xf')));
  const release = await folder(t);
  const version = 'v0.0.0-archive.test';
  await run(join(root, 'scripts/archive.sh'), ['--trial', version, release]);
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
  assert.match(await run('./k6', ['x', 'barrier', 'version'], { cwd: here, env }), new RegExp(`xk6-barrier ${version},`));
  const printed = await run('bin/barrier-bench', ['run', 'waiting-room', '--scenario', 'smoke', '--variant', 'zset'], { cwd: here, env });
  assert.match(printed, /verdict +PASS/);
  const told = await run('bin/barrier-bench', ['doctor', 'waiting-room', '--scenario', 'smoke'], { cwd: here, env });
  assert.ok(told.includes(`private Redis from ${join(here, 'bin/redis-server')}`), told);
  // A page's "$(scripts/ensure-redis.sh)" finds it, too.
  const found = await run('scripts/ensure-redis.sh', [], { cwd: here, env: { ...env, PATH: await shellTools(place), ENSURE_DISTRIBUTION: place } });
  assert.match(found, new RegExp(`${here}/bin/redis-server\n$`));
  for (const suite of (await readdir(join(here, 'bench/suites'))).filter((file) => file.endsWith('.toml'))) {
    await run('bin/barrier-bench', ['validate', `bench/suites/${suite}`], { cwd: here, env });
  }

  const licences = await readdir(join(here, 'licences'));
  assert.deepEqual(licences.sort(), ['THIRD-PARTY-LICENSES.txt', 'k6-AGPL-3.0.md', 'redis-server.txt']);
  assert.match(await readFile(join(here, 'licences/k6-AGPL-3.0.md'), 'utf8'), /GNU AFFERO GENERAL PUBLIC LICENSE/);
  const texts = await readFile(join(here, 'licences/THIRD-PARTY-LICENSES.txt'), 'utf8');
  const bill = JSON.parse(await readFile(join(here, 'sbom.cdx.json'), 'utf8'));
  const packages = bill.components.map(({ purl }) => purl);
  for (const one of ['sqlx ', 'tokio ', 'go.k6.io/k6/v2 ']) assert.ok(texts.includes(one), `no text of ${one}`);
  for (const one of ['pkg:cargo/sqlx@', 'pkg:golang/go.k6.io/k6/v2@', 'pkg:generic/redis@']) assert.ok(packages.some((purl) => purl.startsWith(one)), `no ${one}`);
  assert.equal(bill.metadata.component.version, version);

  // The sources of each module whose licence is the AGPL are there.
  const sources = await readdir(join(here, 'sources'));
  assert.ok(sources.includes(`k6-barrier-${version}.tar.gz`), sources.join(' '));
  const copyleft = bill.components.filter(({ licenses }) => licenses?.some(({ expression }) => expression.includes('AGPL')));
  assert.ok(copyleft.length > 0);
  for (const module of copyleft) assert.ok(sources.includes(`${module.name.replaceAll('/', '-')}-${module.version}.zip`), `${module.name}: ${sources.join(' ')}`);

  // Pages lead to nothing that was left behind; tests, which are for those who have a checkout, they may name.
  const dead = [];
  for (const page of (await readdir(here, { recursive: true })).filter((file) => file.endsWith('.md') && !file.startsWith('sources/') && !file.startsWith('licences/'))) {
    const text = (await readFile(join(here, page), 'utf8')).replaceAll(/^\s*```[^]*?^\s*```$/gm, '');
    for (const [, link] of text.matchAll(/(?:\]\(|src(?:set)?=")([^)\s"#]+)/g)) {
      if (!/^[a-z]+:/.test(link) && !existsSync(join(here, dirname(page), link))) dead.push(`${page}: ${link}`);
    }
  }
  assert.deepEqual(dead, []);
});

/** A folder with the tools of a shell, and without servers. */
async function shellTools(place) {
  const tools = join(place, 'tools');
  await mkdir(tools);
  for (const name of 'cat chmod cp dirname env find head id ln mkdir mktemp mv printenv readlink rm sh tail tr'.split(' ')) {
    await symlink((await run('bash', ['-c', `command -v ${name}`])).trim(), join(tools, name));
  }
  return tools;
}

test('an archive is not made of what is not committed', async (t) => {
  const here = await folder(t);
  await run('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, join(here, 'clone')]);
  await writeFile(join(here, 'clone/bench/runner/src/new.rs'), '// not committed\n');
  await assert.rejects(promisify(execFile)('scripts/archive.sh', ['v0.0.1', here], { cwd: join(here, 'clone') }), ({ stderr }) => {
    assert.match(stderr, /there are changes that are not committed, .*bench\/runner\/src\/new\.rs/);
    return true;
  });
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
