// @ts-check
/**
 * One level of a ladder of events: logins and changes of statistics. With E2E=1 it also measures, at a low rate and beside the
 * load, how long it takes until what an event says is seen in the API.
 *
 *   k6 run -e TARGET_EPS=500 -e DURATION=1m js/m2/scenario2_event_load.js
 *
 * All settings are environment variables: README.md has them, lib/settings.js reads them.
 */

import { declared } from '../lib/load.js';
import { sendEvent } from './lib/events.js';
import { readConfig } from './lib/settings.js';
import { load, objectives, settled } from './lib/start.js';
import { summaryText } from './lib/summary.js';
import { initializeUser, measureVisibility } from './lib/visibility.js';

const config = settled(() => readConfig(__ENV));
const E2E_VUS = { preAllocated: 5 * config.e2eRate, most: 100 * config.e2eRate };

export const options = {
  scenarios: settled(() =>
    declared({
      events: load('events', config.eps, config.eventVus, config.duration),
      ...(config.e2e ? { e2e: load('e2e', config.e2eRate, E2E_VUS, config.duration) } : {}),
    }),
  ),
  summaryTrendStats: ['count', 'avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)'],
  thresholds: settled(() => objectives(config, ['events'])),
};

export function events() {
  sendEvent(config);
}

let initialized = false;

export function e2e() {
  if (!initialized) {
    initializeUser(config);
    initialized = true;
  }
  measureVisibility(config);
}

/** @param {any} data */
export function handleSummary(data) {
  const title = `Event load, ${config.eventsAddress}`;
  return { stdout: summaryText(title, data, { events: config.eps }), 'summary.json': JSON.stringify(data, null, 2) };
}
