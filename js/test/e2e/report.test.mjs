/** The report of a real plan: its figures follow from the evidence, and a browser shows it without asking for anything. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { chromium } from 'playwright-core';

const root = resolve(fileURLToPath(import.meta.url), '../../../..');
const BENCH = process.env.BARRIER_BENCH_BIN ?? join(root, 'bin/barrier-bench');
const RECOMPUTE = join(root, 'scripts/recompute-figures.mjs');
const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium-headless-shell';
const VARIANTS = ['zset', 'hash'];

const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGINT')));

let place;
/** The folder of a real plan of two cycles. */
let plan;
/** The same with seven cycles, made of its runs; values as given. */
let seven;

async function run(command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: `${join(root, 'bin')}:${process.env.PATH}`, HOME: place, TMPDIR: join(place, 'tmp'), BARRIER_MACHINE_LOCK: join(place, 'machine.lock'), ...env },
  });
  children.add(child);
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => (printed += chunk));
  }
  const [code] = await once(child, 'close');
  children.delete(child);
  return { code, printed };
}

const bench = (...args) => run(BENCH, args);
const recompute = (folder) => run(process.execPath, [RECOMPUTE, folder]);

async function edit(file, change) {
  const content = JSON.parse(await readFile(file, 'utf8'));
  change(content);
  await writeFile(file, JSON.stringify(content));
}

before(async () => {
  place = await mkdtemp(join(tmpdir(), 'k6-barrier-report-'));
  await mkdir(join(place, 'tmp'));
  const settings = { VUS: 10, SEATS: 2, EVENT_IDS: 'event-1', BURST_OFFSET_MS: 500 };
  const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const { code, printed } = await run(BENCH, ['run', 'waiting-room', '--scenario', 'custom', '--cycles', '2', ...set], {
    EVIDENCE_ROOT: join(place, 'evidence'),
    ...(process.env.REDIS_SERVER_BIN ? { REDIS_SERVER_BIN: process.env.REDIS_SERVER_BIN } : {}),
  });
  assert.equal(code, 0, printed);
  const [folder, ...others] = await readdir(join(place, 'evidence'));
  assert.deepEqual(others, [], printed);
  plan = join(place, 'evidence', folder);
  for (const name of ['report.html', 'report.md', 'figures.json']) {
    assert.ok(printed.includes(`${folder}/${name}`), printed);
  }
  seven = await stretched(join(place, 'seven'));
});

after(() => rm(place, { recursive: true, force: true }));

/** Copies the plan and makes seven cycles of its first; the hash is slower by a tenth, give or take. */
async function stretched(folder) {
  await cp(plan, folder, { recursive: true });
  await rm(join(folder, 'plan.json'));
  const runs = (variant) => join(folder, variant, '1/seat-limited/custom');
  for (const variant of VARIANTS) {
    for (let cycle = 1; cycle <= 7; cycle += 1) {
      const copy = join(runs(variant), `cycle-0${cycle}`);
      if (cycle > 2) {
        await cp(join(runs(variant), 'cycle-01'), copy, { recursive: true });
      }
      // As of a runner that sealed nothing: what was changed under its seal counts nowhere.
      await rm(join(copy, 'SHA256SUMS'), { force: true });
      await edit(join(copy, 'meta.json'), (meta) => {
        meta.cycle = cycle;
        delete meta.manifest;
        delete meta.planSha256;
      });
      await edit(join(copy, 'derived.json'), (derived) => {
        const luck = 20_000 + 900 * Math.sin(5 * cycle);
        derived.drainMs = variant === 'hash' ? luck * (1.1 + 0.01 * Math.cos(9 * cycle)) : luck;
      });
    }
  }
  const { code, printed } = await bench('report', folder);
  assert.equal(code, 0, printed);
  return folder;
}

const figures = async (folder) => JSON.parse(await readFile(join(folder, 'figures.json'), 'utf8'));

test('two cycles give values and no verdict', async () => {
  const { comparisons, runs } = await figures(plan);
  assert.deepEqual(comparisons.map(({ metric }) => metric), ['drainMs', 'testRunDurationMs']);
  for (const { variants, comparisons: [hash] } of comparisons) {
    assert.deepEqual(variants.map(({ name, n }) => [name, n]), [['zset', 2], ['hash', 2]]);
    assert.equal(hash.verdict.text, 'no verdict: 2 valid cycles, 4 missing of the 6 that it takes');
  }
  assert.ok(runs.every(({ counts, verdict }) => counts && verdict === 'PASS'), JSON.stringify(runs));
});

test('every figure follows from the evidence, by another program', async () => {
  for (const folder of [plan, seven]) {
    const { code, printed } = await recompute(folder);
    assert.equal(code, 0, printed);
    assert.match(printed, /^24 of 24 figures/);
  }
  const [drain] = (await figures(seven)).comparisons;
  assert.match(drain.comparisons[0].verdict.text, /^hash is slower by 10(\.\d)? % \[/);

  const forged = join(place, 'forged');
  await cp(seven, forged, { recursive: true });
  await edit(join(forged, 'figures.json'), ({ comparisons }) => (comparisons[0].comparisons[0].ratio.low *= 1.001));
  const { code, printed } = await recompute(forged);
  assert.equal(code, 1, printed);
});

test('a browser shows the report in both themes and sizes, and asks for nothing', async () => {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'], timeout: 120_000 });
  try {
    const inks = [];
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 360]) {
        const page = await browser.newPage({ colorScheme, viewport: { width, height: 800 } });
        page.setDefaultTimeout(120_000);
        const [requests, complaints] = [[], []];
        page.on('request', (request) => requests.push(request.url()));
        page.on('console', (message) => complaints.push(message.text()));
        const address = pathToFileURL(join(seven, 'report.html')).href;
        await page.goto(address);
        assert.deepEqual(requests, [address]);
        assert.deepEqual(complaints, []);

        const shown = await page.evaluate(() => ({
          width: document.documentElement.scrollWidth,
          headline: document.querySelector('.card strong').textContent,
          answer: document.querySelector('.answer').textContent,
          // What stands above the fold: the answer with its picture, and no table.
          first: [...document.querySelectorAll('.first svg, .first table')].map((part) => ({
            name: part.tagName,
            top: part.getBoundingClientRect().top,
            marks: [...part.querySelectorAll('text')].map((text) => text.textContent.trim()),
            hover: [...part.querySelectorAll('.hover title')].map((title) => title.textContent),
          })),
          // Scrolled to its end, a table that is too wide still shows what its rows are about.
          fixed: [...document.querySelectorAll('#cells .wide')].map((table) => {
            table.scrollLeft = table.scrollWidth;
            const head = table.querySelector('tbody th').getBoundingClientRect();
            const ends = table.scrollWidth > table.clientWidth ? table.scrollLeft > 0 : true;
            return { ends, left: head.left - table.getBoundingClientRect().left, share: head.width / table.clientWidth };
          }),
          hover: [...document.querySelectorAll('.charts svg')].map((svg) => svg.querySelectorAll('.hover title').length),
          rows: document.querySelectorAll('#cells tbody tr').length,
          charts: [...document.querySelectorAll('figure')].map((figure) => ({
            caption: figure.querySelector('figcaption').textContent,
            lines: figure.querySelectorAll('svg polyline').length,
            marks: figure.querySelectorAll('svg circle, svg polygon').length,
            size: figure.querySelector('svg').getBoundingClientRect().width,
          })),
          ink: getComputedStyle(document.querySelector('svg text')).fill,
        }));
        assert.ok(shown.width <= width, `${shown.width} px wide on a screen of ${width}`);
        assert.match(shown.headline, /^hash is slower by 10(\.\d)?\u00a0% \[/);
        assert.match(shown.answer, /^zset: 10 of 10 users let in .* s after the events opened \(median of 7 runs\); hash: /);
        const [picture, ...others] = shown.first;
        assert.deepEqual([picture.name, others], ['svg', []]);
        assert.ok(width < 800 || picture.top < 400, `${picture.top}`);
        assert.ok(picture.marks.includes('the gate opens'), JSON.stringify(picture.marks));
        assert.ok(picture.hover.some((text) => /zset: \d/.test(text)), JSON.stringify(picture.hover));
        assert.ok(shown.hover.every((titles) => titles > 0), JSON.stringify(shown.hover));
        assert.deepEqual(shown.fixed.map(({ ends, left }) => [ends, left]), [[true, 0]]);
        assert.ok(shown.fixed[0].share <= 0.5, JSON.stringify(shown.fixed));
        assert.equal(shown.rows, 14);
        const chart = (/** @type {string} */ caption) => shown.charts.find((candidate) => candidate.caption === caption);
        // Seven cycles of each variant; each line of a run comes on top of the lines of the axes.
        assert.ok(chart('custom: drainMs in ms').marks >= 14, JSON.stringify(shown.charts));
        for (const caption of ['Users in the queues', 'Users promoted per second', 'sse_connection_time, ms', 'k6: memory, MiB']) {
          assert.ok(chart(caption)?.lines >= 14, `${caption}: ${JSON.stringify(shown.charts)}`);
        }
        assert.ok(shown.charts.every(({ size }) => size > 250 && size <= width), JSON.stringify(shown.charts));
        inks.push(shown.ink);
        await page.close();
      }
    }
    assert.deepEqual([inks[0], inks[2]], [inks[1], inks[3]]);
    assert.notEqual(inks[0], inks[2], 'the drawings follow the theme');
  } finally {
    await browser.close();
  }
});
