// @ts-check
/**
 * One level of a ladder of API requests: users list their challenges, and claim what they completed.
 *
 *   k6 run -e TARGET_RPS=100 -e DURATION=1m js/m2/scenario1_api_load.js
 *
 * All settings are environment variables: README.md has them, lib/settings.js reads them.
 */

import { declared } from '../lib/load.js';
import { useApi } from './lib/api.js';
import { readConfig } from './lib/settings.js';
import { load, objectives, seed, settled } from './lib/start.js';
import { summaryText } from './lib/summary.js';

const config = settled(() => readConfig(__ENV));

export const options = {
  scenarios: settled(() => declared({ api: load('api', config.rps, config.apiVus, config.duration) })),
  setupTimeout: '10m',
  thresholds: settled(() => objectives(config, ['api'])),
};

export function setup() {
  seed(config);
}

export function api() {
  useApi(config);
}

/** @param {any} data */
export function handleSummary(data) {
  const title = `API load, ${config.baseUrl}`;
  return { stdout: summaryText(title, data, { api: config.rps }), 'summary.json': JSON.stringify(data, null, 2) };
}
