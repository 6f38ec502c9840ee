import http from 'k6/http';
import { declared } from '../../../js/lib/load.js';

export const options = {
  scenarios: declared({ api: { executor: 'constant-arrival-rate', rate: 5, duration: '5s', preAllocatedVUs: 5 } }),
};

export default function () {
  http.get(`${__ENV.BASE_URL}/health`);
}

export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
