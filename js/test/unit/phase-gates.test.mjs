/** The parts of the phase gates that need no k6: settings, targets, verdicts; and that suite and scripts have the same targets. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { finite, inMs, known, milliseconds, p95, replaced, switched, upperBound } from '../../phase-gates/lib/numbers.js';
import { readConfig } from '../../phase-gates/lib/settings.js';
import { gateText, judged, samplesOf } from '../../phase-gates/lib/summary.js';
import { RESILIENCE, targetsOf } from '../../phase-gates/lib/targets.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const SIZE = { seconds: 30, views: 1000, sockets: 5000, requests: 10000, kills: 5, quick: false };
const PHASES = Array.from({ length: 16 }, (_, phase) => phase);
const two = (phase) => String(phase).padStart(2, '0');

test('without settings a gate is the one of the reference', () => {
  const usual = { baseUrl: 'http://localhost:4000', quick: false, seconds: 60, views: 1000, sockets: 5000, rows: 1000000, rate: 1000, requests: 10000, kills: 5, judged: false, results: '.cache/phase-results.json' };
  assert.deepEqual(readConfig({}), usual);
  assert.deepEqual(readConfig({ BASE_URL: 'http://there:1/', QUICK: '1' }, { seconds: 300 }), {
    ...usual, baseUrl: 'http://there:1', quick: true, seconds: 8, views: 100, sockets: 500, rows: 100000, requests: 1000, kills: 1,
  });
  const { quick, seconds, views } = readConfig({ QUICK: '1', GATE_MS: '6000', VIEWS: '7' });
  assert.deepEqual({ quick, seconds, views }, { quick: true, seconds: 6, views: 7 });
  assert.equal(readConfig({ GATE_MS: '90000', VIEWS: '2000' }).views, 2000);
});

test('a setting of the wrong kind is named with what is allowed', () => {
  for (const [env, says] of [
    [{ BASE_URL: 'localhost:4000' }, 'BASE_URL must be an address that begins with http:// or https://, got "localhost:4000"'],
    [{ QUICK: 'yes' }, 'QUICK must be 0 or 1, got "yes"'],
    [{ GATE_MS: '30s' }, 'GATE_MS must be a whole number of at least 1, got "30s"'],
    [{ KILLS: '0' }, 'KILLS must be a whole number of at least 1, got "0"'],
    [{ GATE_MS: '59999' }, 'GATE_MS must be at least 60000 where QUICK is not 1, got "59999"'],
    [{ VIEWS: '1' }, 'VIEWS must be at least 1000 where QUICK is not 1, got "1"'],
    [{ RPC_RATE: '999' }, 'RPC_RATE must be at least 1000 where QUICK is not 1, got "999"'],
    [{ K6_DURATION: '5s' }, 'K6_DURATION would replace all loads of a gate by one that measures nothing, got "5s"; QUICK=1 makes them short and small'],
    [{ K6_VUS: '5' }, 'K6_VUS would replace all loads of a gate by one that measures nothing, got "5"; QUICK=1 makes them short and small'],
  ]) {
    assert.throws(() => readConfig(env), { message: says });
  }
});

/** What k6 would tell of a run in which each target is just reached. */
function reached(targets) {
  const metrics = {};
  for (const { metric, type, stat, op, limit, samples = 1 } of targets) {
    const value = op === '<' ? limit * 0.9 : op === '>' ? limit * 1.01 : limit;
    const count = Math.max(samples, metrics[samplesOf(metric)]?.values.count ?? 0);
    // Of a trend k6 tells how many values it has; of a counter, what they come to.
    metrics[metric] = { values: { count, ...metrics[metric]?.values, [stat]: value, passes: 5, fails: 0 } };
    if (type === 'trend') {
      metrics[metric].values.count = count;
    }
    metrics[samplesOf(metric)] = { values: { count } };
  }
  metrics.http_reqs = { values: { count: 1 } };
  return { metrics };
}

test('a gate passes when all its targets are reached, and each that is missed or has no samples fails it', () => {
  for (const phase of PHASES) {
    const targets = targetsOf(phase, SIZE);
    const verdict = (data) => gateText(phase, 'title', targets, data);
    const { passed, text } = verdict(reached(targets));
    assert.ok(passed && text.endsWith(`\nPhase ${phase} Gate: PASSED ✓\n`), text);
    for (const { metric, stat, op, limit, watched } of targets) {
      const missed = reached(targets);
      missed.metrics[metric].values[stat] = { '<': limit, '<=': limit + 1, '>': limit, '>=': limit * 0.99, '==': limit + 1 }[op];
      assert.equal(verdict(missed).passed, watched === true, `${phase} ${metric}`);
      if (metric === 'checks' || metric === 'http_req_duration') {
        continue;
      }
      const empty = reached(targets);
      empty.metrics[samplesOf(metric)].values.count = 0;
      const { text: told } = verdict(empty);
      const others = targets.some((target) => target.metric === metric && !target.watched);
      assert.ok(told.includes('too few samples') && told.endsWith(others ? 'FAILED ✗\n' : 'PASSED ✓\n'), told);
    }
  }
});

test('where the runner says the verdict a script says none', () => {
  const targets = targetsOf(9, SIZE);
  for (const [data, says] of [[reached(targets), '4 of 4'], [{ metrics: {} }, '0 of 4']]) {
    const { text } = gateText(9, 'title', targets, data, true);
    assert.ok(text.endsWith(`\n${says} targets are reached; the verdict is the runner's\n`) && !/PASSED|FAILED/.test(text), text);
  }
  assert.deepEqual([readConfig({ VERDICT_BY: 'barrier-bench' }).judged, readConfig({}).judged], [true, false]);
});

test('no data is no pass', () => {
  for (const phase of PHASES) {
    const { passed, text } = gateText(phase, 'title', targetsOf(phase, SIZE), { metrics: {} });
    assert.ok(!passed && text.endsWith(`Phase ${phase} Gate: FAILED ✗\n`));
  }
  const target = { what: '', metric: 'm', type: 'trend', stat: 'p(95)', op: '<', limit: 5, unit: 'ms', samples: 10 };
  const data = (count, taken = count, value = 1) => ({ metrics: { m: { values: { 'p(95)': value, count: taken } }, [samplesOf('m')]: { values: { count } } } });
  const nothing = { value: undefined, holds: false };
  assert.deepEqual([judged(target, data(9)), judged(target, data(10))], [nothing, { value: 1, holds: true }]);
  // What k6 did not take is no sample: it tells 0 for the percentile of nothing.
  const untold = { metrics: { ...data(10).metrics, m: { values: { 'p(95)': 0 } } } };
  assert.deepEqual([judged(target, data(10, 0, 0)), judged(target, untold), judged(target, data(10, 10, NaN))], [nothing, nothing, nothing]);
});

test('the bound of a difference is above its mean, and wants six blocks', () => {
  assert.throws(() => upperBound([1, 2, 3, 4, 5]), /got 5; at least 6/);
  assert.ok(Math.abs(upperBound([1, 2, 3, 4, 5, 6]) - (3.5 + 2.015 * Math.sqrt(3.5 / 6))) < 1e-9);
  assert.equal(upperBound([2, 2, 2, 2, 2, 2]), 2);
  assert.equal(p95(Array.from({ length: 100 }, (_, at) => 100 - at)), 95);
});

test('what was not told is no number', () => {
  assert.deepEqual(milliseconds({ n: 2, sample_us: [1500, 2] }), [1.5, 0.002]);
  for (const none of [undefined, {}, { n: 2 }, { n: 0, sample_us: [0, 0] }, { sample_us: [1] }, { n: 1, sample_us: [null, '3', NaN] }]) {
    assert.deepEqual(milliseconds(none), []);
  }
  assert.deepEqual(finite([1, undefined, null, '2', NaN, Infinity, true, 0]), [1, 0]);
  assert.deepEqual([finite(undefined), finite(7), inMs(null), inMs(1500)], [[], [7], [], [1.5]]);
  assert.deepEqual([known(), known(0, 1), known(0, undefined), known(undefined, undefined), known(null)], [true, true, false, false, false]);
});

test('a switch that does nothing is noticed, and somebody else who is under way is no such switch', () => {
  assert.deepEqual([switched(true, 5, 225, 220), switched(false, 225, 225, 220), switched(false, 225, 230, 220)], [true, true, true]);
  assert.deepEqual([switched(true, 5, 5, 220), switched(true, 5, 224, 220), switched(false, 0, 220, 220)], [false, false, false]);
  assert.deepEqual([switched(false, undefined, undefined, 220), switched(true, 0, null, 220), switched(false, null, null, 220)], [false, false, false]);
});

test('a node is replaced when another life of it is there', () => {
  const cluster = (...lives) => ({ nodes: lives.map((incarnation, at) => ({ name: `node${at + 1}`, incarnation })) });
  assert.ok(replaced(cluster(1, 4), cluster(2, 5)) && replaced(cluster(1), cluster(2, 1)));
  for (const [before, after] of [
    [cluster(1, 1), cluster(2, 1)], [cluster(1, 1), cluster(2)], [cluster(), cluster()], [undefined, cluster(1)], [cluster(1), undefined], [{}, {}],
    [cluster(undefined), cluster(undefined)], [cluster(1), cluster(undefined)],
  ]) {
    assert.ok(!replaced(before, after), JSON.stringify([before, after]));
  }
});

test('a script that injects no fault says of no drill that it was survived', () => {
  const bare = targetsOf(13, { ...SIZE, judged: false });
  const { text, passed } = gateText(13, 'title', bare, reached(targetsOf(13, SIZE)), false);
  assert.ok(!passed && /✗ chaos drills survived, rate +NOT JUDGED: the runner injects the faults/.test(text) && text.endsWith('FAILED ✗\n'), text);
  assert.deepEqual(targetsOf(13, { ...SIZE, judged: true }), targetsOf(13, SIZE));
});

test('what a system has to answer is written down, address by address', () => {
  const page = readFileSync(join(root, 'bench/targets/phases/README.md'), 'utf8');
  const table = page.slice(page.indexOf('## What a system of yours has to answer'), page.indexOf('## The cluster'));
  const rows = table.split('\n').filter((line) => line.startsWith('| '));
  // Those of a row share their beginning: `/phase/05/simple`, `complex`.
  const told = rows.flatMap((row) => {
    const names = [...row.split('|')[2].matchAll(/`([^`?]+)[^`]*`/g)].map(([, name]) => name);
    return names.map((name) => (name.startsWith('/') ? name : names[0].replace(/[^/]*$/, name)));
  });
  for (const phase of PHASES) {
    const script = readFileSync(join(root, `js/phase-gates/phase-${two(phase)}-gate.js`), 'utf8');
    const asked = [...script.matchAll(/\/(?:phase\/\d\d|api|socket)\/[a-z/_-]+[a-z]/g)].map(([path]) => path);
    assert.deepEqual(asked.filter((path) => !told.includes(path)), [], `phase ${phase}`);
  }
  assert.ok(told.length > 50 && told.includes('/phase/05/complex'), told.join(' '));
});

test('there is a script for each phase', () => {
  const scripts = readdirSync(join(root, 'js/phase-gates')).filter((name) => name.endsWith('-gate.js'));
  assert.deepEqual(scripts.sort(), PHASES.map((phase) => `phase-${two(phase)}-gate.js`));
});

/** Tables of an array in a file of TOML that is written as ours are: a key in each line. */
function tables(text, name) {
  const parts = text.split(/^(?=\[)/m).filter((part) => part.startsWith(`[[${name}]]`));
  return parts.map((part) => Object.fromEntries([...part.matchAll(/^(\w+) = (.*)$/gm)].map(([, key, value]) => {
    return [key, value.startsWith('[') || /^["\d.-]/.test(value) ? JSON.parse(value) : value];
  })));
}

test('the suite judges what the scripts judge', () => {
  const gates = tables(readFileSync(join(root, 'bench/suites/phase-gates.toml'), 'utf8'), 'gate');
  const computed = { '{half_thousand}': 500 * SIZE.seconds, '{thousand}': 1000 * SIZE.seconds, '${VIEWS}': SIZE.views, '${SOCKETS}': SIZE.sockets };
  for (const phase of PHASES) {
    const all = gates.filter(({ scenarios, during }) => scenarios.includes(`phase-${two(phase)}`) && during === undefined);
    // Phases 0 and 11 are made of commands there: see the next test.
    if (phase === 0 || phase === 11) {
      continue;
    }
    for (const { metric, type, stat, op, limit, samples = 1, watched = false } of targetsOf(phase, SIZE)) {
      const gate = all.find((gate) => gate.metric === metric && gate.stat === stat);
      assert.ok(gate, `phase ${phase} has no gate on ${metric} ${stat}`);
      const wanted = { type, op, limit, class: watched ? 'watch' : 'slo' };
      const found = { type: gate.type, op: gate.op, limit: computed[gate.limit] ?? gate.limit, class: gate.class };
      assert.deepEqual(found, wanted, gate.id);
      assert.equal(gate.min_samples ?? 1, samples, gate.id);
    }
    assert.equal(all.some(({ id }) => id === 'checks'), !RESILIENCE.includes(phase), `checks of ${phase}`);
  }
});

test('what commands are judged by is what the scripts of phases 0 and 11 judge', () => {
  const text = readFileSync(join(root, 'bench/suites/phase-gates.toml'), 'utf8');
  const gates = tables(text, 'gate');
  // That each of the six tools succeeds is a gate of the runner's own, and `checks` of the scripts says the same once more.
  const ofRunner = ['gate_pass_rate', 'checks'];
  const judgedBy = {
    pipeline_duration: '00-pipeline', phase11_suite_ms: '11-suite', phase11_coverage_percent: '11-coverage', phase11_flake_share: '11-flakes',
  };
  for (const phase of [0, 11]) {
    for (const { metric, op, limit, samples = 1 } of targetsOf(phase, SIZE).filter((target) => !ofRunner.includes(target.metric))) {
      const gate = gates.find(({ id }) => id === judgedBy[metric]);
      assert.deepEqual([gate.op, gate.limit, gate.class], [op, limit, 'slo'], metric);
      // Each of the hundred runs has a duration and a coverage; the gate on flakes says that there have to be so many.
      assert.ok(phase === 0 || metric !== 'phase11_flake_share' || gate.min_samples === samples, metric);
    }
  }
  const tools = [...text.matchAll(/^run = \["scripts\/phase-tools.sh", "0", "(\w+)"\]$/gm)].map(([, tool]) => tool);
  const [, listed] = /^tools=\((.*)\)$/m.exec(readFileSync(join(root, 'scripts/phase-tools.sh'), 'utf8'));
  assert.deepEqual(tools, listed.split(' '));
  assert.equal(tools.length, targetsOf(0, SIZE).find(({ metric }) => metric === 'gate_pass_rate').samples);
});
