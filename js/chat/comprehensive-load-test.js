// @ts-check
/**
 * The whole application under load: users log in, upload a file, chat over HTTP, chat over WebSocket.
 *
 *   k6 run -e VUS=10 -e DURATION=1m js/chat/comprehensive-load-test.js
 */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { declared } from '../lib/load.js';
import { addressOf } from './lib/dialects.js';
import { draw, promptOf, within } from './lib/prompts.js';
import { attempt, judge, SYSTEM_TAGS, talk } from './lib/session.js';
import { readConfig, stagesOf } from './lib/settings.js';
import { dialectOf, prompts, settled } from './lib/start.js';
import { thresholdsText } from './lib/summary.js';

/** WebSocket sessions without a connection. */
const wsConnectionErrors = new Counter('ws_connection_errors');
/** Of calls about users and files, ms. */
const apiResponseTime = new Trend('api_response_time', true);
/** Of a message over HTTP to its answer, ms. */
const chatResponseTime = new Trend('chat_response_time', true);
/** 1 for each login that failed, 0 for each other. */
const authFailures = new Rate('auth_failures');
/** 1 for each upload that failed, 0 for each other. */
const uploadFailures = new Rate('upload_failures');
/** 1 for each other answer that is not what was asked for, 0 for each that is: a status of 200 alone serves nobody. */
const errors = new Rate('errors');

const config = settled(() => readConfig(__ENV, { vus: 50, wsUrl: 'ws://localhost:4002', dialect: 'token' }));
const dialect = dialectOf(config);

/** In nine minutes to all users, five with all, in three to none. */
const COURSE = /** @type {import('./lib/settings.js').Course} */ ({
  holdS: 300,
  stages: [[120, 0.2], [300, 0.4], [120, 1], [300, 1], [180, 0]],
});

export const options = {
  scenarios: settled(() =>
    declared({ application: { executor: 'ramping-vus', stages: stagesOf(COURSE, config), gracefulRampDown: '45s', gracefulStop: '45s' } }),
  ),
  systemTags: SYSTEM_TAGS,
  thresholds: {
    http_req_duration: ['p(95)<2000'],
    http_req_failed: ['rate<0.05'],
    ws_connection_errors: ['count<10'],
    auth_failures: ['rate<0.01'],
    upload_failures: ['rate<0.05'],
    errors: ['rate<0.05'],
    chat_response_time: ['p(90)<5000'],
    error_rate: [`rate<${config.errorRateLimit}`],
  },
};

const PASSWORD = __ENV.TEST_PASSWORD || 'password123';
/** What users do, and in which share of iterations. */
const WAYS = /** @type {[share: number, way: (user: Account) => void][]} */ ([
  [0.3, seeProfile],
  [0.25, uploadFile],
  [0.35, chatOverHttp],
  [0.1, chatOverSocket],
]);

/** Without the password: what setup returns stands in the summary. @typedef {{ email: string }} Account */

/** Ten users, who may be there already. */
export function setup() {
  const users = [...Array(10).keys()].map((number) => ({ email: `loadtest${number}@example.com` }));
  users.forEach((user, number) => {
    const { status, body } = http.post(`${config.baseUrl}/api/auth/register`, { ...user, password: PASSWORD, name: `Load Test ${number}` }, {
      responseCallback: http.expectedStatuses(200, 201, 409),
    });
    if (![200, 201, 409].includes(status)) {
      exec.test.abort(`setup: user ${user.email} could not be registered: status ${status}, body ${String(body).slice(0, 200)}`);
    }
  });
  return users;
}

/** @param {Account[]} users */
export default function (users) {
  const { idInTest: vu, iterationInScenario: iteration } = exec.vu;
  let drawn = draw(vu, iteration, 3);
  const [, way] = WAYS.find(([share]) => (drawn -= share) < 0) ?? WAYS[0];
  way(users[(vu - 1) % users.length]);
  sleep(within(config.pause, draw(vu, iteration, 2)) / 1000);
}

/**
 * Logs in.
 *
 * @param {Account} user
 * @returns {string | undefined} a token
 */
function logIn({ email }) {
  const answer = http.post(`${config.baseUrl}/api/auth/login`, { email, password: PASSWORD });
  const token = jsonOf(answer)?.token;
  apiResponseTime.add(answer.timings.duration);
  const well = check(answer, {
    'login status is 200': ({ status }) => status === 200,
    'login response time < 1000ms': ({ timings }) => timings.duration < 1000,
    'login returns token': () => typeof token === 'string',
  });
  authFailures.add(well ? 0 : 1);
  return typeof token === 'string' ? token : undefined;
}

/** @param {Account} user */
function seeProfile(user) {
  const token = logIn(user);
  if (token === undefined) {
    return;
  }
  const answer = http.get(`${config.baseUrl}/api/user/profile`, bearer(token));
  apiResponseTime.add(answer.timings.duration);
  expect(answer, {
    'profile fetch successful': ({ status }) => status === 200,
    'profile has user data': () => jsonOf(answer)?.email === user.email,
  });
}

/** @param {Account} user */
function uploadFile(user) {
  const token = logIn(user);
  if (token === undefined) {
    return;
  }
  const file = http.file(`notes of ${user.email}`, 'notes.txt', 'text/plain');
  const answer = http.post(`${config.baseUrl}/api/upload`, { file }, bearer(token));
  const id = jsonOf(answer)?.fileId;
  apiResponseTime.add(answer.timings.duration);
  const well = check(answer, {
    'upload status is 200': ({ status }) => status === 200,
    'upload response time < 5000ms': ({ timings }) => timings.duration < 5000,
    'upload returns file id': () => id !== undefined,
  });
  uploadFailures.add(well ? 0 : 1);
  if (id === undefined) {
    return;
  }
  // Asked until it is so, 10 s at most: nobody knows how long the service takes.
  let status;
  for (let asked = 0; asked < 20 && (status?.status ?? 200) === 200 && jsonOf(status)?.status !== 'processed'; asked++) {
    sleep(asked === 0 ? 0 : 0.5);
    status = http.get(`${config.baseUrl}/api/files/${id}/status`, { ...bearer(token), tags: { name: 'file status' } });
  }
  expect(status, {
    'file status check successful': (last) => last?.status === 200,
    'file processing completed': (last) => jsonOf(last)?.status === 'processed',
  });
}

/** @param {Account} user */
function chatOverHttp(user) {
  const token = logIn(user);
  if (token === undefined) {
    return;
  }
  const message = promptOf(prompts, exec.vu.idInTest, exec.vu.iterationInScenario);
  const headers = { ...bearer(token).headers, 'Content-Type': 'application/json' };
  const answer = http.post(`${config.baseUrl}/api/chat/message`, JSON.stringify({ message, stream: false }), { headers });
  chatResponseTime.add(answer.timings.duration);
  check(answer, { 'chat response time < 10000ms': ({ timings }) => timings.duration < 10000 });
  expect(answer, {
    'chat status is 200': ({ status }) => status === 200,
    'chat returns response': () => Boolean(jsonOf(answer)?.response),
  });
  const history = http.get(`${config.baseUrl}/api/chat/history`, bearer(token));
  expect(history, {
    'chat history accessible': ({ status }) => status === 200,
    'history contains messages': () => jsonOf(history)?.messages?.length > 0,
  });
}

/** @param {Account} user */
function chatOverSocket(user) {
  const token = logIn(user);
  if (token === undefined) {
    return;
  }
  const { idInTest: vu, iterationInScenario: iteration } = exec.vu;
  attempt();
  const options = { dialect, token, replyLimitMs: config.replyLimitMs };
  const { connected } = talk(addressOf(config.wsUrl, dialect, token), options, function* (connection) {
    const { failed } = yield connection.ask({ id: `${vu}-${iteration}`, content: promptOf(prompts, vu, iteration), user: vu });
    judge(failed);
  });
  // Also where all is well: a counter that nobody has fed is no value for whoever judges it.
  wsConnectionErrors.add(connected ? 0 : 1);
  if (!connected) {
    judge('refused');
  }
}

/**
 * Checks what an answer says, and counts it. How long it took is judged elsewhere.
 *
 * @template T
 * @param {T} answer
 * @param {import('k6').Checkers<T>} expectations by what they say
 */
function expect(answer, expectations) {
  errors.add(check(answer, expectations) ? 0 : 1);
}

/** @param {string} token */
function bearer(token) {
  return { headers: { Authorization: `Bearer ${token}` } };
}

/** The JSON object of an answer, undefined where there is none. @param {{ body?: any } | undefined} answer @returns {any} */
function jsonOf(answer) {
  try {
    return JSON.parse(String(answer?.body)) ?? undefined;
  } catch {
    return undefined;
  }
}

/** @param {any} data */
export function handleSummary(data) {
  return { stdout: thresholdsText('Chat application', data), 'summary.json': JSON.stringify(data, null, 2) };
}
