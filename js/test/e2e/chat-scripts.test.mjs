/** The other scripts of js/chat at the reference service. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';

import { chatScript, expectChecks, startChat } from './chat.mjs';
import { freePort } from './world.mjs';

const THRESHOLDS = 99;
const REFUSED = 108;

describe('the health check', () => {
  /** Far above what `/healthz` calls slow, so that a machine that does other things as well is no reason for it. */
  const FAST = ['--hz', '500'];
  const HEALTH = chatScript('health-check.js');

  test('passes where all is well', async (t) => {
    const chat = await startChat(t, FAST);
    const run = (await chat.run(HEALTH)).expect(0, 'Chat health: 7 of 7 checks passed');
    assert.equal(run.value('http_reqs'), 4, 'one pass');
  });

  test('lets a slow second of the loop pass, which the streaming test judges', async (t) => {
    const chat = await startChat(t, ['--fault', 'loop-hz=20']);
    (await chat.run(HEALTH)).expect(0, 'Chat health: 7 of 7 checks passed', /healthz: the loop is slow: \d+ Hz in the last second/);
  });

  test('ends by itself where the service stands still', async (t) => {
    const chat = await startChat(t, FAST);
    chat.child.kill('SIGSTOP');
    t.after(() => chat.child.kill('SIGCONT'));
    (await chat.run(HEALTH)).expect(THRESHOLDS, `${chat.api}/health: not so: status is 2xx; received no answer:`, 'Chat health: 0 of 7 checks passed');
  });

  test('names the address that does not answer', async (t) => {
    const chat = await startChat(t, FAST);
    const port = await freePort();
    (await chat.run(HEALTH, { WS_URL: `ws://127.0.0.1:${port}` })).expect(
      THRESHOLDS,
      `http://127.0.0.1:${port}/health: not so: status is 2xx; received no answer:`,
      `http://127.0.0.1:${port}/healthz: not so`,
      'Chat health: 5 of 7 checks passed',
    );
  });

  test('tells what came instead', async (t) => {
    const chat = await startChat(t, FAST);
    (await chat.run(HEALTH, { METRICS_URL: `${chat.api}/nowhere` })).expect(
      THRESHOLDS,
      /\/nowhere: not so: status is 2xx; received status 404, body /,
      /\/nowhere: not so: a sample has hz in its name; received status 404/,
    );
    await chat.setFaults({ 'no-hz': true });
    (await chat.run(HEALTH)).expect(THRESHOLDS, /\/metrics: not so: a sample has hz in its name; received status 200, body \S/);
  });

  test('names the samples that are missing where others have such names', async (t) => {
    const chat = await startChat(t, FAST);
    const server = createServer((_, answer) => answer.end('worker_hz 100\nbackend_loop_ticks 7\n'));
    await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
    t.after(() => server.close());
    const METRICS_URL = `http://127.0.0.1:${server.address().port}/metrics`;
    const missing = (name) => `${METRICS_URL}: not so: there is a sample ${name}; received status 200, body worker_hz 100`;
    // As the suite has it, whose monitor reads both.
    (await chat.run(HEALTH, { METRICS_URL, HZ: 'off' })).expect(
      THRESHOLDS,
      missing('backend_loop_hz'),
      missing('backend_loop_ticks_total'),
      'Chat health: 6 of 8 checks passed',
    );
    (await chat.run(HEALTH, { METRICS_URL, HZ_METRIC: 'worker_hz' })).expect(0, 'Chat health: 7 of 7 checks passed');
  });

  test('asks nothing of /healthz that a service without it lacks, unless the address is given', async (t) => {
    const bare = { '/health': 'well', '/metrics': 'backend_loop_hz 100\nbackend_loop_ticks_total 7\n' };
    const server = createServer(({ url }, answer) => {
      answer.statusCode = bare[url] === undefined ? 404 : 200;
      answer.end(bare[url]);
    });
    await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
    t.after(() => server.close());
    const at = `127.0.0.1:${server.address().port}`;
    const chat = await startChat(t, FAST);
    const addresses = { BASE_URL: `http://${at}`, WS_URL: `ws://${at}`, HZ: 'off' };
    (await chat.run(HEALTH, addresses)).expect(0, 'Chat health: 8 of 8 checks passed');
    server.removeAllListeners('request');
    server.on('request', (_, answer) => answer.writeHead(404).end());
    const given = { ...chat.env, CHAT_ORCHESTRATOR_URL: `http://${at}` };
    (await chat.run(HEALTH, given)).expect(
      THRESHOLDS,
      `http://${at}/healthz: not so: status is 2xx, or 503 with the pace of a slow loop; received status 404`,
      'Chat health: 6 of 7 checks passed',
    );
  });

  test('refuses what the streaming test refuses', async (t) => {
    const chat = await startChat(t, FAST);
    (await chat.run(HEALTH, { SSH_HOST: 'far.test' })).expect(REFUSED, 'SSH_HOST has no meaning here');
  });
});

test('the probe names the samples that come near the one that is missing', async (t) => {
  const chat = await startChat(t);
  const args = ['--quiet', '--log-format', 'raw', '--summary-mode', 'disabled'];
  const run = await chat.run(chatScript('probe.js'), { HZ_METRIC: 'loop_pace' }, { args });
  const looks = run.output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const [pace] = looks.filter(({ check }) => check === 'pace');
  assert.match(pace.seen, /no sample loop_pace; names with hz: backend_loop_hz, .*; with loop: .*backend_loop_ticks_total/);
  assert.match(pace.mend, /a run is INVALID/);
  assert.deepEqual(looks.map(({ check, ok }) => [check, ok]), [
    ['health of the API', true],
    ['health of the streams', true],
    ['pace', false],
    ['connection', true],
    ['reply', true],
  ]);
});

describe('the load of the whole application', () => {
  const COMPREHENSIVE = chatScript('comprehensive-load-test.js');
  const brief = { VUS: 8, DURATION: '3s', PAUSE_MS: '50-150' };

  test('goes all ways, and feeds its rates with what went well', async (t) => {
    const chat = await startChat(t);
    const run = (await chat.run(COMPREHENSIVE, { ...chat.all, ...brief, TEST_PASSWORD: 'topsecret-users' })).expect(0, 'auth_failures: holds');
    assert.ok(!JSON.stringify(run.summary).includes('topsecret-users'), 'what setup returned stands in the summary');
    expectChecks(run);
    const iterations = run.value('iterations');
    assert.deepEqual([run.value('auth_failures', 'passes'), run.value('auth_failures', 'fails')], [0, iterations], 'each iteration logs in');
    assert.equal(run.value('errors', 'passes'), 0);
    for (const [metric, share] of [
      ['upload_failures', 0.25],
      ['error_rate', 0.1],
    ]) {
      const times = run.value(metric, 'fails');
      assert.ok(times > 0 && Math.abs(times / iterations - share) < 0.12, `${metric}: ${times} of ${iterations}`);
    }
    assert.ok(run.value('chat_response_time', 'max') > 0, run.output);
    assert.equal(run.value('ws_connection_errors'), 0);
  });

  test('counts streams that are refused', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'refuse-share': '100%' });
    const run = (await chat.run(COMPREHENSIVE, { ...chat.all, ...brief, DURATION: '1s' })).expect(THRESHOLDS, /error_rate: DOES NOT HOLD: rate<0.01/);
    assert.ok(run.value('ws_connection_errors') > 0);
    assert.equal(run.value('ws_connection_errors'), run.value('error_rate', 'passes'));
    assert.equal(run.value('error_rate', 'rate'), 1);
  });

  test('fails where answers are well formed and say nothing', async (t) => {
    const chat = await startChat(t);
    const said = {
      '/api/auth/login': { token: 'a token' },
      '/api/upload': { fileId: 'a-file' },
      '/api/files/a-file/status': { status: 'processed' },
    };
    const server = createServer((request, answer) => {
      request.resume().on('end', () => answer.end(JSON.stringify(said[request.url] ?? {})));
    });
    await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
    t.after(() => server.close());
    const BASE_URL = `http://127.0.0.1:${server.address().port}`;
    const run = (await chat.run(COMPREHENSIVE, { ...chat.all, ...brief, BASE_URL })).expect(THRESHOLDS, /errors: DOES NOT HOLD: rate<0.05/);
    for (const metric of ['auth_failures', 'upload_failures', 'error_rate', 'http_req_failed']) {
      assert.equal(run.value(metric, 'passes'), 0, metric);
    }
    assert.ok(run.value('errors', 'passes') > 0 && run.value('errors', 'fails') > 0, 'files are what they should be');
  });

  test('does not begin without its users', async (t) => {
    const chat = await startChat(t);
    (await chat.run(COMPREHENSIVE, { ...chat.all, BASE_URL: `${chat.api}/nowhere` })).expect(
      REFUSED,
      /setup: user loadtest0@example.com could not be registered: status 404/,
    );
  });
});

describe('the general load of the API', () => {
  const LOAD_TEST = chatScript('load-test.js');
  const brief = { VUS: 15, DURATION: '1s', PAUSE_MS: '100-300' };

  test('sends after the stream is open, and closes it after the reply', async (t) => {
    const chat = await startChat(t);
    const run = (await chat.run(LOAD_TEST, { ...chat.all, ...brief })).expect(0, 'errors: holds');
    expectChecks(run);
    const sent = run.value('chat_messages_sent');
    assert.ok(sent > 0, run.output);
    assert.equal((await chat.counters()).replies, sent, 'each message was answered to its end');
    assert.ok(run.value('errors', 'fails') > run.value('iterations') * 3);
    assert.equal(run.value('errors', 'passes'), 0);
  });

  test('sees failing streams in its rate of errors', async (t) => {
    const chat = await startChat(t);
    await chat.setFaults({ 'error-share': '100%' });
    const run = (await chat.run(LOAD_TEST, { ...chat.all, ...brief })).expect(THRESHOLDS, /errors: DOES NOT HOLD: rate<0.01/);
    assert.equal(run.value('errors', 'passes'), run.value('chat_messages_sent'));
    assert.equal(run.value('message_errors'), run.value('chat_messages_sent'));
  });
});
