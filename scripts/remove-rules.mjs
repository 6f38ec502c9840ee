// Removes each rule once and makes sure that somebody notices: the fault runs, and for the process's side (ledger and session)
// the model test too. That one removes the rules of the store's side by itself, and has no engine.
//
//   node scripts/remove-rules.mjs [TEXT]     only rules whose description holds TEXT
//
// The rules are in rust-core/core/tests/rules.json; those with `fault_runs` false are about what no fault run does, and are left to
// the model. Works on a copy below .cache; nothing in the tree is touched.

import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const copy = join(root, '.cache', 'rules');
const rules = JSON.parse(readFileSync(join(root, 'rust-core', 'core', 'tests', 'rules.json'), 'utf8'));

/** So many fault runs have their chance to notice: most rules are missed within sixty, one after more than a thousand. */
const FAULT_RUNS = process.env.K6_BARRIER_FAULT_RUNS ?? '2000';

/** So many have to be sound with all rules in place, before any is removed. */
const SOUND_RUNS = '20';

const environment = {
  ...process.env,
  CARGO_TARGET_DIR: join(root, '.cache', 'rules-target'),
  K6_BARRIER_MODEL_RUNS: process.env.K6_BARRIER_MODEL_RUNS ?? '10000',
  K6_BARRIER_FAULT_FINDINGS: '1',
  RUST_BACKTRACE: '0',
};

function run(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: copy,
    encoding: 'utf8',
    env: { ...environment, ...env },
    timeout: 3_600_000,
    maxBuffer: 1 << 28,
  });
  if (error) {
    throw error;
  }
  return { passed: status === 0, output: stdout + stderr };
}

function stop(why, output) {
  console.error(`${why}:\n${output.trim().split('\n').slice(-20).join('\n')}`);
  process.exit(1);
}

/** Builds both tests; their programs by name. */
function build(what) {
  const args = ['test', '--quiet', '--no-run', '--message-format', 'json', '--package', 'barrier-core', '--test', 'model', '--test', 'fault_runs'];
  const { passed, output } = run('cargo', args);
  if (!passed) {
    stop(`${what} the core does not compile`, output);
  }
  const programs = {};
  for (const line of output.split('\n').filter((text) => text.startsWith('{'))) {
    const { executable, target } = JSON.parse(line);
    if (executable) {
      programs[target.name] = executable;
    }
  }
  return programs;
}

const model = (program) => run(program, ['--quiet', 'the_memory_store_keeps', 'a_release_seen']);
const faults = (program, runs = FAULT_RUNS) => run(program, ['--nocapture'], { K6_BARRIER_FAULT_RUNS: runs });

/** The seed of the first run that went wrong. */
const seed = (output) => /^seed (\d+) went wrong/m.exec(output)?.[1] ?? 'that got stuck';

/** A program whose script lacks the rule. The script is text in it, so that nothing needs to be compiled. */
function patched(program, { rule, text, without }) {
  const bytes = readFileSync(program);
  const replacement = Buffer.alloc(Buffer.byteLength(text), ' ');
  if (Buffer.byteLength(without) > replacement.length) {
    throw new Error(`"${rule}": what stands there without it must not be longer`);
  }
  replacement.write(without);
  let places = 0;
  for (let at; (at = bytes.indexOf(text)) >= 0; places++) {
    replacement.copy(bytes, at);
  }
  if (places === 0) {
    throw new Error(`"${rule}": the script does not hold: ${text}`);
  }
  const path = join(copy, 'without-a-rule');
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  return path;
}

rmSync(copy, { recursive: true, force: true });
mkdirSync(copy, { recursive: true });
const wanted = ['Cargo.toml', 'Cargo.lock', 'clippy.toml', 'rust-toolchain.toml', 'rust-core', 'bench'];
for (const name of wanted) cpSync(join(root, name), join(copy, name), { recursive: true });

const whole = build('with all rules in place');
// What fails by itself would notice every rule.
for (const [what, { passed, output }] of [
  ['the model test fails', model(whole.model)],
  ['the fault runs fail', faults(whole.fault_runs, SOUND_RUNS)],
]) {
  if (!passed) {
    stop(`${what} with all rules in place`, output);
  }
}

const chosen = rules.filter(({ rule }) => rule.includes(process.argv[2] ?? ''));
let unnoticed = 0;
let needed; // the model's own test of the rules of the script, once
for (const rule of chosen) {
  const path = join(copy, 'rust-core', 'core', 'src', rule.file);
  const source = readFileSync(path, 'utf8');
  if (source.split(rule.text).length !== 2) {
    stop(`"${rule.rule}"`, `${rule.file} does not hold once: ${rule.text}`);
  }
  const by = [];
  const isScript = rule.file.endsWith('.lua');
  const isModelled = !isScript && !rule.file.startsWith('engine/');
  const isInFaultRuns = rule.fault_runs !== false;
  if (isScript && !isInFaultRuns) {
    needed ??= run(whole.model, ['--quiet', 'each_rule_of_the_script_is_needed']);
    unnoticed += needed.passed ? 0 : 1;
    console.log(`${needed.passed ? 'noticed  ' : 'UNNOTICED'} ${rule.rule} (${needed.passed ? 'the model' : 'by nobody'})`);
    continue;
  }
  let program;
  if (isScript) {
    program = patched(whole.fault_runs, rule);
  } else {
    writeFileSync(path, source.replace(rule.text, rule.without));
    const programs = build(`without "${rule.rule}"`);
    if (isModelled && !model(programs.model).passed) {
      by.push('the model');
    }
    program = programs.fault_runs;
  }
  const result = isInFaultRuns ? faults(program) : undefined;
  writeFileSync(path, source);
  if (result && !result.passed) {
    by.push(`fault run ${seed(result.output)}`);
  }
  const everywhere = by.length === Number(isModelled) + Number(isInFaultRuns);
  unnoticed += everywhere ? 0 : 1;
  console.log(`${everywhere ? 'noticed  ' : 'UNNOTICED'} ${rule.rule} (${by.join(', ') || 'by nobody'})`);
}
console.log(`${chosen.length - unnoticed} passed, ${unnoticed} failed`);
process.exit(unnoticed === 0 ? 0 : 1);
