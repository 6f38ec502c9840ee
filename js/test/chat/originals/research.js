/** What existing scripts of a research platform do: an analysis that is pushed, an upload that is asked for, a conversation. */

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { bearer, FORM_LABELLED_JSON, jsonOf, rest, session } from './wire.js';

export { handleSummary } from './wire.js';

const { BASE_URL, CONSCIOUSNESS_API, CHAT_ORCHESTRATOR, RESEARCH_API, WS_URL } = __ENV;

const errorRate = new Rate('error_rate');
const tokenRate = new Rate('streaming_token_rate');
const insights = new Counter('consciousness_insights_generated');
const memoryChecks = new Counter('memory_stability_checks');
const analysisTime = new Trend('consciousness_processing_time');
const datasetTime = new Trend('dataset_analysis_time');
/** Of this script alone: turns of a conversation that came to their end. */
const turns = new Counter('completed_turns');

const each = { executor: 'per-vu-iterations', vus: 2, iterations: 1 };

export const options = {
  scenarios: {
    analyses: { ...each, exec: 'analyses' },
    datasets: { ...each, exec: 'datasets' },
    conversations: { ...each, exec: 'conversations' },
    integrity: { ...each, exec: 'integrity' },
  },
  thresholds: {
    error_rate: ['rate<0.005'],
    streaming_token_rate: ['rate>0.95'],
    consciousness_processing_time: ['p(95)<30000'],
    dataset_analysis_time: ['p(90)<60000'],
    consciousness_insights_generated: ['count>0'],
    memory_stability_checks: ['count>0'],
  },
};

const INSIGHTS = ['self_awareness', 'memory_integration', 'emotional_mapping', 'temporal_integration', 'sensory_integration'];

export function setup() {
  for (const origin of [BASE_URL, CONSCIOUSNESS_API, CHAT_ORCHESTRATOR, RESEARCH_API]) {
    check(http.get(`${origin}/health`), { 'is healthy before the test': ({ status }) => status === 200 });
  }
  const tokens = [...Array(5).keys()].map((number) => {
    const account = { username: `researcher${number}`, password: 'password123' };
    return jsonOf(http.post(`${BASE_URL}/api/auth/research-login`, account, FORM_LABELLED_JSON)).token;
  });
  check(tokens, { 'researchers have tokens': (all) => all.every(Boolean) });
  check(http.get(`${CONSCIOUSNESS_API}/models/status`), { 'models are there': ({ status }) => status === 200 });
  return tokens;
}

const post = (url, body, token) => http.post(url, body, bearer(token, FORM_LABELLED_JSON));
const tokenOf = (tokens) => tokens[__VU % tokens.length];

export function analyses(tokens) {
  const token = tokenOf(tokens);
  const began = Date.now();
  const query = { query: 'what holds?', analysis_type: 'deep', depth: 5, include_metrics: true, research_mode: true };
  const answer = post(`${CONSCIOUSNESS_API}/analyze`, query, token);
  const { analysis_id: analysis } = jsonOf(answer);
  check(answer, {
    'analysis is accepted': ({ status }) => status === 200 || status === 202,
    'analysis has an id': () => Boolean(analysis),
  });
  let complete = false;
  session(`${WS_URL}/consciousness?token=${token}&analysis=${analysis}`, {
    openS: 30,
    frame: ({ type, content, stable }, socket) => {
      if (type === 'consciousness_token') {
        tokenRate.add(1);
        insights.add(INSIGHTS.filter((word) => JSON.stringify(content).includes(word)).length);
      } else if (type === 'memory_status') {
        memoryChecks.add(1);
        check(stable, { 'memory is stable': (told) => told === true });
      } else if (type === 'analysis_complete') {
        complete = true;
        analysisTime.add(Date.now() - began);
        socket.close();
      }
    },
  });
  check(complete, { 'analysis comes to its end': (told) => told });
}

export function datasets(tokens) {
  const token = tokenOf(tokens);
  const began = Date.now();
  const upload = post(`${RESEARCH_API}/datasets/upload`, { name: 'a set', type: 'text', data: '[1, 2, 3]' }, token);
  const { processing_id: id } = jsonOf(upload);
  check(upload, {
    'dataset is accepted': ({ status }) => status === 200 || status === 201,
    'dataset has an id': () => Boolean(id),
  });
  let told = {};
  for (let asked = 0; asked < 60 && told.status !== 'completed' && told.status !== 'failed'; asked++) {
    rest(5, 5);
    told = jsonOf(http.get(`${RESEARCH_API}/datasets/processing/${id}`, bearer(token)));
  }
  datasetTime.add(Date.now() - began);
  check(told, {
    'dataset is completed': ({ status }) => status === 'completed',
    'dataset has insights': ({ insights_count: count }) => count > 0,
  });
}

export function conversations(tokens) {
  const token = tokenOf(tokens);
  session(`${WS_URL}/research-chat?token=${token}`, {
    openS: 30,
    first: () => ({ type: 'research_query', message: 'what follows?', conversation_turn: 1 }),
    frame: ({ type }, socket) => {
      if (type === 'token' || type === 'stream') {
        tokenRate.add(1);
      } else if (type === 'response_complete') {
        turns.add(1);
        socket.close();
      } else if (type === 'error') {
        errorRate.add(1);
      }
    },
  });
}

export function integrity(tokens) {
  const urls = [
    `${CONSCIOUSNESS_API}/metrics/consciousness`,
    `${CONSCIOUSNESS_API}/models/status`,
    `${RESEARCH_API}/validation/integrity`,
    `${BASE_URL}/api/system/performance`,
  ];
  for (const url of urls) {
    check(http.get(url, bearer(tokenOf(tokens))), { 'integrity can be asked for': ({ status }) => status === 200 });
  }
}

export function teardown() {
  for (const url of [`${CONSCIOUSNESS_API}/health`, `${RESEARCH_API}/health`, `${BASE_URL}/api/health`]) {
    check(http.get(url), { 'is healthy after the test': ({ status }) => status === 200 });
  }
}
