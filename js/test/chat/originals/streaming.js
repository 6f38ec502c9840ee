/**
 * What existing streaming scripts do: read /metrics in each iteration, open a stream at /chat, send one message, stay for 5
 * to 15 s, whenever the reply is complete. Beside it the reads that a thousand such users make, and users who are silent
 * before their first frame.
 */

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { HZ_LIMIT, PACE, rest, session, stay } from './wire.js';

export { handleSummary } from './wire.js';

const { BASE_URL, WS_URL, CHAT_ORCHESTRATOR_URL } = __ENV;

const errorRate = new Rate('error_rate'); // only ever fed with 1
const hzChecks = new Counter('hz_checks');
const hzAvg = new Trend('hz_avg');
const connectionTime = new Trend('ws_connection_time');
const responseTime = new Trend('message_response_time');
/** Of this script alone: replies to their end. */
const completed = new Counter('completed_replies');

const READS = 83; // a second, of a thousand users
const IDLE_S = 15;

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: 3, iterations: 1, exec: 'user' },
    silent: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'silent' },
    readers: { executor: 'constant-arrival-rate', rate: READS, duration: `${Math.max(2, 60 * PACE)}s`, preAllocatedVUs: READS, exec: 'read' },
  },
  thresholds: {
    error_rate: ['rate<0.01'],
    hz_avg: [`avg>${HZ_LIMIT}`],
    ws_connection_time: ['p(95)<5000'],
    message_response_time: ['p(90)<10000'],
  },
};

export function setup() {
  check(http.get(`${BASE_URL}/metrics`), { 'metrics are there before the test': ({ status }) => status === 200 });
  // 503 where the loop is slow, which is told and no more.
  const health = http.get(`${CHAT_ORCHESTRATOR_URL}/healthz`);
  check(health, { 'health tells a pace before the test': () => health.json('hz') > 0 });
}

export function read() {
  const metrics = http.get(`${BASE_URL}/metrics`);
  check(metrics, {
    'metrics endpoint responds': ({ status }) => status === 200,
    'metrics response time < 1000ms': ({ timings }) => timings.duration < 1000,
  });
  // No labels, no exponent, no sign.
  const found = /consciousness_loop_hz\s+(\d+(?:\.\d+)?)/.exec(metrics.body);
  let hz = found ? parseFloat(found[1]) : undefined;
  if (!found) {
    const health = http.get(`${CHAT_ORCHESTRATOR_URL}/healthz`);
    hz = health.status === 200 ? health.json('hz') : undefined;
  }
  if (hz) {
    hzAvg.add(hz);
    hzChecks.add(1, { type: 'hz' });
  } else {
    errorRate.add(1);
  }
  check(hz, { 'consciousness loop Hz > 95': (pace) => pace > HZ_LIMIT });
}

export function user() {
  read();
  chat(0, stay(5, 15));
  rest(1, 3);
}

export function silent() {
  chat(IDLE_S, IDLE_S * PACE + 5);
}

function chat(idleS, openS) {
  const began = Date.now();
  let complete = false;
  const answer = session(`${WS_URL}/chat`, {
    idleS,
    openS,
    first: () => ({
      type: 'chat',
      content: 'what does the loop think of?',
      messageId: `msg_${__VU}_${Date.now()}`,
      userId: `user_${__VU}`,
      timestamp: Date.now(),
    }),
    frame: ({ type, event, content }) => {
      check(type, {
        'WebSocket message is valid': (told) => Boolean(told),
        'Message has correct structure': () => Boolean(event || content),
      });
      if (!type || !(event || content)) {
        errorRate.add(1);
      }
      if (type === 'stream_event' && event.type === 'token') {
        check(event, { 'Streaming token received': ({ data }) => data !== undefined });
      }
      if (type === 'stream_event' && event.type === 'complete') {
        complete = true;
        completed.add(1);
        if (idleS === 0) {
          responseTime.add(Date.now() - began); // it is counted from before the first frame
        }
      }
    },
  });
  connectionTime.add(answer.timings?.duration ?? 0);
  check(answer, { 'WebSocket connection established': ({ status }) => status === 101 });
  if (!complete) {
    errorRate.add(1);
  }
}
