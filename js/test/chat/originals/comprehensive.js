/** What existing scripts of the whole application do: register, log in, upload and ask for the file, chat over HTTP and WebSocket. */

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { bearer, FORM_LABELLED_JSON, jsonOf, rest, session } from './wire.js';

export { handleSummary } from './wire.js';

const { BASE_URL, WS_URL } = __ENV;

const connectionErrors = new Counter('ws_connection_errors');
const apiTime = new Trend('api_response_time');
const chatTime = new Trend('chat_response_time');
const authFailures = new Rate('auth_failures');
const uploadFailures = new Rate('upload_failures');
/** Of this script alone: frames that had what is looked for. */
const rightFrames = new Counter('right_frames');

const each = { executor: 'per-vu-iterations', vus: 2, iterations: 1 };

export const options = {
  scenarios: {
    logins: { ...each, exec: 'logsIn' },
    uploads: { ...each, exec: 'uploads' },
    chats: { ...each, exec: 'chats' },
    streams: { ...each, exec: 'streams' },
  },
  thresholds: {
    http_req_duration: ['p(95)<2000'],
    http_req_failed: ['rate<0.05'],
    ws_connection_errors: ['count<10'],
    auth_failures: ['rate<0.01'],
    upload_failures: ['rate<0.05'],
    chat_response_time: ['p(90)<5000'],
  },
};

export function setup() {
  const users = [...Array(10).keys()].map((number) => ({ email: `loadtest${number}@example.com`, password: 'TestPassword123!' }));
  const kept = users.filter((user, number) => {
    const { status } = http.post(`${BASE_URL}/api/auth/register`, { ...user, name: `Load Test User ${number}` });
    return status === 201 || status === 409;
  });
  check(kept, { 'all users are there': ({ length }) => length === users.length });
  return kept;
}

function tokenOf(users) {
  const { email, password } = users[__VU % users.length];
  const login = http.post(`${BASE_URL}/api/auth/login`, { email, password });
  const { token } = jsonOf(login);
  apiTime.add(login.timings.duration);
  const well = check(login, {
    'login status is 200': ({ status }) => status === 200,
    'login response time < 1000ms': ({ timings }) => timings.duration < 1000,
    'login returns token': () => Boolean(token),
  });
  authFailures.add(!well);
  return { email, token };
}

export function logsIn(users) {
  const { email, token } = tokenOf(users);
  const profile = http.get(`${BASE_URL}/api/user/profile`, bearer(token));
  check(profile, {
    'profile fetch successful': ({ status }) => status === 200,
    'profile has user data': () => jsonOf(profile).email === email,
  });
}

export function uploads(users) {
  const { token } = tokenOf(users);
  const type = __VU % 2 === 0 ? ['notes.txt', 'text/plain'] : ['notes.md', 'text/markdown'];
  const upload = http.post(`${BASE_URL}/api/upload`, { file: http.file('a few words of text', ...type) }, bearer(token));
  const { fileId } = jsonOf(upload);
  const well = check(upload, {
    'upload status is 200': ({ status }) => status === 200,
    'upload response time < 5000ms': ({ timings }) => timings.duration < 5000,
    'upload returns file id': () => Boolean(fileId),
  });
  uploadFailures.add(!well);
  rest(2, 2);
  const status = http.get(`${BASE_URL}/api/files/${fileId}/status`, bearer(token));
  check(status, {
    'file status check successful': (answer) => answer.status === 200,
    'file processing completed': (answer) => jsonOf(answer).status === 'processed',
  });
}

export function chats(users) {
  const { token } = tokenOf(users);
  const body = { message: 'what is a barrier?', stream: false };
  const chat = http.post(`${BASE_URL}/api/chat/message`, body, bearer(token, FORM_LABELLED_JSON));
  chatTime.add(chat.timings.duration);
  check(chat, {
    'chat status is 200': ({ status }) => status === 200,
    'chat response time < 10000ms': ({ timings }) => timings.duration < 10000,
    'chat returns response': () => Boolean(jsonOf(chat).response),
  });
  const history = http.get(`${BASE_URL}/api/chat/history`, bearer(token));
  check(history, {
    'chat history accessible': ({ status }) => status === 200,
    'history contains messages': () => jsonOf(history).messages?.length > 0,
  });
}

export function streams(users) {
  const { token } = tokenOf(users);
  const answer = session(`${WS_URL}?token=${token}`, {
    openS: 5,
    first: () => ({ type: 'chat', message: 'hello' }),
    frame: ({ type, content, response }) => {
      const well = check(type, {
        'ws message has type': (told) => Boolean(told),
        'ws message has content': () => Boolean(content || response) || type === 'complete',
      });
      rightFrames.add(well ? 1 : 0);
    },
  });
  if (answer.status !== 101) {
    connectionErrors.add(1);
  }
}
