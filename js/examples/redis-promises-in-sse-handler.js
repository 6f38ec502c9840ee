// @ts-check
/**
 * Why the barrier's calls are synchronous.
 *
 * `sse.open` blocks the virtual user's event loop until the stream has ended. A promise that is started in one of its
 * handlers does its work, but nothing that awaits it goes on before that: users who meet by promises of k6/x/redis never
 * get to know that they have met. The same meeting by k6/x/barrier works in the very same place.
 *
 *   k6 run -e EVENT_IDS=id1 js/examples/redis-promises-in-sse-handler.js
 *
 * needs a Redis and a target with at least ten users (BASE_URL, REDIS_URL as in lib/settings.js). Both thresholds hold: none
 * of five users meets by promises, and all of five by the barrier.
 */

import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { setTimeout } from 'k6/timers';
import { Barrier } from 'k6/x/barrier';
import { Client } from 'k6/x/redis';
import sse from 'k6/x/sse';

import { readConfig } from '../lib/settings.js';

const config = readConfig(__ENV, (path) => open(path));

const USERS = 5;
const scenario = { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '30s' };

/** Users who met all others while their stream was open. */
const metInStream = new Counter('met_in_stream');

export const options = {
  scenarios: {
    promises: { ...scenario, exec: 'byPromises' },
    barrier: { ...scenario, exec: 'byBarrier' },
  },
  thresholds: {
    'met_in_stream{scenario:promises}': ['count==0'],
    'met_in_stream{scenario:barrier}': [`count==${USERS}`],
  },
};

/** @typedef {{ runId: string }} SetupData */

/** @returns {SetupData} */
export function setup() {
  return { runId: `example-${Date.now()}` };
}

/** @param {SetupData} data */
export function byPromises({ runId }) {
  const userId = exec.scenario.iterationInTest + 1;
  const redis = new Client(config.redisUrl);
  const key = `EXAMPLE_JOINED:${runId}`;

  const meet = async () => {
    await redis.sendCommand('SADD', key, userId);
    await redis.sendCommand('EXPIRE', key, 60);
    while (Number(await redis.sendCommand('SCARD', key)) < USERS) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  inStream(userId, (met) => void meet().then(met));
}

/** @param {SetupData} data */
export function byBarrier({ runId }) {
  const userId = USERS + exec.scenario.iterationInTest + 1;
  const barrier = new Barrier('example', { parties: USERS, store: config.redisUrl, runId, timeout: '10s' });
  inStream(userId, (met) => {
    barrier.arriveAndWait({ participant: userId });
    met();
  });
}

/**
 * Opens a user's stream, starts a meeting at its first message, and counts it where it succeeds before the stream ends:
 * by the handler's own hand, or after three seconds.
 *
 * @param {number} userId
 * @param {(met: () => void) => void} startMeeting
 */
function inStream(userId, startMeeting) {
  const credentials = JSON.stringify({ email: `user${userId}@${config.loginEmailDomain}`, password: config.loginPassword });
  const login = http.post(`${config.baseUrl}/api/v1/auth/login`, credentials, { headers: { 'Content-Type': 'application/json' } });
  if (login.status !== 200) {
    throw new Error(`user ${userId} cannot log in at ${config.baseUrl}: status ${login.status}`);
  }
  // By hand, because a jar does not send a cookie marked Secure over plain http.
  const cookies = { refreshToken: login.cookies.refreshToken[0].value };
  const headers = { Authorization: `Bearer ${login.headers.Authorization}` };
  const url = `${config.brokerBaseUrl}/api/v1/broker/events/${config.eventIds[0]}/tickets/waiting`;
  let started = false;
  let open = true;
  sse.open(url, { headers, cookies, timeout: '3s' }, (client) => {
    client.on('event', () => {
      if (!started) {
        started = true;
        startMeeting(() => {
          if (open) {
            metInStream.add(1);
          }
          client.close();
        });
      }
    });
  });
  open = false;
}
