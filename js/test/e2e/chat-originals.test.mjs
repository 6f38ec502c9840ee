/**
 * Scripts that people have do on the wire what those in test/chat/originals do, with calls that are well formed and others
 * that are not. The reference service must serve them all the same.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { expectChecks, originalScript, startChat } from './chat.mjs';

const THRESHOLDS = 99;

/** Pauses are a fiftieth of what such scripts take, so 15 s of silence are 300 ms; 1 is theirs. */
const PACE = process.env.ORIGINALS_PACE ?? '0.02';

const run = (chat, name) => chat.run(originalScript(name), { ...chat.all, PACE, HZ_LIMIT: PACE === '1' ? 95 : 50 });

test('metrics 83 times a second, a message with a number as its time, silence before the first frame', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'streaming.js')).expect(0);
  expectChecks(outcome);
  assert.equal(outcome.value('completed_replies'), 4, 'three users and the silent one');
  assert.ok(outcome.value('ws_session_duration', 'min') >= 5000, 'none is closed by its reply');
  assert.ok(outcome.value('hz_avg', 'avg') > 50);
  assert.equal(outcome.value('dropped_iterations'), 0);
  const { metricsReads } = await chat.counters();
  assert.ok(metricsReads >= 2 * 83, `${metricsReads} reads in 2 s or more`);
});

test('a login form under the wrong label, a token in the address, a pace with labels', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'enhanced.js')).expect(0);
  expectChecks(outcome);
  assert.ok(outcome.value('hz_avg', 'avg') > 50, 'frames tell the pace');
  assert.equal(outcome.value('backend_metrics_checks'), 2);
  assert.equal(outcome.value('error_rate', 'passes'), 0);
});

test('register, profile, upload, chat and a stream', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'comprehensive.js')).expect(0);
  expectChecks(outcome);
  assert.ok(outcome.value('right_frames') > 0, outcome.output);
  // Accounts that are there already are kept, and their 409 counts as a failed request.
  const again = (await run(chat, 'comprehensive.js')).expect(THRESHOLDS, /thresholds on metrics 'http_req_failed' have been crossed/);
  expectChecks(again);
  assert.equal(again.value('http_req_failed', 'passes'), 10);
});

test('conversations, an authorising frame, a message whose time is a number, an upload', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'load.js')).expect(0);
  expectChecks(outcome);
  assert.equal(outcome.value('chat_messages_sent'), 5);
  assert.deepEqual([outcome.value('ws_sessions'), outcome.value('ws_msgs_sent')], [5, 10], 'both frames over one connection');
  assert.ok(outcome.value('frames_received') >= 5 * 5, outcome.output);
});

test('an analysis that comes by itself, a dataset that is asked for, a conversation', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'research.js')).expect(0);
  expectChecks(outcome);
  assert.ok(outcome.value('consciousness_insights_generated') > 0);
  assert.ok(outcome.value('memory_stability_checks') > 0);
  assert.equal(outcome.value('completed_turns'), 2);
});

test('a health check over an address that is none for HTTP fails on any service, by half', async (t) => {
  const chat = await startChat(t);
  const outcome = (await run(chat, 'health.js')).expect(THRESHOLDS, /unsupported protocol scheme/);
  assert.deepEqual([outcome.value('http_req_failed', 'passes'), outcome.value('http_req_failed', 'fails')], [5, 5]);
});
