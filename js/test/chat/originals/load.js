/** What existing scripts of general load do: health, a form login, conversations, some streams and uploads. */

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { bearer, FORM_LABELLED_JSON, jsonOf, rest, session } from './wire.js';

export { handleSummary } from './wire.js';

const { BASE_URL, WS_URL } = __ENV;

const errors = new Rate('errors'); // only ever fed with 1
const responseTime = new Trend('response_time_p95');
const connectionErrors = new Counter('ws_connection_errors');
const messagesSent = new Counter('chat_messages_sent');
/** Of this script alone. */
const framesReceived = new Counter('frames_received');

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: 15, iterations: 1 } },
  thresholds: {
    errors: ['rate<0.01'],
    http_req_duration: ['p(95)<2000'],
    http_req_failed: ['rate<0.01'], // so that a login must not be answered with 401
    response_time_p95: ['p(95)<2000'],
  },
};

export default function () {
  const one = (answer, name, ...statuses) => {
    responseTime.add(answer.timings.duration);
    check(answer, { [name]: ({ status }) => statuses.includes(status) });
    return answer;
  };

  one(http.get(`${BASE_URL}/api/health`), 'health', 200);
  const account = { email: `load-test-${(__VU % 3) + 1}@example.com`, password: 'LoadTest123!' };
  const login = one(http.post(`${BASE_URL}/api/auth/login`, account, FORM_LABELLED_JSON), 'login', 200, 401);
  if (login.status !== 200) {
    errors.add(1);
  }
  const { token, accessToken = token } = jsonOf(login);
  one(http.get(`${BASE_URL}/api/chat/conversations`, bearer(accessToken)), 'conversations', 200, 401, 404);

  if (__VU % 3 === 0) {
    const stream = session(WS_URL, {
      openS: 5,
      first: () => {
        messagesSent.add(1);
        return [
          { type: 'auth', token: accessToken },
          { type: 'chat', message: 'hello', timestamp: Date.now() },
        ];
      },
      frame: () => framesReceived.add(1),
    });
    if (stream.status !== 101) {
      connectionErrors.add(1);
    }
    check(stream, { stream: ({ status }) => status === 101 });
  }
  if (__VU % 5 === 0) {
    const file = http.file('a few words of text', 'notes.txt', 'text/plain');
    one(http.post(`${BASE_URL}/api/data/upload`, { file }, bearer(accessToken)), 'upload', 200, 201, 401, 413, 422);
  }
  rest(1, 3);
}
