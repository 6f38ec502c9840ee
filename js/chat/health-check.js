// @ts-check
/**
 * Is a chat service there, and does its /metrics tell of the loop? One user, one pass; exit code 99 unless all is well.
 *
 *   k6 run js/chat/health-check.js
 *
 * It takes the settings of the streaming test. README.md has them.
 */

import { check } from 'k6';
import http from 'k6/http';

import { declared } from '../lib/load.js';
import { namesWith, sampleOf, TICKS } from './lib/pace.js';
import { readConfig } from './lib/settings.js';
import { settled } from './lib/start.js';

const config = settled(() => readConfig(__ENV));

export const options = {
  scenarios: settled(() => declared({ health: { executor: 'per-vu-iterations', vus: 1, iterations: 1, maxDuration: '1m' } })),
  thresholds: { checks: ['rate==1'] },
};

/** What has to be there by its own name: the pace, and where the runner reads it in place of k6 also the ticks, by which it sees a stall. */
const SAMPLES = config.hz ? [config.hzMetric] : [config.hzMetric, TICKS];

/** @typedef {{ status: number, error: string, body?: any }} Answer */

export default function () {
  // The stream's own address is no address for HTTP.
  const stream = config.wsUrl.replace(/^ws/, 'http');
  const healthy = { 'status is 2xx': (/** @type {Answer} */ { status }) => status >= 200 && status < 300 };

  examine(`${config.baseUrl}/health`, healthy);
  examine(`${stream}/health`, healthy);
  // Not every service has it: where nobody has said that it is there, it may be missing, but not be ill.
  const mayLack = config.orchestratorUrl === stream;
  examine(`${config.orchestratorUrl}/healthz`, {
    [`status is 2xx${mayLack ? ', 404' : ''}, or 503 with the pace of a slow loop`]: (answer) => (mayLack && answer.status === 404) || healthyOrSlow(answer),
  });
  examine(config.metricsUrl, {
    ...healthy,
    'a sample has hz in its name': ({ body }) => namesWith(body, 'hz').length > 0,
    'a sample has loop in its name': ({ body }) => namesWith(body, 'loop').length > 0,
    ...Object.fromEntries(SAMPLES.map((name) => [`there is a sample ${name}`, (/** @type {Answer} */ { body }) => sampleOf(body, name) !== undefined])),
  });
}

/**
 * Whether the service of the streams is there. It answers 503 in a second in which its loop was slow, and says how slow: that is
 * for the streaming test to judge, over a window.
 *
 * @param {Answer} answer
 */
function healthyOrSlow({ status, body }) {
  if (status !== 503) {
    return status >= 200 && status < 300;
  }
  try {
    const { hz } = JSON.parse(body);
    if (typeof hz === 'number') {
      console.warn(`${config.orchestratorUrl}/healthz: the loop is slow: ${hz} Hz in the last second`);
      return true;
    }
  } catch {
    // It said something else.
  }
  return false;
}

/**
 * Asks, and tells what came where it is not what it should be.
 *
 * @param {string} url
 * @param {Record<string, (answer: Answer) => boolean>} expectations by what they say
 */
function examine(url, expectations) {
  const answer = http.get(url, { timeout: '5s' });
  for (const [says, holds] of Object.entries(expectations)) {
    if (!check(answer, { [`${url}: ${says}`]: holds })) {
      console.error(`${url}: not so: ${says}; received ${received(answer)}`);
    }
  }
}

/** @param {Answer} answer */
function received({ status, error, body }) {
  const text = String(body ?? '').replace(/\s+/g, ' ').trim();
  return status === 0 ? `no answer: ${error}` : `status ${status}, body ${text === '' ? 'empty' : text.slice(0, 200)}`;
}

/** @param {any} data */
export function handleSummary(data) {
  const { passes = 0, fails = 0 } = data.metrics.checks?.values ?? {};
  return {
    stdout: `\nChat health: ${passes} of ${passes + fails} checks passed\n`,
    'summary.json': JSON.stringify(data, null, 2),
  };
}
