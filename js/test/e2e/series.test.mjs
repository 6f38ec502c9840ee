/** The output `hdrlog` of a real k6: its values over time are those of k6's own summary, and what is cut off is known. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { readSeries } from '../../../docs/how-to/keep-values-over-time/read.mjs';
import { startRedis } from './world.mjs';

const K6 = process.env.K6_BIN ?? resolve(fileURLToPath(import.meta.url), '../../../../k6');

/** A server whose answers have sizes of their own, every tenth an error. */
async function startServer(t) {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.writeHead(asked % 10 === 0 ? 500 : 200).end('x'.repeat(asked * 7));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

const SCRIPT = `
  import http from 'k6/http';
  import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

  const tokens = new Trend('tokens');
  const waited = new Trend('waited', true);
  const spent = new Counter('spent');
  const good = new Rate('good');
  const depth = new Gauge('depth');
  const scenario = { executor: 'shared-iterations', vus: 3, iterations: 150 };
  const kept = ['http_req_duration', 'http_reqs', 'http_req_failed', 'waited', 'tokens'];

  export const options = {
    scenarios: { chat: scenario, health: { ...scenario, iterations: 50, startTime: '1s' } },
    thresholds: Object.fromEntries(kept.flatMap((name) => [[name + '{scenario:chat}', []], [name + '{scenario:health}', []]])),
    summaryTrendStats: ['count', 'min', 'avg', 'med', 'p(95)', 'max'],
  };

  export default function () {
    http.get(__ENV.URL);
    tokens.add(Math.floor(Math.random() * 5000));
    waited.add(Math.exp(Math.random() * 8) - 3);
    spent.add(Math.random());
    good.add(Math.random() < 0.7);
    depth.add(Math.random() * 100 - 50);
  }

  export const handleSummary = (data) => ({ 'summary.json': JSON.stringify(data) });
`;

/** What several series have together, over all seconds. */
function together(series) {
  const all = { n: 0, sum: 0, min: Infinity, max: -Infinity, counts: new Map() };
  for (const one of series) {
    for (const { n, sum, min, max } of one.values.values()) {
      Object.assign(all, { n: all.n + n, sum: all.sum + sum, min: Math.min(all.min, min), max: Math.max(all.max, max) });
    }
    for (const counts of one.histograms.values()) {
      counts.forEach((n, value) => all.counts.set(value, (all.counts.get(value) ?? 0) + n));
    }
  }
  return all;
}

const near = (a, b, what) => assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b), 1), `${what}: ${a} beside ${b}`);

/** How many values of a histogram are at most this, give or take its precision and half of its unit. */
const atMost = (counts, limit) => [...counts].reduce((sum, [value, n]) => (value <= limit ? sum + n : sum), 0);

function compare(name, { type, values }, series) {
  const all = together(series);
  if (type === 'counter') {
    near(all.sum, values.count, name);
  } else if (type === 'rate') {
    assert.deepEqual([all.sum, all.n - all.sum], [values.passes, values.fails], name);
  } else {
    assert.deepEqual([all.min, all.max], [values.min, values.max], name);
  }
  if (type !== 'trend') {
    return;
  }
  assert.equal(all.n, values.count, name);
  near(all.sum / all.n, values.avg, name);
  assert.equal(atMost(all.counts, Infinity), all.n, `${name}: the histograms hold each sample once`);
  for (const [statistic, share] of [['med', 0.5], ['p(95)', 0.95]]) {
    const value = Math.max(values[statistic], 0);
    const below = atMost(all.counts, value * 0.998 - 0.002);
    const upTo = atMost(all.counts, value * 1.002 + 0.002);
    // k6 takes a value between two samples.
    assert.ok(below <= share * (all.n - 1) + 1 && upTo >= share * (all.n - 1), `${name} ${statistic}: ${below} to ${upTo} of ${all.n} are below ${value}`);
  }
}

test('values over time add up to what k6 says at the end', async (t) => {
  const world = await startRedis(t);
  const script = join(world.folder, 'values.js');
  await writeFile(script, SCRIPT);
  const run = await world.k6({ URL: await startServer(t) }, { script, args: ['--out', 'hdrlog=series.hlog?tags=scenario,expected_response'] });
  run.expect(0);
  const { head, series, end } = readSeries(join(world.folder, 'series.hlog'));

  const samples = series.flatMap(({ values }) => [...values.values()]).reduce((sum, { n }) => sum + n, 0);
  assert.deepEqual(head.tags, ['scenario', 'expected_response']);
  assert.equal(end.samples, samples);
  assert.equal(end.droppedSeries, 0);
  let compared = 0;
  for (const [name, metric] of Object.entries(run.summary.metrics)) {
    const [, base, tag, value] = /^([^{]+)(?:\{(\w+):(\w+)\})?$/.exec(name);
    compare(name, metric, series.filter((one) => one.metric === base && (!tag || one.tags[tag] === value)));
    compared += 1;
  }
  assert.ok(compared >= 25, `${compared} metrics`);
  assert.deepEqual(Object.keys(run.summary.metrics).filter((name) => !name.includes('{')).sort(), [...new Set(series.map(({ metric }) => metric))].sort());
  // The second scenario began a second after the first.
  const first = (scenario) => Math.min(...series.find((one) => one.metric === 'tokens' && one.tags.scenario === scenario).values.keys());
  assert.ok(first('health') >= first('chat') + 1000);
});

test('a k6 that is killed leaves all but the last seconds', async (t) => {
  const world = await startRedis(t);
  const script = join(world.folder, 'endless.js');
  await writeFile(
    script,
    `
    import { sleep } from 'k6';
    import { Trend } from 'k6/metrics';
    const beat = new Trend('beat', true);
    export const options = { vus: 5, duration: '10m' };
    export default function () { beat.add(7); sleep(0.02); }
    `,
  );
  const file = join(world.folder, 'series.hlog');
  const child = world.startTest(script, ['--out', 'hdrlog=series.hlog?tags=']);
  const seconds = () => (existsSync(`${file}.jsonl`) ? readFileSync(`${file}.jsonl`, 'utf8').split('"s":').length : 0);
  while (seconds() < 15) {
    assert.equal(child.exitCode, null, 'k6 runs');
    await pause(50);
  }
  child.kill('SIGKILL');
  await once(child, 'close');
  const { series, end } = readSeries(file);
  assert.equal(end, undefined);
  const { values, histograms } = series.find(({ metric }) => metric === 'beat');
  const starts = [...values.keys()];
  assert.ok(starts.length >= 2);
  starts.forEach((start, at) => at === 0 || assert.equal(start, starts[at - 1] + 1000));
  for (const start of starts) {
    assert.deepEqual([...histograms.get(start)], [[7.003, values.get(start).n]]);
  }
});

test('what cannot be written or is not known ends k6 before the test', async (t) => {
  const world = await startRedis(t);
  const script = join(world.folder, 'values.js');
  await writeFile(script, 'export default function () { console.log("it ran"); }');
  symlinkSync('/dev/full', join(world.folder, 'full.hlog'));
  for (const [argument, message] of [
    ['hdrlog', 'it needs a file: --out hdrlog=FILE'],
    ['hdrlog=a.hlog?tag=x', 'the argument has the parameter'],
    ['hdrlog=none/a.hlog', 'hdrlog: making the file of histograms: open none/a.hlog: no such file or directory'],
    ['hdrlog=full.hlog', 'no space left on device'],
  ]) {
    const run = await world.k6({}, { script, args: ['--out', argument] });
    assert.notEqual(run.code, 0, argument);
    run.expect(run.code, message);
    assert.doesNotMatch(run.output, /it ran/);
  }
});

test('k6 says that it has the output', () => {
  assert.match(execFileSync(K6, ['version'], { encoding: 'utf8' }), /xk6-barrier.*, hdrlog \[output\]/);
});
