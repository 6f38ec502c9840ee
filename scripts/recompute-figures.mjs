#!/usr/bin/env node
// Recomputes the figures of a report from its evidence files, with none of the runner's code, and compares them with
// figures.json: node scripts/recompute-figures.mjs evidence/k6/<timestamp>
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = process.argv[2];
const read = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

// t with P(|T| < t) = 0.95: with x = sqrt(v) tan(a), Student's density becomes cos(a)^(v - 1).
function student(v) {
  const area = (to, n = 2000) => sum(Array.from({ length: n }, (_, i) => Math.cos(((i + 0.5) * to) / n) ** (v - 1))) * (to / n);
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i += 1) {
    const middle = (low + high) / 2;
    [low, high] = area(middle) / area(Math.PI / 2) < 0.95 ? [middle, high] : [low, middle];
  }
  return Math.sqrt(v) * Math.tan(low);
}

const latest = new Map();
/** The last attempt at each block: only its runs are side by side. */
const blocks = new Map();
for (const file of readdirSync(root, { recursive: true }).filter((path) => /(^|\/)meta\.json$/.test(path)).sort()) {
  const [folder, meta] = [join(root, dirname(file)), read(root, file)];
  const run = { ...meta, folder, verdict: existsSync(join(folder, 'verdict.json')) ? read(folder, 'verdict.json').verdict : 'NOT_RUN' };
  // Builds are compared within each variant.
  if (meta.build?.base) {
    run.point = { ...meta.point, ...(meta.variant ? { variant: meta.variant } : {}) };
    run.variant = meta.build.name;
  }
  run.block = JSON.stringify([run.scenario, run.point ?? {}, run.cycle, run.discarded ?? false]);
  run.blockAttempt = meta.blockAttempt ?? meta.attempt ?? 1;
  blocks.set(run.block, Math.max(blocks.get(run.block) ?? 0, run.blockAttempt));
  const key = JSON.stringify([run.block, run.variant]);
  if ((latest.get(key)?.attempt ?? 0) <= (meta.attempt ?? 1)) {
    latest.set(key, run);
  }
}
const counted = [...latest.values()].filter(
  ({ block, blockAttempt, discarded, quick, verdict, observed }) =>
    blockAttempt === blocks.get(block) && !discarded && !quick && !observed?.cut && ['PASS', 'FAIL'].includes(verdict),
);

let checked = 0;
let wrong = 0;
function same(what, found, expected) {
  checked += 1;
  if (!(Math.abs(found - expected) <= 1e-6 * Math.abs(expected))) {
    wrong += 1;
    console.error(`${what}: figures.json has ${found}, the evidence gives ${expected}`);
  }
}

for (const cell of read(root, 'figures.json').comparisons) {
  const runs = counted.filter(({ scenario, point }) => {
    const shown = Object.entries(point ?? {}).map(([name, value]) => `${name}=${value}`).join(' ');
    return scenario === cell.scenario && shown === cell.point;
  });
  const values = (variant) => {
    const own = runs.filter((run) => run.variant === variant);
    return new Map(own.map(({ cycle, folder }) => [cycle, read(folder, 'derived.json')[cell.metric]]).filter(([, value]) => value > 0));
  };
  for (const { name, n = 0, ...spread } of cell.variants) {
    const own = [...values(name).values()];
    same(`${cell.metric} of ${name}, cycles`, n, own.length);
    if (own.length > 0) {
      same(`${cell.metric} of ${name}, median`, spread.median, median(own));
      same(`${cell.metric} of ${name}, min`, spread.min, Math.min(...own));
      same(`${cell.metric} of ${name}, max`, spread.max, Math.max(...own));
    }
  }
  for (const { variant, base, ratio } of cell.comparisons.filter((comparison) => comparison.ratio)) {
    const bases = values(base);
    const logs = [...values(variant)].filter(([cycle]) => bases.has(cycle)).map(([cycle, value]) => Math.log(value / bases.get(cycle)));
    const mean = sum(logs) / logs.length;
    const error = Math.sqrt(sum(logs.map((log) => (log - mean) ** 2)) / (logs.length - 1) / logs.length);
    const half = student(logs.length - 1) * error;
    same(`${cell.metric} of ${variant} / ${base}, cycles`, ratio.n, logs.length);
    same(`${cell.metric} of ${variant} / ${base}`, ratio.value, Math.exp(mean));
    same(`${cell.metric} of ${variant} / ${base}, low`, ratio.low, Math.exp(mean - half));
    same(`${cell.metric} of ${variant} / ${base}, high`, ratio.high, Math.exp(mean + half));
  }
}
console.log(`${checked - wrong} of ${checked} figures follow from the evidence of ${counted.length} runs`);
process.exitCode = wrong > 0 || checked === 0 ? 1 : 0;
