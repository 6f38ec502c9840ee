// What .ci/run, `make acceptance` and the workflow run. The make of .ci/run is a small script here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '../../..');
const read = (...path) => readFileSync(join(ROOT, ...path), 'utf8');

/** Runs a copy of .ci/run with a make that does this, and cuts its seconds out of what it prints. */
function ci(t, make, ...parts) {
  const folder = mkdtempSync(join(tmpdir(), 'ci-'));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(join(ROOT, '.ci'), join(folder, '.ci'), { recursive: true });
  for (const name of ['rust-toolchain.toml', 'Cargo.toml']) cpSync(join(ROOT, name), join(folder, name));
  mkdirSync(join(folder, 'bin'));
  for (const [name, script] of [['make', make], ['cargo', 'true']]) {
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, 'bin', name), 0o755);
  }
  const env = { ...process.env, PATH: `${join(folder, 'bin')}:${process.env.PATH}` };
  const { status, stdout } = spawnSync('bash', [join(folder, '.ci/run'), ...parts], { env, encoding: 'utf8' });
  return { status, lines: stdout.trimEnd().split('\n').map((line) => line.replace(/^ *\d+ s {2}/, 'S ').trimEnd()) };
}

test('the seconds of each part are printed at the end', (t) => {
  const { status, lines } = ci(t, '[ "$*" = "--silent ci-parts" ] && echo one two || echo "made $*"');
  const row = (part, end) => `S ${part.padEnd(20)} ${end}`;
  assert.equal(status, 0);
  assert.deepEqual(lines, ['made one', 'made two', 'ci: the seconds of each part', row('one', 'passed'), row('two', 'passed'), 'S all', 'ci: passed: one two']);
});

test('a part that fails keeps no other from running, and the first one\'s code is that of the end', (t) => {
  const { status, lines } = ci(t, 'case $1 in two) exit 7;; three) exit 8;; esac', 'one', 'two', 'three', 'four');
  assert.equal(status, 7);
  assert.deepEqual(lines.map((line) => line.replace(/ +/g, ' ')), ['ci: the seconds of each part', 'S one passed', 'S two failed', 'S three failed', 'S four passed', 'S all']);
});

test('without a build nothing else is run', (t) => {
  const { status, lines } = ci(t, '[ "$1" != build ] || exit 2', 'build', 'two');
  assert.equal(status, 2);
  assert.deepEqual(lines.map((line) => line.replace(/ +/g, ' ')), ['ci: the seconds of each part', 'S build failed', 'S all']);
});

test('a signal ends it with the table as well', (t) => {
  const { status, lines } = ci(t, 'kill -TERM $PPID', 'one', 'two');
  assert.equal(status, 143);
  assert.deepEqual(lines.slice(1).map((line) => line.replace(/ +/g, ' ')), ['S one ended', 'S all']);
});

/** What make prints, without what a make that runs this test hands on. */
function make(...args) {
  const { MAKEFLAGS, MFLAGS, MAKELEVEL, SUITE, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync('make', ['--silent', ...args], { cwd: ROOT, encoding: 'utf8', env });
  return { status, stdout, stderr };
}

test('the workflow has a job for each part of make acceptance', () => {
  const [, jobs] = /^ +part: \[(.*)\]$/m.exec(read('.github/workflows/ci.yml'));
  assert.deepEqual(jobs.split(', '), make('acceptance-parts').stdout.trim().split(' '));
  const suites = readdirSync(join(ROOT, 'bench/suites')).map((file) => `suite-${file.replace('.toml', '')}`);
  assert.deepEqual(suites.filter((suite) => !jobs.includes(suite)), []);
});

test('an unknown suite is refused before anything is built, with the known ones', () => {
  const { status, stdout, stderr } = make('bench', 'SUITE=waiting-rom');
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /there is no suite "waiting-rom" in bench\/suites; there are: .*waiting-room/);
});

test('make bench builds the runner and what its suite starts, and nothing else', () => {
  for (const file of readdirSync(join(ROOT, 'bench/suites')).filter((name) => name.endsWith('.toml'))) {
    const suite = file.replace('.toml', '');
    const starts = [...read('bench/suites', file).matchAll(/^start = \[\s*"([^"/]+)"/gm)].map(([, program]) => program);
    const built = /cargo build (.*)/g;
    const [line] = [...make('--dry-run', 'bench', `SUITE=${suite}`).stdout.matchAll(built)].map(([, line]) => line).filter((line) => line.includes('barrier-bench'));
    const packages = [...line.matchAll(/--package (\S+)/g)].map(([, name]) => name);
    assert.deepEqual(packages.sort(), ['barrier-bench', ...new Set(starts)].sort(), suite);
  }
});

test('what phase 0 times is built before the suite begins, and PostgreSQL unpacked; other suites and phases build nothing more', () => {
  const line = (text, ...args) => make('--dry-run', 'bench', ...args).stdout.split('\n').findIndex((one) => one.includes(text));
  const warm = 'phase-tools.sh 0 warm';
  for (const args of [[], ['ARGS=--quick'], ['SCENARIO=phase-00'], ['SCENARIO=phase-03,phase-00'], ['ARGS=--scenario phase-00']]) {
    const [built, run] = [warm, 'bin/barrier-bench run'].map((text) => line(text, 'SUITE=phase-gates', ...args));
    assert.ok(built >= 0 && built < run, `${args}: ${built}, ${run}`);
  }
  for (const args of [['SUITE=phase-gates', 'SCENARIO=phase-03'], ['SUITE=phase-gates', 'ARGS=--scenario phase-03'], ['SUITE=chat']]) {
    assert.equal(line(warm, ...args), -1, `${args}`);
  }
  assert.ok(line('scripts/ensure-postgres.sh', 'SUITE=phase-gates') >= 0);
});

test('the workflow of the phase gates has a job for each phase, with faults where somebody starts it', () => {
  const text = read('.github/workflows/mastery-gates.yml');
  const [, all, usual] = /'(\[.*?\])' \|\| '(\[.*?\])'/.exec(text);
  const phases = [...read('bench/suites/phase-gates.toml').matchAll(/^id = "phase-(\d\d)"$/gm)].map(([, phase]) => phase);
  assert.deepEqual(JSON.parse(all), phases);
  assert.equal(phases.length, 16);
  assert.deepEqual(JSON.parse(usual), phases.filter((phase) => phase !== '09' && phase !== '13'));
  for (const [, action] of text.matchAll(/uses: (\S+)/g)) {
    assert.match(action, /@[0-9a-f]{40}$/, 'pinned by its hash');
  }
  const folder = 'k6-results-phase-${{ matrix.phase }}';
  assert.ok(text.includes(`ARGS="--ci ${folder}"`) && text.includes(`name: ${folder}`) && text.includes(`path: ${folder}`));
  assert.equal(text.match(/if: always\(\)/g).length, 2);
});
