// @ts-check
/**
 * How long it takes until what an event says is seen in the API: users of its own, so that nobody else changes what they look for.
 */

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

import { asUser } from './api.js';
import { send } from './events.js';

/** From before an event is sent to the end of the first answer that shows what it said, ms. */
const visibility = new Trend('e2e_visibility_ms', true);
/** Events that were not acknowledged, or not seen in time. */
const missing = new Counter('e2e_missing');

const TAGS = { load: 'e2e' };
/** Values that no other event has. */
const VALUES_FROM = 1000000;

/**
 * Sends an event and looks until it is seen.
 *
 * @param {import('./settings.js').Config} config
 */
export function measureVisibility(config) {
  const value = VALUES_FROM + exec.scenario.iterationInTest;
  const user = `e2e-${exec.vu.idInTest}`;
  // However the target writes its JSON.
  const said = new RegExp(`"progress":\\s*${value}\\b`);
  const began = Date.now();
  // No request goes on when its answer would be too late; 0 would be no limit at all.
  const rest = () => Math.max(1, Math.min(config.requestTimeoutMs, began + config.e2eLimitMs - Date.now()));
  const event = { id: `e2e-${value}`, userId: user, statistic: { statCode: 'enemy_kills', latestValue: value } };
  if (!send(config, event, TAGS, rest())) {
    missing.add(1, TAGS);
    return;
  }
  while (Date.now() - began < config.e2eLimitMs) {
    const params = { ...asUser(config, user), timeout: rest(), responseType: /** @type {const} */ ('text'), tags: { ...TAGS, name: 'list' } };
    const { body } = http.get(`${config.baseUrl}/v1/challenges`, params);
    if (said.test(body ?? '')) {
      visibility.add(Date.now() - began, TAGS);
      return;
    }
    sleep(config.e2ePollMs / 1000);
  }
  missing.add(1, TAGS);
}

/**
 * Gives the users of the measurement rows where a target wants users to be initialized first; others refuse, and need none.
 *
 * @param {import('./settings.js').Config} config
 */
export function initializeUser(config) {
  const user = `e2e-${exec.vu.idInTest}`;
  const params = { ...asUser(config, user), responseCallback: http.expectedStatuses({ min: 200, max: 599 }), tags: { load: 'setup', name: 'initialize' } };
  http.post(`${config.baseUrl}/v1/challenges/initialize`, '{}', params);
}
