/** The reference chat service on free ports, and the scripts of js/chat with it. */

import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { newFolder, serve, World } from './world.mjs';

const js = resolve(fileURLToPath(import.meta.url), '../../..');
const CHAT_SERVICE = process.env.CHAT_SERVICE_BIN ?? join(js, '../bin/chat-service');

export const chatScript = (name) => join(js, 'chat', name);
export const originalScript = (name) => join(js, 'test/chat/originals', name);

/** Replies of five chunks in 80 ms: what is tested is the same in a shorter time. */
const SHORT = ['--chunks', '5', '--first-chunk-ms', '20', '--chunk-interval-ms', '15'];

/** Sessions of so many messages, one for each user, without pauses: the number of messages is known. */
export const exactly = (users, messages) => ({
  VUS: users,
  MESSAGES: messages,
  THINK_MS: 0,
  PAUSE_MS: 0,
  HZ: 'off',
  LOAD: JSON.stringify({ streaming: { executor: 'per-vu-iterations', vus: users, iterations: 1, maxDuration: '60s' } }),
});

/** Fails with the names of checks that did not always pass. */
export function expectChecks(run) {
  const { checks } = run.summary.root_group;
  assert.ok(checks.length > 0, run.output);
  const failed = checks.filter(({ fails }) => fails > 0).map(({ name, passes, fails }) => `${name}: ${fails} of ${passes + fails} failed`);
  assert.deepEqual(failed, [], run.output);
}

/**
 * Starts the service. Its addresses are in the environment that `run` gives to scripts.
 *
 * @param {string[]} args further arguments of it
 */
export async function startChat(t, args = []) {
  const world = new World(t, await newFolder(t), 0);
  const free = '127.0.0.1:0';
  const listen = ['--listen', free, '--stream-listen', free, '--also', free, '--consciousness', free, '--research-api', free];
  const ready = /listening on (\S+)\nstream on (\S+)\nalso on (\S+)\nconsciousness on (\S+)\nresearch-api on (\S+)\n/;
  const { child, match } = await serve(t, CHAT_SERVICE, [...listen, ...SHORT, ...args], ready);
  const [, api, stream, also, consciousness, research] = match;
  const ws = (url) => url.replace(/^http/, 'ws');
  return {
    child,
    folder: world.folder,
    api,
    stream: ws(stream),
    env: { BASE_URL: api, WS_URL: ws(stream) },
    /** What scripts with more services are told. */
    all: {
      BASE_URL: api,
      WS_URL: ws(also),
      CHAT_ORCHESTRATOR_URL: also,
      CHAT_ORCHESTRATOR: also,
      METRICS_URL: `${api}/metrics`,
      CONSCIOUSNESS_API: consciousness,
      RESEARCH_API: research,
    },
    /** Runs a script to its end. */
    run(script, env = {}, options = {}) {
      return world.k6({ ...this.env, ...env }, { script, ...options });
    },
    /** Starts a script, without waiting for its end. */
    start: (script, env) => world.startTest(script, [], env),
    async setFaults(faults) {
      const answer = await fetch(`${api}/faults`, { method: 'PUT', body: JSON.stringify(faults) });
      assert.equal(answer.status, 200, await answer.text());
    },
    /** The service's own counters. */
    counters: async () => (await fetch(`${api}/counters`)).json(),
  };
}
