// Users gather on open streams, then one controller opens the event. They meet at a barrier.
import http from 'k6/http';
import sse from 'k6/x/sse';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const { BASE_URL, EVENT_ID, REDIS_URL } = __ENV;
const VUS = Number(__ENV.VUS);
const barrier = new Barrier('default', {
  parties: VUS,
  store: REDIS_URL,
  runId: __ENV.RUN_ID,
  reasons: ['login', 'sse'],
  failUnaccounted: ['users'],
});

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

export default function () {
  const user = exec.scenario.iterationInTest + 1;
  barrier.register({ participant: user });
  const headers = login(`user${user}@example.com`);
  if (!headers) {
    barrier.fail('login');
    return;
  }
  sse.open(`${BASE_URL}/api/v1/broker/events/${EVENT_ID}/tickets/waiting`, { headers }, (client) => {
    client.on('event', (event) => {
      barrier.arrive(); // a repeat returns the outcome that stands
      if (event.data.includes('IN_PROGRESS')) {
        client.close();
      }
    });
  });
  barrier.fail('sse'); // refused, broken or silent; for those who have arrived, that outcome stands
}

export function controller() {
  const headers = login('admin@example.com');
  const met = barrier.wait();
  console.log(`${met.arrived} joined, ${met.failedTotal} failed: ${JSON.stringify(met.failed)}`);
  http.patch(`${BASE_URL}/api/v1/events/${EVENT_ID}?status=OPEN`, null, { headers });
}
