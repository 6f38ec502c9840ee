// The chat suite's wrappers: which call of the runner each word is. What is tested is the call, so the runner is a program that
// notes it; js/test/e2e/wrappers.test.mjs has a real one.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '../../..');
const RUN = 'run-slo-testing.sh';
const VALIDATE = 'validate-slo-setup.sh';
const ROLLBACK = 'scripts/rollback.sh';
const EXAMPLE = '.env.test.example';
/** What the runner, compose.yaml and nobody else gives to what they start. */
const OWN = 'io.k6-barrier.suite=chat';

/** The wrappers in a folder and on a path of a test's own. */
class Machine {
  constructor(t) {
    this.root = realpathSync(mkdtempSync(join(tmpdir(), 'wrappers-')));
    t.after(() => rmSync(this.root, { recursive: true }));
    for (const script of [RUN, VALIDATE, ROLLBACK, 'scripts/lib/settings.sh', EXAMPLE]) cpSync(join(ROOT, script), join(this.root, script));
    mkdirSync(join(this.root, 'path'));
    for (const name of ['bash', 'cat', 'cp', 'df', 'dirname', 'du', 'env', 'sed']) {
      const folder = process.env.PATH.split(delimiter).find((folder) => existsSync(join(folder, name)));
      symlinkSync(join(folder ?? assert.fail(`there is no ${name} on the path`), name), join(this.root, 'path', name));
    }
  }

  /** Puts a program onto the path that notes how it was called. */
  put(name, code = 0) {
    const file = join(this.root, 'path', name);
    writeFileSync(file, `#!/usr/bin/env bash\necho "${name} $* at \${BASE_URL-}" >>'${this.root}/calls'\nexit ${code}\n`);
    chmodSync(file, 0o755);
  }

  /**
   * Puts a container engine onto the path that has what is told, by kind: names, each with its label. It lists those whose label is
   * asked for, or all where none is; what it is asked beside that is noted.
   */
  putEngine(has) {
    const file = join(this.root, 'path', 'docker');
    const listed = (words, kind) =>
      Object.entries(has[kind] ?? {}).map(([name, label]) => `"${words} --filter label=${label}" | "${words}") echo '${name}' ;;&\n`).join('');
    const cases = listed('ps --all --quiet', 'containers') + listed('volume ls --quiet', 'volumes') + listed('network ls --quiet', 'networks');
    const asked = "info | 'ps '* | 'volume ls '* | 'network ls '*) ;;\n";
    writeFileSync(file, `#!/usr/bin/env bash\ncase "$*" in\n${cases}${asked}*) echo "docker $*" >>'${this.root}/calls' ;;\nesac\n`);
    chmodSync(file, 0o755);
  }

  /** Calls a wrapper from another folder. */
  call(script, args = [], environment = {}) {
    const env = { PATH: join(this.root, 'path'), ...environment };
    return spawnSync(join(this.root, script), args, { cwd: tmpdir(), env, encoding: 'utf8' });
  }

  get calls() {
    const file = join(this.root, 'calls');
    return existsSync(file) ? readFileSync(file, 'utf8').replace(/\n$/, '').split('\n') : [];
  }
}

const CALLS = {
  'run-health': 'run chat --scenario health',
  'run-websocket': 'run chat --scenario websocket-streaming',
  'run-comprehensive': 'run chat --scenario comprehensive',
  'run-detached': 'run chat --detach',
  status: 'status chat',
  attach: 'attach chat',
  'start-monitoring': 'monitor chat start',
  'stop-monitoring': 'monitor chat stop',
  'dashboard-url': 'monitor chat url dashboard',
  'prometheus-url': 'monitor chat url prometheus',
};

test('each word is one call of the runner, whose exit code is handed on', (t) => {
  const machine = new Machine(t);
  machine.put('barrier-bench', 3);
  for (const [index, [word, call]] of Object.entries(CALLS).entries()) {
    const { status, stderr } = machine.call(RUN, [word]);
    assert.equal(status, 3, stderr);
    assert.equal(machine.calls.length, index + 1, 'one call');
    assert.equal(machine.calls.at(-1), `barrier-bench ${call} at http://localhost:4000`);
  }
  machine.call(RUN, ['run-health'], { BASE_URL: 'http://localhost:4100' });
  assert.match(machine.calls.at(-1), / at http:\/\/localhost:4100$/);
});

test('the usage names each word, and anything else is refused without a call', (t) => {
  const machine = new Machine(t);
  machine.put('barrier-bench');
  for (const [args, expected] of [
    [[], 'takes one word, received 0'],
    [['run-helth'], '"run-helth" is no verb'],
    [['run-health', 'now'], 'takes one word, received 2: run-health now'],
  ]) {
    const { status, stderr } = machine.call(RUN, args);
    assert.equal(status, 2);
    assert.ok(stderr.includes(expected), stderr);
    const words = stderr.split('\n').flatMap((line) => /^ {2}([a-z-]+) /.exec(line)?.[1] ?? []);
    assert.deepEqual(words.sort(), Object.keys(CALLS).sort());
  }
  assert.deepEqual(machine.calls, []);
});

test('without a runner both say how to get one', (t) => {
  const machine = new Machine(t);
  machine.put('k6');
  const run = machine.call(RUN, ['run-health']);
  assert.equal(run.status, 2);
  assert.match(run.stderr, /barrier-bench is neither in bin\/ nor on the PATH: run 'make build'/);
  const validate = machine.call(VALIDATE);
  assert.equal(validate.status, 2);
  assert.match(validate.stdout, /^missing {2}barrier-bench: run 'make build'/m);
  assert.doesNotMatch(validate.stdout, /^missing {2}k6/m);
});

test('a set-up without k6 is named, and nothing else is asked', (t) => {
  const machine = new Machine(t);
  machine.put('barrier-bench');
  const { status, stdout } = machine.call(VALIDATE);
  assert.equal(status, 2);
  assert.match(stdout, /^missing {2}k6: run 'make k6'/m);
  assert.match(stdout, /^note {5}prometheus is not on the PATH/m);
  assert.deepEqual(machine.calls, []);
});

test('a set-up with all programs is looked at by the runner, whose exit code counts', (t) => {
  const machine = new Machine(t);
  for (const name of ['k6', 'prometheus']) machine.put(name);
  for (const code of [0, 2]) {
    machine.put('barrier-bench', code);
    assert.equal(machine.call(VALIDATE).status, code);
    assert.equal(machine.calls.at(-1), 'barrier-bench doctor chat at http://localhost:4000', 'the service that the runs are at');
  }
  const { status, stderr } = machine.call(VALIDATE, ['please']);
  assert.equal(status, 2);
  assert.match(stderr, /takes no arguments, received: please/);
});

test('a file of settings counts where the environment says nothing, in each wrapper', (t) => {
  const machine = new Machine(t);
  for (const name of ['barrier-bench', 'k6', 'prometheus']) machine.put(name);
  writeFileSync(join(machine.root, '.env.test'), '# where\nexport BASE_URL="http://localhost:4200"  \nVUS=\n');
  for (const [script, args] of [
    [RUN, ['run-health']],
    [VALIDATE, []],
  ]) {
    machine.call(script, args);
    assert.match(machine.calls.at(-1), / at http:\/\/localhost:4200$/);
    machine.call(script, args, { BASE_URL: 'http://localhost:4300' });
    assert.match(machine.calls.at(-1), / at http:\/\/localhost:4300$/);
  }
});

test('the example of settings has each variable of the suite, and changes none', () => {
  const example = readFileSync(join(ROOT, EXAMPLE), 'utf8');
  const suite = readFileSync(join(ROOT, 'bench/suites/chat.toml'), 'utf8');
  const declared = [...suite.matchAll(/^\[env\.([A-Z0-9_]+)\]$/gm)].map(([, name]) => name);
  const named = [...example.matchAll(/^([A-Z0-9_]+)=(.*)$/gm)];
  assert.deepEqual(named.filter(([, , value]) => value !== ''), []);
  const others = ['GRAFANA_PASSWORD', 'K6_PROMETHEUS_RW_SERVER_URL'];
  assert.deepEqual(named.map(([, name]) => name).sort(), [...declared, ...others].sort());
});

test('a rollback removes what has the label, step by step, and says beforehand what it would do', (t) => {
  const machine = new Machine(t);
  machine.put('barrier-bench');
  machine.putEngine({
    containers: { c1: OWN, grafana: 'maintainer=somebody', c2: OWN, 'fw-k6-grafana-1': 'io.k6-barrier.suite=m2' },
    volumes: { 'fw-k6_evidence': OWN, 'fw-k6_grafana-storage': OWN, 'grafana-storage': 'maintainer=somebody' },
    networks: { 'k6-tests_k6-test': 'maintainer=somebody' },
  });
  const dry = machine.call(ROLLBACK, ['--dry-run', 'all']);
  assert.equal(dry.status, 0, dry.stderr);
  assert.match(dry.stdout, /^would {4}containers: docker rm --force c1 c2$/m);
  assert.match(dry.stdout, /^would {4}volumes: docker volume rm fw-k6_grafana-storage$/m);
  assert.match(dry.stdout, /^none {5}networks$/m);
  assert.deepEqual(machine.calls, [], 'nothing was done');
  assert.ok(!existsSync(join(machine.root, '.env.test')));

  const done = machine.call(ROLLBACK, ['all']);
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.deepEqual(machine.calls, [
    'barrier-bench monitor chat stop at ',
    'barrier-bench down chat at ',
    'docker rm --force c1 c2',
    'docker volume rm fw-k6_grafana-storage',
  ]);
  assert.equal(readFileSync(join(machine.root, '.env.test'), 'utf8'), readFileSync(join(ROOT, EXAMPLE), 'utf8'));
});

test('a rollback knows its steps, and looks at what is left', (t) => {
  const machine = new Machine(t);
  machine.put('barrier-bench', 2);
  for (const [args, expected] of [
    [[], 'takes a step, received none'],
    [['--dry-run'], 'takes a step, received none'],
    [['image'], '"image" is no step; allowed: all, monitoring, services, containers, volumes, networks, settings'],
    [['check', 'all'], 'check stands alone, received: check all'],
  ]) {
    const { status, stderr } = machine.call(ROLLBACK, args);
    assert.equal(status, 2);
    assert.ok(stderr.includes(expected), stderr);
  }
  machine.putEngine({ containers: { c1: OWN, grafana: 'maintainer=somebody' }, volumes: { 'fw-k6_evidence': OWN }, networks: { bridge: '' } });
  const { status, stdout } = machine.call(ROLLBACK, ['check']);
  assert.equal(status, 1, stdout);
  assert.match(stdout, /^left {5}containers: scripts\/rollback\.sh containers$/m);
  assert.doesNotMatch(stdout, /volumes|the monitor/);
  assert.match(stdout, /^disk /m);
});
