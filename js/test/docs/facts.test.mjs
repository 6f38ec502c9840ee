/** What pages say about the tree and about the programs is so. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

import { wrapped } from '../../../scripts/wrap-pages.mjs';
import { startRedis } from '../e2e/world.mjs';
import { FILES, readBook, readText, ROOT } from './book.mjs';

const book = readBook();
const prose = (text) => text.replaceAll(/^\s*```[^]*?^\s*```$/gm, '');
const matches = (text, pattern) => [...text.matchAll(pattern)].map((found) => found[1]);
const sorted = (names) => [...new Set(names)].sort();
const section = (text, title) => text.split(new RegExp(`^#+ ${title}$`, 'm'))[1]?.split(/^#+ /m)[0] ?? assert.fail(`no section ${title}`);

/** How GitHub names the anchor of a heading. */
const anchor = (heading) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

test('links lead somewhere', () => {
  const amiss = [];
  for (const { path, text } of book) {
    const pictures = matches(prose(text), /<(?:img|source)\b[^>]*? src(?:set)?="([^"\s]+)"/g);
    const links = [...pictures, ...matches(prose(text), /\]\(([^)\s]+)\)/g)];
    for (const target of links.filter((link) => !/^[a-z]+:/.test(link))) {
      const [file, fragment] = target.split('#');
      const page = file === '' ? path : normalize(join(dirname(path), file));
      const known = existsSync(join(ROOT, page));
      const anchors = known && fragment ? matches(prose(readText(page)), /^#+ (.*)$/gm).map(anchor) : [fragment];
      if (!known || !anchors.includes(fragment)) {
        amiss.push(`${path}: ${target}`);
      }
    }
  }
  assert.deepEqual(amiss, []);
});

test('every page can be found from the map', () => {
  const linked = (path) =>
    matches(prose(readText(path)), /\]\(([^)#\s]+)[^)]*\)/g)
      .filter((link) => !/^[a-z]+:/.test(link))
      .map((link) => normalize(join(dirname(path), link)));
  const known = [...linked('docs/README.md'), ...linked('docs/decisions/README.md'), 'docs/README.md'];
  const pages = FILES.filter((path) => path.startsWith('docs/') && path.endsWith('.md'));
  assert.deepEqual(pages.filter((path) => !known.includes(path)), []);
});

test('files and targets of make that pages name exist', () => {
  const targets = matches(readText('Makefile'), /^([a-z0-9-]+):/gm);
  const amiss = [];
  for (const { path, text } of book) {
    for (const code of matches(prose(text), /`([^`\n]+)`/g)) {
      const file = /^(?:\.ci|bench|docs|js|rust-core|scripts|tools|xk6-barrier)\/[\w./-]*$/.exec(code)?.[0];
      const place = file?.replace(/\/$/, '');
      const tag = /\/v\d+\.\d+\.\d+$/.test(code);
      if (place && !tag && !FILES.some((known) => known === place || known.startsWith(`${place}/`))) {
        amiss.push(`${path}: ${code}`);
      }
      const target = /^make ([a-z][a-z0-9-]*)/.exec(code)?.[1];
      if (target && !targets.includes(target)) {
        amiss.push(`${path}: ${code}`);
      }
    }
  }
  assert.deepEqual(amiss, []);
});

test('prose is wrapped; scripts/wrap-pages.mjs does it', () => {
  const pages = book.filter(({ path }) => !path.startsWith('THIRD-PARTY') && !path.startsWith('bench/runner/src'));
  assert.deepEqual(pages.filter(({ text }) => wrapped(text) !== text).map(({ path }) => path), []);
});

test('source files that pages name by their ends exist', () => {
  const amiss = [];
  for (const { path, text } of book) {
    for (const code of matches(prose(text), /`([\w./-]+\.(?:go|rs|lua))`/g)) {
      if (!FILES.some((known) => `/${known}`.endsWith(`/${code}`))) {
        amiss.push(`${path}: ${code}`);
      }
    }
  }
  assert.deepEqual(amiss, []);
});

test('what servers refuse with is on the troubleshooting page', () => {
  const table = section(readText('docs/troubleshooting.md'), 'It answers, but refuses');
  const source = readText('rust-core/core/src/engine/net/failure.rs').split('const REFUSALS')[1].split('\n];')[0];
  const codes = matches(source, /\(\s*"([A-Z]+)"/g);
  assert.ok(codes.length > 10);
  assert.deepEqual(codes.filter((code) => !table.includes(`\`${code}\``)), []);
});

test('the figures of the fault runs are of the runs that there are', () => {
  const figures = section(readText('docs/explanation/fault-runs.md'), 'Figures');
  const rows = matches(figures, /^\| ([^|]+) \| \d[\d ]*s? \|$/gm).map((row) => row.replace(/^on Redis .*/, 'on Redis').replace(/^runs broken by .*/, 'runs broken by'));
  const source = readText('rust-core/core/tests/fault_runs/main.rs').split('fn print(')[1].split('\n    }\n')[0];
  const printed = matches(source, /row\(\s*(?:&format!\()?"([^"{]+?) ?["{]/g);
  const kinds = matches(readText('rust-core/core/tests/fault_runs/plan.rs').split('KINDS: ')[1].split('];')[0], /"([^"]+)"/g);
  const faults = kinds.map((kind) => `fault: ${kind}`);
  assert.deepEqual(sorted(rows), sorted([...printed.filter((row) => row !== 'fault:'), ...faults]));
});

test('the README can be read in a minute or two', () => {
  assert.ok(readText('README.md').split('\n').length <= 150);
});

test('each figure of the README is one of performance.md, rounded, and has its command', () => {
  const rows = (text) => matches(text, /^\| (?!What|Case|Condition)(.*) \|$/gm);
  const numbers = (text) => (text.replaceAll(',', '').match(/\d+(?:\.\d+)?/g) ?? []);
  // What a row is about, its own figure, that of its peer and the difference; not the bounds of their intervals.
  const cells = rows(section(readText('docs/performance.md'), 'Figures')).map((row) => row.split(' | ').slice(0, 4).join(' | '));
  const measured = cells.flatMap((text) => numbers(text.replaceAll(/\([^)]* to [^)]*\)/g, ''))).map(Number);
  const quoted = rows(section(readText('README.md'), 'How fast it is'));
  assert.ok(quoted.length >= 4 && measured.length > 40);
  const cases = matches(readText('bench/perf/src/cases.rs'), /^ {8}name: "([a-z]+)"/gm);
  const amiss = [];
  for (const row of quoted) {
    const [command] = matches(row, /`make perf CASES=([a-z]+)`/g);
    if (!cases.includes(command)) amiss.push(`no command: ${row}`);
    const figures = numbers(row.replaceAll(/`[^`]*`/g, ''));
    assert.ok(figures.length > 0, row);
    for (const figure of figures) {
      const half = 0.5 * 10 ** -(figure.split('.')[1]?.length ?? 0);
      if (!measured.some((value) => Math.abs(value - Number(figure)) <= half + 1e-9)) amiss.push(`${figure}: ${row}`);
    }
  }
  assert.deepEqual(amiss, []);
});

test('the dashboard of barriers shows metrics that there are', () => {
  const documented = matches(section(readText('docs/reference/barrier.md'), 'Metrics'), /^\| `([a-z_]+)` \|/gm);
  const shown = sorted(matches(readText('bench/monitoring/dashboards/barrier.json'), /\bk6_(barrier_[a-z_]+?)(?:_total|_p50|_p99|_max)\b/g));
  assert.deepEqual(shown.filter((name) => !documented.includes(name)), []);
  assert.ok(shown.length >= 5, shown.join(' '));
});

test('the oldest C library of an archive is the one that pages name', () => {
  const [oldest] = matches(readText('scripts/archive.sh'), /^oldest_glibc=(\S+)$/gm);
  assert.match(readText('docs/how-to/install.md'), new RegExp(`glibc ${oldest.replace('.', '\\.')}\\s+or\\s+later`));
  assert.match(readText('docs/reference/support.md'), new RegExp(`\\| glibc ${oldest.replace('.', '\\.')}, amd64 \\|`));
});

test('both tables of the metrics of the module have every one', () => {
  const metrics = sorted(matches(readText('xk6-barrier/barrier/metrics.go'), /register\("(\w+)"/g));
  assert.ok(metrics.length > 5, 'the pattern still fits');
  for (const page of ['docs/reference/barrier.md', 'xk6-barrier/README.md']) {
    assert.deepEqual(sorted(matches(section(readText(page), 'Metrics'), /^\| `(\w+)` \|/gm)), metrics, page);
  }
});

test('the reference of the harness has every variable and every metric', () => {
  const reference = readText('docs/reference/harness.md');
  const variables = matches(section(reference, 'Environment variables'), /^\| ([^|]+) \|/gm).flatMap((cell) => matches(cell, /`([A-Z0-9_]+)`/g));
  const scripts = FILES.filter((path) => /^js\/(lib\/)?[\w-]+\.js$/.test(path)).map(readText).join('\n');
  const read = matches(scripts, /\b(?:text|whole|flag|address|isSet|file)\('([A-Z0-9_]+)'/g);
  assert.deepEqual(sorted(variables), sorted(read));

  const metrics = matches(section(reference, 'Metrics'), /^\| `([a-z_]+)` \|/gm);
  assert.deepEqual(sorted(metrics), sorted(matches(scripts, /(?:new (?:Counter|Trend|Rate|Gauge)| add)\('([a-z_]+)'/g)));
});

test('the reference of the runner has every verb and every key of a suite file', async (t) => {
  const reference = readText('docs/reference/runner.md');
  const help = spawnSync(join(ROOT, 'bin/barrier-bench'), ['--help'], { encoding: 'utf8' }).stdout;
  const verbs = matches(help.split('Commands:')[1].split('Options:')[0], /^ {2}([a-z-]+) /gm).filter((verb) => verb !== 'help');
  assert.deepEqual(sorted(matches(section(reference, 'Verbs'), /^\| `([a-z][a-z-]*)/gm)), sorted(verbs));
  for (const verb of verbs) {
    const { stdout } = spawnSync(join(ROOT, 'bin/barrier-bench'), [verb, '--help'], { encoding: 'utf8' });
    for (const option of matches(stdout, /^ +(?:-\w, )?--([a-z-]+)/gm).filter((name) => name !== 'help')) {
      assert.ok(reference.includes(`\`--${option}`), `${verb} --${option} is not in the reference`);
    }
  }

  const sources = ['facts', 'health', 'judge'].map((name) => readText(`bench/runner/src/verdict/${name}.rs`)).join('\n');
  const gates = matches(reference, /^\| `([a-z0-9-]+)` \| (?:k6|it ends|`summary|the target|every declared|only of)/gm);
  assert.deepEqual(sorted(gates), sorted(matches(sources, /built_in\(\s*"([a-z0-9-]+)"/g)));

  // The runner itself tells which keys it knows, where it meets one that it does not.
  const world = await startRedis(t);
  const tables = [...section(reference, 'Suite files').matchAll(/^\| `(\[[^`]+\])` \| ([^|]+) \|$/gm)];
  assert.ok(tables.length > 5);
  const bare = (table) => table.replaceAll(/[[\]]/g, '');
  const allowedIn = async (text) => {
    const file = join(world.folder, 'probe.toml');
    await writeFile(file, text);
    const { stderr } = spawnSync(join(ROOT, 'bin/barrier-bench'), ['validate', file], { encoding: 'utf8' });
    return matches(/allowed here: (.*)/.exec(stderr)?.[1] ?? assert.fail(stderr), /([a-z][a-z0-9_]*)/g);
  };
  const names = tables.map(([, table]) => /[a-z]+/.exec(table)[0]);
  assert.deepEqual(sorted(names), sorted(await allowedIn('[nothing-of-that-name]\n')));
  // Where the names are the suite's own, the reference has words in place of keys.
  for (const [, table, keys] of tables.filter(([, , keys]) => keys.includes('`'))) {
    // A table in others needs these above it.
    const parents = bare(table).split('.').slice(0, -1).map((_, at, all) => all.slice(0, at + 1).join('.'));
    const above = parents.flatMap((name) => tables.filter(([, one]) => bare(one) === name).map(([, one]) => `${one}\n`));
    const allowed = await allowedIn(`${above.join('')}${table}\nnothing-of-that-name = 1\n`);
    assert.deepEqual(sorted(matches(keys, /`([a-z][a-z0-9_]*)`/g)), sorted(allowed), table);
  }
});

test('the keys in Redis are those of the reference', async (t) => {
  const world = await startRedis(t);
  const script = join(world.folder, 'keys.js');
  await writeFile(
    script,
    `import { Barrier } from 'k6/x/barrier';
     export default function () {
       for (const name of ['default', 'named']) {
         const b = new Barrier(name, { parties: 2, cyclic: true, runId: 'r1', store: __ENV.REDIS_URL, reasons: ['login'] });
         for (let phase = 0; phase < 2; phase++) {
           b.arrive({ participant: 1 });
           b.fail('login', { participant: 2 });
         }
         b.arrive({ participant: 1 });
       }
     }`,
  );
  (await world.k6({}, { script })).expect(0);
  const keys = await world.redis('KEYS', '*');

  const reference = readText('docs/reference/barrier.md');
  const documented = matches(reference, /^\| `(K6_BARRIER_[^`]+)` \|/gm).filter((name) => name.includes(':') && !name.includes('EVENTS'));
  assert.equal(documented.length, 3);
  const patterns = documented.map((pattern) => {
    const text = pattern
      .replace('<runId>', 'r1')
      .replace('<REASON>', 'LOGIN')
      .replace('[:<name>]', '(:named)?')
      .replace('[:@<phase>]', '(:@[1-9]\\d*)?');
    return new RegExp(`^${text}$`);
  });
  for (const key of keys) {
    assert.ok(patterns.some((pattern) => pattern.test(key)), `${key} is not in the reference`);
  }
  for (const pattern of patterns) {
    assert.ok(keys.some((key) => pattern.test(key) && key.includes(':named')), `no key is like ${pattern}`);
    assert.ok(keys.some((key) => pattern.test(key) && !key.includes(':named')), `no key is like ${pattern} without a name`);
  }
  assert.ok(keys.includes('K6_BARRIER_JOINED:r1:@2') && keys.includes('K6_BARRIER_LOGIN_FAIL:r1:named:@2'), keys.join(' '));
  assert.match(readText('rust-core/core/src/store/redis/mod.rs'), /"K6_BARRIER_EVENTS:/, 'the channel of the reference');
});
