// Removes each rule of the process's side (ledger and session) once and makes sure that the model test notices.
// The rules of the store's side are removed by the model test itself, which can change the script while it runs.
//
//   node scripts/remove-rules.mjs [TEXT]     only rules whose description holds TEXT
//
// Works on a copy below .cache; nothing in the tree is touched.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const copy = join(root, '.cache', 'rules');
const source = (...parts) => join('rust-core', 'core', 'src', ...parts);

const rules = [
  {
    rule: 'the ledger decides which outcome is first',
    file: source('ledger.rs'),
    text: 'if stands && !(self.cyclic',
    without: 'if stands && false && !(self.cyclic',
  },
  {
    rule: 'a participant with an outcome in the open phase leaves from the next one',
    file: source('ledger.rs'),
    text: 'Some(own) if leave && own.phase == open => open.next(),',
    without: 'Some(own) if leave && own.phase == open => phase,',
  },
  {
    rule: 'what was sent before is marked when it is sent again',
    file: source('ledger.rs'),
    text: 'queued.resend = true;',
    without: 'queued.resend = false;',
  },
  {
    rule: 'what no answer came for is sent again',
    file: source('session', 'exchange.rs'),
    text: 'InFlight::Outcomes(batch) => self.ledger.take_back(batch),',
    without: 'InFlight::Outcomes(batch) => drop(batch),',
  },
  {
    rule: 'outcomes and leaves are replayed after every opening',
    file: source('session', 'learn.rs'),
    text: 'self.ledger.replay();',
    without: '',
  },
  {
    rule: 'the last release seen is replayed',
    file: source('session', 'exchange.rs'),
    text: 'last_release: self.releases.values().next_back().cloned(),',
    without: 'last_release: None,',
  },
  {
    rule: 'all that was on its way goes again when the connection is lost',
    file: source('session', 'exchange.rs'),
    text: 'while let Some(last) = self.in_flight.pop_back() {',
    without: 'if let Some(last) = self.in_flight.pop_back() {',
  },
  {
    rule: 'a store that holds less than it acknowledged is told again',
    file: source('session', 'exchange.rs'),
    text: 'self.check_memory(&reply);',
    without: '',
  },
];

function model() {
  const test = ['test', '--quiet', '--package', 'barrier-core', '--test', 'model'];
  return spawnSync('cargo', [...test, '--', 'the_memory_store', 'a_release_seen'], {
    cwd: copy,
    encoding: 'utf8',
    env: { ...process.env, CARGO_TARGET_DIR: join(root, '.cache', 'rules-target'), K6_BARRIER_MODEL_RUNS: '10000' },
    timeout: 600_000,
  });
}

function last(text, lines) {
  return text.trim().split('\n').slice(-lines).join('\n');
}

rmSync(copy, { recursive: true, force: true });
mkdirSync(copy, { recursive: true });
const wanted = ['Cargo.toml', 'Cargo.lock', 'clippy.toml', 'rust-toolchain.toml', 'rust-core', 'bench'];
for (const name of wanted) cpSync(join(root, name), join(copy, name), { recursive: true });

const whole = model();
if (whole.status !== 0) {
  console.error(`the model test fails with all rules in place:\n${last(whole.stdout + whole.stderr, 20)}`);
  process.exit(1);
}

const chosen = rules.filter(({ rule }) => rule.includes(process.argv[2] ?? ''));
let unnoticed = 0;
for (const { rule, file, text, without } of chosen) {
  const path = join(copy, file);
  const good = readFileSync(path, 'utf8');
  if (good.split(text).length !== 2) {
    console.error(`${file} does not hold once: ${text}`);
    process.exit(1);
  }
  writeFileSync(path, good.replace(text, without));
  const result = model();
  writeFileSync(path, good);
  const output = result.stdout + result.stderr;
  if (/^error(\[E\d+\])?: (?!test failed)/m.test(output)) {
    console.error(`without "${rule}" the core does not compile:\n${last(output, 20)}`);
    process.exit(1);
  }
  const noticed = result.status !== 0;
  unnoticed += noticed ? 0 : 1;
  console.log(`${noticed ? 'noticed  ' : 'UNNOTICED'} ${rule}`);
}
console.log(`${chosen.length - unnoticed} passed, ${unnoticed} failed`);
process.exit(unnoticed === 0 ? 0 : 1);
