/** The streaming test at the reference service: each fault moves the metric that it must, by the number that is expected. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { chatScript, exactly, expectChecks, startChat } from './chat.mjs';
import { freePort, K6, newFolder } from './world.mjs';

const THRESHOLDS = 99;
const REFUSED = 108;
const STREAMING = chatScript('websocket-streaming-load-test.js');

/** Some seconds of a load that is made of time. The pace is that of a machine that does other things as well. */
const brief = { VUS: 1, DURATION: '3s', SESSION_MS: '300', PAUSE_MS: 0, THINK_MS: 50, HZ_AVERAGE_THRESHOLD: 50 };

/** So many attempts had an outcome, and these are the failures among them. */
function expectFailures(run, judged, reasons) {
  const wrong = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  assert.deepEqual([run.value('error_rate', 'passes'), run.value('error_rate', 'fails')], [wrong, judged - wrong], run.output);
  assert.equal(run.value('message_errors'), wrong, run.output);
  for (const [reason, count] of Object.entries(reasons)) {
    assert.equal(run.value(`message_errors{reason:${reason}}`), count, `${reason}\n${run.output}`);
  }
}

test('a bare run ramps, streams, reads the pace once a second, and says how it went', async (t) => {
  const chat = await startChat(t);
  const env = { ...brief, VUS: 4, SESSION_MS: '300-900', PAUSE_MS: '100-200' };
  const run = (await chat.run(STREAMING, env)).expect(0, /Failed messages +0\.00%/, /Connections made +100\.00%/, /Pace of the loop, average +\d/);
  const messages = run.value('attempted_messages');
  assert.ok(messages > 20, run.output);
  expectFailures(run, messages, {});
  assert.equal(run.value('cut_off_messages'), 0);
  assert.equal(run.value('message_response_time'), messages);
  assert.equal(run.value('message_first_chunk_time'), messages);
  assert.ok(run.value('message_response_time', 'min') >= 79, 'the service takes 80 ms');
  assert.ok(run.value('message_first_chunk_time', 'min') >= 19, 'the first chunk takes 20 ms');
  const sessions = run.value('iterations') - run.value('hz_avg');
  assert.equal(run.value('ws_connection_time'), sessions, 'a connection for each session');
  assert.ok(sessions < messages, 'several messages for each of them');
  expectChecks(run);
  assert.ok(run.value('hz_avg', 'avg') > 50, run.output);
  assert.equal(run.value('hz_missing'), 0);
  const { messages: heard, metricsReads } = await chat.counters();
  assert.equal(heard, messages, 'each message was sent once');
  assert.equal(metricsReads, run.value('hz_avg'), 'nobody but the one reader reads the metrics');
  assert.ok(metricsReads >= 4 && metricsReads <= 6, `once a second: ${metricsReads}`);
});

test('the service is spoken to in the dialect of the setting, or in one of a file', async (t) => {
  const chat = await startChat(t);
  const own = join(chat.folder, 'own.js');
  await writeFile(
    own,
    `export const dialect = {
      path: '/research-chat',
      request: ({ content }) => ({ type: 'research_query', message: content }),
      read: ({ type }) => ({ kind: { token: 'chunk', response_complete: 'done', error: 'error' }[type] ?? 'other' }),
    };`,
  );
  for (const DIALECT of ['message', 'stream_event', 'token', own]) {
    const run = (await chat.run(STREAMING, { ...exactly(2, 3), DIALECT })).expect(0);
    expectFailures(run, 6, {});
  }
});

describe('each fault is seen as what it is', () => {
  const messages = exactly(10, 10);

  for (const [faults, reasons] of [
    [{ 'error-share': '2%' }, { error_frame: 2 }],
    [{ 'drop-chunk': '2%' }, { sequence_gap: 2 }],
  ]) {
    test(Object.keys(faults)[0], async (t) => {
      const chat = await startChat(t);
      await chat.setFaults(faults);
      const run = (await chat.run(STREAMING, messages)).expect(THRESHOLDS, /Failed messages +2\.00%/, /thresholds on metrics 'error_rate' have been crossed/);
      expectFailures(run, 100, reasons);
      assert.equal(run.value('ws_connected_ok', 'rate'), 1);
      const lenient = (await chat.run(STREAMING, { ...messages, ERROR_RATE_THRESHOLD: '0.05' })).expect(0);
      expectFailures(lenient, 100, reasons);
    });
  }

  for (const DIALECT of ['stream_event', 'token']) {
    test(`drop-chunk in the dialect ${DIALECT}, whose service adds numbers to its frames`, async (t) => {
      const chat = await startChat(t);
      await chat.setFaults({ 'drop-chunk': '2%' });
      const run = (await chat.run(STREAMING, { ...messages, DIALECT })).expect(THRESHOLDS, /Failed messages +2\.00%/);
      expectFailures(run, 100, { sequence_gap: 2 });
    });
  }

  test('refuse-share: a refused connection is one failed attempt, and access was refused', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'refuse-share': '20%' });
    const run = (await chat.run(STREAMING, messages)).expect(
      THRESHOLDS,
      /thresholds on metrics 'error_rate, ws_connected_ok' have been crossed/,
      /Connections made +80\.00%/,
      'Refused access (401 or 403): 2 connections; no token was sent',
      /user \d+: refused: no connection \(status 403\)/,
    );
    expectFailures(run, 82, { refused: 2 });
    assert.equal(run.value('ws_connection_time'), 8);
  });

  test('cut-share: a lost connection is one failed attempt, and ends the session', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'cut-share': '20%' });
    const run = (await chat.run(STREAMING, messages)).expect(THRESHOLDS, /2 broken: the connection was lost/);
    expectFailures(run, 82, { broken: 2 });
    assert.equal(run.value('ws_connected_ok', 'rate'), 1);
    assert.equal(run.value('message_response_time'), 80);
  });

  test('chunk-delay-ms: replies are late, and fail only beyond their limit', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'chunk-delay-ms': 100 });
    const slow = (await chat.run(STREAMING, exactly(3, 2))).expect(0);
    expectFailures(slow, 6, {});
    assert.ok(slow.value('message_response_time', 'min') >= 5 * 100 + 80 - 1, slow.output);
    assert.ok(slow.value('message_first_chunk_time', 'min') >= 119, slow.output);
    await chat.setFaults({ 'chunk-delay-ms': 60000 });
    const late = (await chat.run(STREAMING, { ...exactly(3, 2), REPLY_TIMEOUT_MS: 300 })).expect(THRESHOLDS);
    expectFailures(late, 3, { timeout: 3 });
    assert.equal(late.value('message_response_time'), 0);
  });

  test('loop-hz and no-hz: a slow loop and a missing sample fail thresholds of their own', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'no-hz': true });
    const missing = (await chat.run(STREAMING, brief)).expect(THRESHOLDS, /hz_missing.* have been crossed/, /Pace of the loop, average +n\/a/);
    assert.ok(missing.value('hz_missing') >= 3, missing.output);
    assert.equal(missing.output.match(/no sample backend_loop_hz at/g).length, 1, 'a warning, once');
    await chat.setFaults({ 'no-hz': false, 'loop-hz': 5 });
    const slow = (await chat.run(STREAMING, brief)).expect(THRESHOLDS, /thresholds on metrics 'hz_avg' have been crossed/);
    assert.ok(slow.value('hz_avg', 'min') <= 5, slow.output);
    assert.ok(slow.value('checks{type:hz}', 'fails') > 0);
    expectFailures(slow, slow.value('attempted_messages'), {});
  });

  test('a service that is not there refuses everybody', async (t) => {
    const chat = await startChat(t);
    const run = (await chat.run(STREAMING, { ...exactly(3, 2), WS_URL: `ws://127.0.0.1:${await freePort()}` })).expect(
      THRESHOLDS,
      /user \d: refused: no connection \(.*connection refused\)/,
      /Time to connect, p95 +n\/a/,
    );
    expectFailures(run, 3, { refused: 3 });
  });
});

test('a service that goes away between two messages fails the second one', async (t) => {
  const chat = await startChat(t);
  const running = chat.run(STREAMING, { ...exactly(3, 2), THINK_MS: 4000 });
  while ((await chat.counters()).replies < 3) {
    // until each user has a reply
  }
  chat.child.kill('SIGTERM');
  expectFailures((await running).expect(THRESHOLDS), 6, { broken: 3 });
});

test('a service that stands still does not keep k6 from ending', async (t) => {
  const chat = await startChat(t);
  const LOAD = JSON.stringify({ streaming: { executor: 'constant-vus', vus: 5, duration: '4s', gracefulStop: '2s' } });
  // Some wait for a reply, some are to close, some are to connect: to each of them the service owes something.
  const running = chat.run(STREAMING, { VUS: 5, HZ: 'off', LOAD, SESSION_MS: '100-900', PAUSE_MS: '100-300', THINK_MS: 200, REPLY_TIMEOUT_MS: 1000 });
  while ((await chat.counters()).replies < 5) {
    // until each user may have a reply
  }
  chat.child.kill('SIGSTOP');
  t.after(() => chat.child.kill('SIGCONT'));
  const run = (await running).expect(THRESHOLDS);
  assert.ok(run.value('message_errors{reason:timeout}') > 0, run.output);
});

test('what the end of the test cuts off is no error of the service, and is told', async (t) => {
  const chat = await startChat(t);
  await chat.setFaults({ 'chunk-delay-ms': 600000 });
  const LOAD = JSON.stringify({ streaming: { executor: 'constant-vus', vus: 3, duration: '1s', gracefulStop: '0s' } });
  const run = (await chat.run(STREAMING, { VUS: 3, HZ: 'off', LOAD })).expect(0, 'Messages: 0 judged, 0 failed, 3 cut off by the end of the test');
  assert.equal(run.value('cut_off_messages'), 3);
  assert.equal(run.value('attempted_messages'), 3);
});

test('a token for each user is shown, and without the right one access is refused', async (t) => {
  const folder = await newFolder(t);
  const file = async (name, ...tokens) => {
    const path = join(folder, name);
    await writeFile(path, tokens.join('\n'));
    return path;
  };
  const chat = await startChat(t, ['--require-token', '--tokens', await file('known', 'first-token', 'second-token')]);
  const run = (tokens) => chat.run(STREAMING, { ...exactly(2, 1), ...(tokens && { TOKENS: tokens }) });
  expectFailures((await run(await file('right', 'first-token', '', 'second-token '))).expect(0), 2, {});
  const none = (await run()).expect(THRESHOLDS, 'Refused access (401 or 403): 2 connections; no token was sent: TOKENS names a file of them');
  expectFailures(none, 2, { refused: 2 });
  const wrong = (await run(await file('wrong', 'nobodys-token', 'first-token'))).expect(THRESHOLDS, '1 connections; the tokens in TOKENS were not accepted');
  expectFailures(wrong, 2, { refused: 1 });
  assert.doesNotMatch(wrong.output, /nobodys-token|first-token/);
  const samples = join(folder, 'samples.json');
  const inAddress = { ...exactly(1, 1), DIALECT: 'token', TOKENS: await file('one', 'first-token'), K6_OUT: `json=${samples}` };
  (await chat.run(STREAMING, inAddress)).expect(0);
  assert.doesNotMatch(await readFile(samples, 'utf8'), /first-token/, 'not in a tag of a sample, though it is in the address');
  (await run(await file('few', 'first-token'))).expect(REFUSED, 'TOKENS must have a line with a token for each of 2 VUs, got 1');
});

describe('a run that cannot be is refused before it begins', () => {
  for (const [env, text] of [
    [{ SSH_HOST: 'far.test' }, /SSH_HOST has no meaning here, got .*far\.test.*: unset it, and start the run on that machine itself/],
    [{ VUS: 'many' }, 'VUS must be a whole number of at least 1, got'],
    [{ LOAD: '[]' }, 'LOAD is no object'],
    [{ TOKENS: '/nowhere/tokens' }, 'TOKENS: /nowhere/tokens could not be read'],
    [{ DIALECT: '/nowhere/dialect.js' }, 'DIALECT: /nowhere/dialect.js could not be loaded'],
  ]) {
    test(Object.keys(env)[0], async (t) => {
      const chat = await startChat(t);
      (await chat.run(STREAMING, env)).expect(REFUSED, text);
      assert.equal((await chat.counters()).upgrades, 0);
    });
  }
});

test('users who start together have all connected before the first of them sends', async (t) => {
  const chat = await startChat(t);
  const streaming = { executor: 'ramping-vus', stages: [{ duration: '2s', target: 20 }, { duration: '1s', target: 20 }], gracefulStop: '30s' };
  const env = { ...exactly(20, 2), LOAD: JSON.stringify({ streaming }), START: 'together', PAUSE_MS: 1000 };
  let over = false;
  const running = chat.run(STREAMING, env).finally(() => (over = true));
  const early = [];
  while (!over) {
    const { upgrades, messages } = await chat.counters();
    if (messages > 0 && upgrades < 20) {
      early.push({ upgrades, messages });
    }
  }
  const run = (await running).expect(0, /Start together: 20 of 20 connected, 0 failed, 0 missing; first messages within \d/);
  assert.deepEqual(early, []);
  expectFailures(run, run.value('attempted_messages'), {});
  assert.equal(run.value('barrier_arrivals'), 20, 'they meet once');
});

test('nobody waits for users who have no connection, nor for those whose connection breaks', async (t) => {
  const chat = await startChat(t);
  await chat.setFaults({ 'refuse-share': '5' });
  const run = (await chat.run(STREAMING, { ...exactly(20, 2), START: 'together' })).expect(
    THRESHOLDS,
    /Start together: 15 of 20 connected, 5 failed \(refused 5\), 0 missing; first messages within \d/,
  );
  expectFailures(run, 35, { refused: 5 });
  assert.equal(run.value('barrier_failures'), 5);
});

test('a meeting that cannot come about ends the run', async (t) => {
  const chat = await startChat(t);
  const LOAD = exactly(2, 1).LOAD;
  const run = await chat.run(STREAMING, { ...exactly(3, 1), LOAD, START: 'together', BARRIER_TIMEOUT_MS: 500 });
  run.expect(REFUSED, /START=together: .*not released/, /Start together: [12] of 3 connected, 0 failed, [12] missing; never released/);
});

test('only a start together needs more than a plain k6', (t) => {
  const needs = (script) => JSON.parse(execFileSync(K6, ['deps', '--json', script], { encoding: 'utf8' })).imports;
  for (const name of ['websocket-streaming-load-test.js', 'health-check.js', 'comprehensive-load-test.js', 'load-test.js']) {
    assert.deepEqual(needs(chatScript(name)).filter((module) => module.startsWith('k6/x/')), [], name);
  }
  t.diagnostic('as k6 itself sees it');
});
