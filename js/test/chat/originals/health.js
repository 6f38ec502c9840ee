/** What an existing health check does: it asks both addresses over HTTP, also the one that is none. */

import { check } from 'k6';
import http from 'k6/http';

export { handleSummary } from './wire.js';

const { BASE_URL, WS_URL } = __ENV;

export const options = {
  vus: 1,
  iterations: 5,
  thresholds: { http_req_failed: ['rate<0.1'] },
};

export default function () {
  check(http.get(`${BASE_URL}/health`), { 'api is healthy': ({ status }) => status === 200 });
  check(http.get(`${WS_URL}/health`), { 'stream is healthy': ({ status }) => status === 200 });
}
