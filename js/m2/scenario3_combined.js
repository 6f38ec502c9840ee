// @ts-check
/**
 * API requests and events at once, told apart by the tag `load`: `api` and `events`.
 *
 *   k6 run -e TARGET_RPS=100 -e TARGET_EPS=500 -e DURATION=1m js/m2/scenario3_combined.js
 *
 * All settings are environment variables: README.md has them, lib/settings.js reads them.
 */

import { declared } from '../lib/load.js';
import { useApi } from './lib/api.js';
import { sendEvent } from './lib/events.js';
import { readConfig } from './lib/settings.js';
import { load, objectives, seed, settled } from './lib/start.js';
import { summaryText } from './lib/summary.js';

const config = settled(() => readConfig(__ENV, { rps: 300, eps: 500, claimShare: 0 }));

export const options = {
  scenarios: settled(() =>
    declared({
      api: load('api', config.rps, config.apiVus, config.duration),
      events: load('events', config.eps, config.eventVus, config.duration),
    }),
  ),
  setupTimeout: '10m',
  thresholds: settled(() => objectives(config, ['api', 'events'])),
};

export function setup() {
  seed(config);
}

export function api() {
  useApi(config);
}

export function events() {
  sendEvent(config);
}

/** @param {any} data */
export function handleSummary(data) {
  const title = `API and event load, ${config.baseUrl} and ${config.eventsAddress}`;
  const offered = { api: config.rps, events: config.eps };
  return { stdout: summaryText(title, data, offered), 'summary.json': JSON.stringify(data, null, 2) };
}
