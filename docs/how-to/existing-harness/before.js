// Users gather on open streams, then one controller opens the event. They are counted in Redis, and polled for.
import http from 'k6/http';
import sse from 'k6/x/sse';
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Client } from 'k6/x/redis';

const { BASE_URL, EVENT_ID, REDIS_URL } = __ENV;
const VUS = Number(__ENV.VUS);
const redis = new Client(REDIS_URL);
const JOINED = `joined:${__ENV.RUN_ID}`;
const FAILED = `failed:${__ENV.RUN_ID}`;

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: VUS, iterations: 1 },
    controller: { executor: 'shared-iterations', vus: 1, iterations: 1, exec: 'controller' },
  },
};

function login(email) {
  const body = JSON.stringify({ email, password: 'password123' });
  const answer = http.post(`${BASE_URL}/api/v1/auth/login`, body, { headers: { 'Content-Type': 'application/json' } });
  return answer.status === 200
    ? { Authorization: `Bearer ${answer.headers.Authorization}`, Cookie: `refreshToken=${answer.cookies.refreshToken[0].value}` }
    : undefined;
}

export default async function () {
  const user = exec.scenario.iterationInTest + 1;
  const headers = login(`user${user}@example.com`);
  if (!headers) {
    await redis.incr(FAILED);
    return;
  }
  let joined = false;
  sse.open(`${BASE_URL}/api/v1/broker/events/${EVENT_ID}/tickets/waiting`, { headers }, (client) => {
    client.on('event', (event) => {
      if (!joined) {
        joined = true;
        redis.sadd(JOINED, user); // sent now; the promise settles only after the stream has ended
      }
      if (event.data.includes('IN_PROGRESS')) {
        client.close();
      }
    });
    client.on('error', () => client.close());
  });
}

export async function controller() {
  const headers = login('admin@example.com');
  const deadline = Date.now() + 300000;
  for (;;) {
    const joined = await redis.sendCommand('SCARD', JOINED);
    const failed = (await redis.exists(FAILED)) ? Number(await redis.get(FAILED)) : 0;
    if (joined + failed >= VUS) {
      break;
    }
    if (Date.now() > deadline) {
      exec.test.abort(`barrier: ${joined} joined, ${failed} failed`);
    }
    sleep(0.5);
  }
  http.patch(`${BASE_URL}/api/v1/events/${EVENT_ID}?status=OPEN`, null, { headers });
}
