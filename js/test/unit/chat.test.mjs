/** The parts of the chat scripts that need no k6: settings, load, prompts, dialects, replies, samples, texts. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { addressOf, dialects, readFrame } from '../../chat/lib/dialects.js';
import { namesWith, sampleOf } from '../../chat/lib/pace.js';
import { allPrompts, draw, promptOf, within } from '../../chat/lib/prompts.js';
import { expectReply, take } from '../../chat/lib/replies.js';
import { lengthOf, millisOf, readConfig, stagesOf } from '../../chat/lib/settings.js';
import { addCutOff, summaryText, thresholdsText } from '../../chat/lib/summary.js';

test('without settings the run is the one of the reference', () => {
  assert.deepEqual(readConfig({}), {
    vus: 1000,
    durationMs: 300000,
    baseUrl: 'http://localhost:4000',
    wsUrl: 'ws://localhost:8080',
    orchestratorUrl: 'http://localhost:8080',
    metricsUrl: 'http://localhost:4000/metrics',
    hzMetric: 'backend_loop_hz',
    hz: true,
    dialect: 'message',
    together: false,
    barrierTimeoutMs: 120000,
    tokensFile: '',
    errorRateLimit: 0.01,
    hzLimit: 95,
    connectLimitMs: 5000,
    replyP90LimitMs: 10000,
    session: { from: 5000, to: 15000 },
    pause: { from: 1000, to: 3000 },
    thinkMs: 1000,
    messages: 0,
    replyLimitMs: 30000,
    silenceMs: 20000,
    verbose: false,
  });
});

test('an empty variable is an unset one', () => {
  assert.deepEqual(readConfig({ VUS: '', WS_URL: ' ', SSH_HOST: '', HZ: '' }), readConfig({}));
});

test('addresses follow from each other unless they are given', () => {
  const config = readConfig({ BASE_URL: 'https://chat.test/', WS_URL: 'wss://stream.test/' });
  assert.deepEqual(
    [config.baseUrl, config.wsUrl, config.orchestratorUrl, config.metricsUrl],
    ['https://chat.test', 'wss://stream.test', 'https://stream.test', 'https://chat.test/metrics'],
  );
  const other = readConfig({ CHAT_ORCHESTRATOR_URL: 'http://o:1', METRICS_URL: 'http://m:2/m' });
  assert.deepEqual([other.orchestratorUrl, other.metricsUrl], ['http://o:1', 'http://m:2/m']);
});

for (const [env, message] of [
  [{ VUS: 'many' }, 'VUS must be a whole number of at least 1, got "many"'],
  [{ VUS: '0' }, 'VUS must be a whole number of at least 1, got "0"'],
  [{ DURATION: '5 minutes' }, 'DURATION must be a duration such as 5m, 90s, 1m30s or 500ms, got "5 minutes"'],
  [{ BASE_URL: 'localhost:4000' }, 'BASE_URL must be an address that begins with http:// or https://, got "localhost:4000"'],
  [{ WS_URL: 'http://a' }, 'WS_URL must be an address that begins with ws:// or wss://, got "http://a"'],
  [{ ERROR_RATE_THRESHOLD: '1.5' }, 'ERROR_RATE_THRESHOLD must be a share above 0 and up to 1, such as 0.01, got "1.5"'],
  [{ HZ_AVERAGE_THRESHOLD: '-1' }, 'HZ_AVERAGE_THRESHOLD must be a number of Hz above 0, got "-1"'],
  [{ DIALECT: 'latin' }, 'DIALECT must be message, stream_event, token or the path of a .js file, got "latin"'],
  [{ START: 'soon' }, 'START must be one of apart, together, got "soon"'],
  [{ SESSION_MS: '9-3' }, 'SESSION_MS must be milliseconds as one whole number or as a span such as 5000-15000, got "9-3"'],
  [{ SESSION_MS: '-' }, 'SESSION_MS must be milliseconds as one whole number or as a span such as 5000-15000, got "-"'],
  [{ K6_LOG_LEVEL: 'loud' }, 'K6_LOG_LEVEL must be one of info, debug, warn, error, got "loud"'],
  [{ SSH_HOST: 'far.test' }, 'SSH_HOST has no meaning here, got "far.test": unset it, and start the run on that machine itself'],
]) {
  test(`refused: ${JSON.stringify(env)}`, () => {
    assert.throws(() => readConfig(env), { message });
  });
}

test('a dialect may be a file, a span one number, detail asked for in two ways', () => {
  assert.equal(readConfig({ DIALECT: 'mine.js', PWD: '/home' }).dialect, '/home/mine.js');
  assert.deepEqual(readConfig({ SESSION_MS: '700' }).session, { from: 700, to: 700 });
  assert.deepEqual(readConfig({ PAUSE_MS: '0' }).pause, { from: 0, to: 0 });
  assert.ok(readConfig({ K6_LOG_LEVEL: 'debug' }).verbose);
  assert.ok(readConfig({ DEBUG_MODE: 'true' }).verbose);
});

test('durations are those of k6', () => {
  assert.deepEqual(['5m', '1m30s', '500ms', '1.5s', '2h', '', '5', 'm', '5m x'].map(millisOf), [300000, 90000, 500, 1500, 7200000, 0, 0, 0, 0]);
});

test('a load keeps its proportions with other users and another duration', () => {
  const course = { holdS: 300, stages: [[30, 0.25], [30, 0.5], [60, 1], [300, 1], [30, 0]] };
  const stages = stagesOf(course, { vus: 10, durationMs: 10000 });
  assert.deepEqual(stages, [
    { duration: '1000ms', target: 3 },
    { duration: '1000ms', target: 5 },
    { duration: '2000ms', target: 10 },
    { duration: '10000ms', target: 10 },
    { duration: '1000ms', target: 0 },
  ]);
  assert.equal(lengthOf(stages), 15000);
});

test('prompts have three lengths, and are the same in every run', () => {
  const prompts = allPrompts();
  const words = prompts.map((prompt) => prompt.split(' ').length);
  assert.deepEqual([8, 40, 200].map((length) => words.filter((count) => count === length).length), [10, 10, 10]);
  assert.equal(new Set(prompts).size, 30);
  const asked = Array.from({ length: 3000 }, (_, at) => promptOf(prompts, 1 + (at % 100), Math.floor(at / 100)));
  assert.equal(new Set(asked).size, 30, 'each is asked by somebody');
  assert.notEqual(promptOf(prompts, 1, 0), promptOf(prompts, 1, 1));
  // The fixture itself: a change of it makes runs incomparable.
  assert.equal(prompts[0], 'signal river under compare under window measure why');
  assert.deepEqual([1, 2, 3].map((user) => prompts.indexOf(promptOf(prompts, user, 0))), [6, 25, 28]);
});

test('draws are spread evenly, and stay below 1', () => {
  const drawn = Array.from({ length: 10000 }, (_, at) => draw(at, 7));
  assert.ok(drawn.every((value) => value >= 0 && value < 1));
  for (let tenth = 0; tenth < 10; tenth++) {
    const share = drawn.filter((value) => Math.floor(value * 10) === tenth).length / drawn.length;
    assert.ok(share > 0.08 && share < 0.12, `${tenth}: ${share}`);
  }
  assert.deepEqual([within({ from: 5, to: 15 }, 0), within({ from: 5, to: 15 }, 0.999999)], [5, 15]);
});

const MESSAGE = { id: '7-0-1', content: 'hello', user: 7, at: 1000 };

test('each dialect asks in its own words, at its own address', () => {
  assert.deepEqual(dialects.message.request(MESSAGE), { type: 'message', id: '7-0-1', content: 'hello' });
  assert.deepEqual(dialects.stream_event.request(MESSAGE), {
    type: 'chat',
    content: 'hello',
    messageId: '7-0-1',
    userId: 'user_7',
    timestamp: 1000,
  });
  assert.deepEqual(dialects.token.request(MESSAGE), {
    type: 'chat',
    message: 'hello',
    timestamp: '1970-01-01T00:00:01.000Z',
    sessionId: '7-0-1',
  });
  assert.equal(addressOf('ws://a', dialects.message, 't'), 'ws://a/api/chat');
  assert.equal(addressOf('ws://a', dialects.stream_event), 'ws://a/chat');
  assert.equal(addressOf('ws://a', dialects.token, 'a b'), 'ws://a/?token=a%20b');
  assert.equal(addressOf('ws://a', dialects.token), 'ws://a/');
});

test('frames say the same in each dialect', () => {
  const kinds = (name, frames) => frames.map((frame) => readFrame(dialects[name], JSON.stringify(frame))?.kind);
  assert.deepEqual(
    kinds('message', [
      { type: 'chunk', id: '1', seq: 0, content: 'a' },
      { type: 'done', id: '1', chunks: 2 },
      { type: 'error', id: '1', code: 'busy' },
      { type: 'chunk', id: '1', content: 'without a number' },
      { type: 'hello' },
      [],
      null,
      5,
    ]),
    ['chunk', 'done', 'error', undefined, undefined, undefined, undefined, undefined],
  );
  assert.deepEqual(
    kinds('stream_event', [
      { type: 'stream_event', event: { type: 'token', data: '', messageId: '1' }, timestamp: 1 },
      { type: 'stream_event', event: { type: 'complete', messageId: '1' } },
      { type: 'error', content: 'busy' },
      { type: 'stream_event', event: { type: 'start' } },
      { type: 'stream_event', event: { type: 'token' } },
      { type: 'stream_event' },
    ]),
    ['chunk', 'done', 'error', 'other', undefined, undefined],
  );
  assert.deepEqual(kinds('token', [{ type: 'token' }, { type: 'stream' }, { type: 'end' }, { type: 'complete' }, { type: 'error' }, { type: 'memory' }, {}]), [
    'chunk',
    'chunk',
    'done',
    'done',
    'error',
    'other',
    undefined,
  ]);
  assert.equal(readFrame(dialects.message, 'no JSON'), undefined);
});

test('numbers that a service adds to its frames are read in each dialect', () => {
  const numbers = (name, frame) => {
    const { seq, chunks } = readFrame(dialects[name], JSON.stringify(frame));
    return [seq, chunks];
  };
  assert.deepEqual(numbers('stream_event', { type: 'stream_event', event: { type: 'token', data: '', messageId: '1', seq: 3 } }), [3, undefined]);
  assert.deepEqual(numbers('stream_event', { type: 'stream_event', event: { type: 'complete', messageId: '1', chunks: 4 } }), [undefined, 4]);
  assert.deepEqual(numbers('token', { type: 'token', seq: 3 }), [3, undefined]);
  assert.deepEqual(numbers('token', { type: 'complete', chunks: 4 }), [undefined, 4]);
  assert.deepEqual(numbers('token', { type: 'token', seq: 'third' }), [undefined, undefined]);
});

const chunk = (seq, id = 'm') => ({ kind: 'chunk', id, seq });
const done = (chunks, id = 'm') => ({ kind: 'done', id, chunks });

for (const [what, frames, failed] of [
  ['a complete one', [chunk(0), chunk(1), done(2)], undefined],
  ['one whose dialect tells no numbers', [{ kind: 'chunk' }, { kind: 'chunk' }, { kind: 'done' }], undefined],
  ['one with a greeting before it', [{ kind: 'other' }, chunk(0), chunk(1), done(2)], undefined],
  ['a chunk is missing', [chunk(0), chunk(2), done(2)], 'sequence_gap'],
  ['the first chunk is missing', [chunk(1), chunk(2), done(2)], 'sequence_gap'],
  ['a chunk comes twice', [chunk(0), chunk(0), chunk(1), done(3)], 'sequence_gap'],
  ['chunks come out of order', [chunk(1), chunk(0), done(2)], 'sequence_gap'],
  ['the last chunk is missing', [chunk(0), chunk(1), done(3)], 'wrong_count'],
  ['it is not streamed', [chunk(0), done(1)], 'too_few_chunks'],
  ['it is empty', [done(0)], 'too_few_chunks'],
  ['the service fails', [chunk(0), { kind: 'error', id: 'm', code: 'busy' }], 'error_frame'],
  ['the service fails without saying whose message it was', [chunk(0), { kind: 'error', id: null, code: 'busy' }], 'error_frame'],
  ['a frame is none', [chunk(0), undefined, chunk(1), done(2)], 'bad_frame'],
  ['a frame is about another message', [chunk(0), chunk(0, 'x'), chunk(1), done(2)], 'stray_frame'],
  ['another message ends', [chunk(0), chunk(1), done(2, 'x'), done(2)], 'stray_frame'],
]) {
  test(`a reply: ${what}`, () => {
    const reply = expectReply('m', 100);
    const over = frames.map((frame, at) => take(reply, frame, 101 + at));
    assert.deepEqual(over, [...Array(frames.length - 1).fill(false), true], 'over with its last frame');
    assert.equal(reply.failed, failed);
  });
}

test('a reply knows when its first chunk and its end came', () => {
  const reply = expectReply('m', 100);
  [chunk(0), chunk(1), done(2)].forEach((frame, at) => take(reply, frame, 150 + at * 10));
  assert.deepEqual([reply.firstAt, reply.doneAt], [150, 170]);
});

const METRICS = `# HELP backend_loop_hz pace
# TYPE backend_loop_hz gauge
backend_loop_hz 99.5
backend_loop_ticks_total 12345
loop_frequency{service="a b"} 1.5e+1
HTTP_Hz{x="y"} NaN
`;

test('samples are found by their whole name, with labels or without', () => {
  assert.equal(sampleOf(METRICS, 'backend_loop_hz'), 99.5);
  assert.equal(sampleOf(METRICS, 'loop_frequency'), 15);
  assert.equal(sampleOf(METRICS, 'backend_loop'), undefined, 'the beginning of a name is none');
  assert.equal(sampleOf(METRICS, 'HTTP_Hz'), undefined, 'no number');
  assert.equal(sampleOf(null, 'backend_loop_hz'), undefined, 'no answer');
  assert.deepEqual(namesWith(METRICS, 'hz'), ['backend_loop_hz', 'HTTP_Hz']);
  assert.deepEqual(namesWith(METRICS, 'loop'), ['backend_loop_hz', 'backend_loop_ticks_total', 'loop_frequency']);
  assert.deepEqual(namesWith('', 'hz'), []);
});

const rate = (passes, fails) => ({ values: { rate: passes / (passes + fails), passes, fails } });
const trend = (values) => ({ values: { count: Object.keys(values).length, avg: 0, max: 0, 'p(90)': 0, 'p(95)': 0, ...values } });

test('the summary has each objective beside its limit, and what was cut off', () => {
  const data = {
    metrics: {
      attempted_messages: { values: { count: 205 } },
      error_rate: rate(4, 196),
      'message_errors{reason:sequence_gap}': { values: { count: 3 } },
      'message_errors{reason:refused}': { values: { count: 1 } },
      'ws_sessions{status:403}': { values: { count: 1 } },
      ws_connected_ok: rate(49, 1),
      ws_connection_time: trend({ 'p(95)': 12.4 }),
      message_response_time: trend({ 'p(90)': 900 }),
      hz_avg: trend({ avg: 99.123, max: 100 }),
    },
  };
  addCutOff(data);
  assert.equal(data.metrics.cut_off_messages.values.count, 5);
  const text = summaryText(data, readConfig({}));
  for (const expected of [
    /Failed messages +2\.00%  limit: below 1\.00%/,
    /Connections made +98\.00%  limit: 100\.00%/,
    /Time to connect, p95 +12 ms  limit: below 5000 ms/,
    /Time to reply, p90 +900 ms  limit: below 10000 ms/,
    /Pace of the loop, average +99\.12 Hz  limit: above 95 Hz/,
    /Messages: 200 judged, 4 failed, 5 cut off by the end of the test/,
    /3 sequence_gap: chunks were missing or out of order/,
    /1 refused: no connection/,
    /Refused access \(401 or 403\): 1 connections; no token was sent: TOKENS names a file of them/,
  ]) {
    assert.match(text, expected);
  }
  assert.doesNotMatch(text, /Start together/);
});

test('the summary of a run in which nothing was recorded has no numbers', () => {
  const data = { metrics: { message_response_time: trend({}), ws_connection_time: trend({}), hz_avg: trend({}) } };
  addCutOff(data);
  const text = summaryText(data, readConfig({}), { arrived: 1, failed: { refused: 2, other: 0 }, failedTotal: 2, missing: 3, parties: 6, releasedAt: null });
  assert.match(text, /Time to reply, p90 +n\/a/);
  assert.match(text, /Failed messages +n\/a/);
  assert.match(text, /Pace of the loop, average +n\/a/);
  assert.match(text, /Start together: 1 of 6 connected, 2 failed \(refused 2\), 3 missing; never released/);
});

test('a summary of thresholds names those that do not hold', () => {
  const metrics = {
    errors: { values: { rate: 0.5 }, thresholds: { 'rate<0.01': { ok: false } } },
    fast: { values: { avg: 1 }, thresholds: { 'avg<2': { ok: true } } },
    other: { values: { count: 1 } },
  };
  assert.equal(
    thresholdsText('Title', { metrics }),
    '\nTitle\n  errors: DOES NOT HOLD: rate<0.01 (limit rate<0.01; rate 0.5)\n  fast: holds (limit avg<2; avg 1)\n',
  );
});

test('the page has every variable and every metric', () => {
  const read = (path) => readFileSync(new URL(`../../chat/${path}`, import.meta.url), 'utf8');
  const names = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort();
  const [, settings, metrics] = read('README.md').split(/^## (?:Settings|Metrics|What such scripts often do wrongly)$/m);
  const firstCells = (section) => [...section.matchAll(/^\| (`[^|]+) \|/gm)].map(([, cell]) => cell).join(' ');

  const variables = names(read('lib/settings.js'), /\b(?:text|whole|number|oneOf|address|span)\('([A-Z0-9_]+)'/g);
  assert.deepEqual(names(firstCells(settings), /`([A-Z0-9_]+)`/g), [...variables, 'LOAD', 'TEST_PASSWORD'].sort());
  // The runner clears the environment of what the suite does not declare: such a variable would be ignored without a word.
  const declared = names(read('../../bench/suites/chat.toml'), /^\[env\.([A-Z0-9_]+)\]$/gm);
  assert.deepEqual([...variables, 'TEST_PASSWORD'].filter((name) => !declared.includes(name)), []);

  const streaming = ['websocket-streaming-load-test.js', 'lib/session.js', 'lib/meeting.js'].map(read).join('');
  const recorded = names(streaming, /new (?:Counter|Trend|Rate)\('([a-z_]+)'/g);
  assert.deepEqual(names(firstCells(metrics), /`([a-z_]+)`/g), [...recorded, 'cut_off_messages'].sort());
});
