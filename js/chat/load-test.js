// @ts-check
/**
 * The API of a chat service under general load: health, login, conversations; of some users also a stream or an upload.
 *
 *   k6 run -e VUS=50 -e DURATION=1m js/chat/load-test.js
 */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { declared } from '../lib/load.js';
import { addressOf, dialects } from './lib/dialects.js';
import { draw, promptOf, within } from './lib/prompts.js';
import { attempt, judge, SYSTEM_TAGS, talk } from './lib/session.js';
import { readConfig, stagesOf } from './lib/settings.js';
import { dialectOf, prompts, settled } from './lib/start.js';
import { thresholdsText } from './lib/summary.js';

/** 1 for each step of a user that failed, 0 for each that did not. */
const errors = new Rate('errors');
/** Of all HTTP answers, ms. The name is the one that dashboards know; the statistic is in the threshold. */
const responseTime = new Trend('response_time_p95', true);
/** WebSocket sessions without a connection. */
const wsConnectionErrors = new Counter('ws_connection_errors');
/** Messages that were sent over WebSocket. */
const messagesSent = new Counter('chat_messages_sent');

const config = settled(() => readConfig(__ENV, { duration: '1m', wsUrl: 'ws://localhost:4002', dialect: 'token' }));
const dialect = dialectOf(config);

/** In three and a half minutes to all users, one with all, in half a minute to none. */
const COURSE = /** @type {import('./lib/settings.js').Course} */ ({
  holdS: 60,
  stages: [[30, 0.1], [60, 0.5], [120, 1], [60, 1], [30, 0]],
});

export const options = {
  scenarios: settled(() =>
    declared({ api: { executor: 'ramping-vus', stages: stagesOf(COURSE, config), gracefulRampDown: '45s', gracefulStop: '45s' } }),
  ),
  systemTags: SYSTEM_TAGS,
  thresholds: {
    errors: ['rate<0.01'],
    http_req_duration: ['p(95)<2000'],
    http_req_failed: ['rate<0.01'],
    response_time_p95: ['p(95)<2000'],
  },
};

const PASSWORD = __ENV.TEST_PASSWORD || 'password123';
const USERS = 3;

export default function () {
  const { idInTest: vu, iterationInScenario: iteration } = exec.vu;
  const email = `load-test-${(vu % USERS) + 1}@example.com`;

  call('health', () => http.get(`${config.baseUrl}/api/health`), [200]);

  // A user whom the service does not know is no failure: such a one goes on without a token.
  const login = call('login', (params) => http.post(`${config.baseUrl}/api/auth/login`, { email, password: PASSWORD }, params), [200, 401]);
  const token = tokenIn(login);
  /** @type {Record<string, string>} */
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };

  call('conversations', (params) => http.get(`${config.baseUrl}/api/chat/conversations`, { ...params, headers }), [200, 401, 404]);
  if (vu % 3 === 0) {
    stream(vu, iteration, token);
  }
  if (vu % 5 === 0) {
    const body = { file: http.file(`notes of ${email}`, 'notes.txt', 'text/plain') };
    call('upload', (params) => http.post(`${config.baseUrl}/api/data/upload`, body, { ...params, headers }), [200, 201, 401, 413, 422]);
  }
  sleep(within(config.pause, draw(vu, iteration, 2)) / 1000);
}

/**
 * Makes a call that may be answered in more than one way.
 *
 * @param {string} name
 * @param {(params: import('k6/http').Params) => import('k6/http').RefinedResponse<any>} request
 * @param {number[]} expected statuses
 */
function call(name, request, expected) {
  const answer = request({ responseCallback: http.expectedStatuses(...expected) });
  const well = check(answer, { [`${name} is answered`]: ({ status }) => expected.includes(status) });
  responseTime.add(answer.timings.duration);
  errors.add(well ? 0 : 1);
  return answer;
}

/**
 * A message over WebSocket, sent when the connection is open; the connection is closed after the reply.
 *
 * @param {number} vu
 * @param {number} iteration
 * @param {string | undefined} token
 */
function stream(vu, iteration, token) {
  attempt();
  const options = { dialect, token, replyLimitMs: config.replyLimitMs };
  const { connected } = talk(addressOf(config.wsUrl, dialect, token), options, function* (connection) {
    if (dialect === dialects.token) {
      connection.send({ type: 'auth', token: token ?? '' });
    }
    messagesSent.add(1);
    const { failed } = yield connection.ask({ id: `${vu}-${iteration}`, content: promptOf(prompts, vu, iteration), user: vu });
    judge(failed);
    errors.add(failed === undefined ? 0 : 1);
  });
  // Also where all is well: a counter that nobody has fed is no value for whoever judges it.
  wsConnectionErrors.add(connected ? 0 : 1);
  if (!connected) {
    judge('refused');
    errors.add(1);
  }
}

/** @param {import('k6/http').RefinedResponse<any>} answer */
function tokenIn({ status, body }) {
  try {
    const { token, accessToken } = JSON.parse(String(body));
    const found = status === 200 ? (token ?? accessToken) : undefined;
    return typeof found === 'string' ? found : undefined;
  } catch {
    return undefined;
  }
}

/** @param {any} data */
export function handleSummary(data) {
  return { stdout: thresholdsText('Chat API', data), 'summary.json': JSON.stringify(data, null, 2) };
}
