/** What existing scripts with logins do: a demo account, a stream at the root with the token in the address, metrics with labels. */

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { bearer, FORM_LABELLED_JSON, HZ_LIMIT, jsonOf, rest, session } from './wire.js';

export { handleSummary } from './wire.js';

const { BASE_URL, WS_URL, CHAT_ORCHESTRATOR_URL, METRICS_URL } = __ENV;

const errorRate = new Rate('error_rate');
const connectionTime = new Trend('ws_connection_time');
const responseTime = new Trend('message_response_time');
const hzAvg = new Trend('hz_avg');
const loopFrequency = new Trend('loop_frequency');
const metricsChecks = new Counter('backend_metrics_checks');

export const options = {
  // As many of each kind as shares of 60, 20 and 20 give of ten.
  scenarios: {
    streams: { executor: 'per-vu-iterations', vus: 6, iterations: 1, exec: 'stream' },
    metrics: { executor: 'per-vu-iterations', vus: 2, iterations: 1, exec: 'metrics' },
    api: { executor: 'per-vu-iterations', vus: 2, iterations: 4, exec: 'api' },
  },
  thresholds: {
    error_rate: ['rate<0.01'],
    hz_avg: [`avg>${HZ_LIMIT}`],
    ws_connection_time: ['p(95)<5000'],
    message_response_time: ['p(90)<10000'],
    backend_metrics_checks: ['count>0'],
    loop_frequency: [`avg>${HZ_LIMIT - 5}`],
  },
};

export function setup() {
  for (const url of [`${BASE_URL}/health`, `${CHAT_ORCHESTRATOR_URL}/health`, METRICS_URL]) {
    check(http.get(url), { 'is there before the test': ({ status }) => status === 200 });
  }
  return [...Array(10)].map(() => {
    const login = http.post(`${BASE_URL}/api/auth/login`, { username: 'demo', password: 'password123' }, FORM_LABELLED_JSON);
    const { token } = jsonOf(login);
    check(login, { 'auth: status is 200': ({ status }) => status === 200, 'auth: has token': () => Boolean(token) });
    return token;
  });
}

export function stream(tokens) {
  const token = tokens[__VU % tokens.length];
  const began = Date.now();
  let complete = false;
  const answer = session(`${WS_URL}?token=${token}`, {
    headers: { ...bearer(token).headers, 'User-Agent': 'k6-load-test/1.0' },
    openS: 30,
    first: () => ({ type: 'chat', message: 'hello', timestamp: new Date().toISOString(), sessionId: `session_${__VU}` }),
    frame: ({ type, hz, frequency, message }, socket) => {
      if (type === 'token' || type === 'stream') {
        [hz, frequency].filter((pace) => typeof pace === 'number').forEach((pace) => hzAvg.add(pace));
      } else if (type === 'complete' || type === 'end') {
        complete = true;
        responseTime.add(Date.now() - began);
        socket.close();
      } else if (type === 'error') {
        console.error(message);
        errorRate.add(1);
      }
    },
  });
  connectionTime.add(answer.timings?.duration ?? 0);
  check(answer, { 'ws: connection successful': ({ status }) => status === 101, 'ws: reply complete': () => complete });
  rest(1, 5);
}

export function metrics() {
  const answer = http.get(METRICS_URL);
  const { body } = answer;
  check(answer, {
    'metrics: status is 200': ({ status }) => status === 200,
    'metrics: has loop frequency data': () => ['loop_frequency', 'hz_avg', 'processing_frequency'].some((name) => body.includes(name)),
    'metrics: has error rate data': () => ['error_rate', 'http_req_failed'].some((name) => body.includes(name)),
  });
  // With braces.
  const found = /loop_frequency\{[^}]*\}\s+(\d+(?:\.\d+)?)/.exec(body);
  if (found) {
    loopFrequency.add(parseFloat(found[1]));
    metricsChecks.add(1);
  }
  rest(1, 5);
}

export function api(tokens) {
  const paths = ['/api/chat/history', '/api/datasets', '/api/user/profile', '/api/chat/sessions'];
  const answer = http.get(`${BASE_URL}${paths[__ITER % paths.length]}`, bearer(tokens[0]));
  check(answer, {
    'api: status is 200 or 404': ({ status }) => status === 200 || status === 404,
    'api: response time < 5s': ({ timings }) => timings.duration < 5000,
  });
  rest(0, 0.1);
}
