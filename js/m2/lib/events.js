// @ts-check
/** Events over gRPC, and whether they failed. */

import { check } from 'k6';
import exec from 'k6/execution';
import { Client, StatusOK } from 'k6/net/grpc';
import { Counter, Rate } from 'k6/metrics';

import { eventOf, goalUpdates } from './draw.js';

/** 1 for each event that was not acknowledged, 0 for each that was. */
const failed = new Rate('grpc_req_failed');
/** Changes of goals' progress that acknowledged events ask for: what has to be stored, or written over by a newer one. */
const updates = new Counter('goal_updates');

const LOGIN = 'accelbyte.iam.account.v1.UserAuthenticationUserLoggedInService/OnMessage';
const STATISTIC = 'accelbyte.social.statistic.v1.StatisticStatItemUpdatedService/OnMessage';

const client = new Client();
client.load([import.meta.resolve('../proto').replace(/^file:\/\//, '')], 'account.proto', 'statistic.proto');

/** Each VU connects once. */
let connected = false;
let told = 0;

/**
 * Sends the event of this iteration.
 *
 * @param {import('./settings.js').Config} config
 */
export function sendEvent(config) {
  const iteration = exec.scenario.iterationInTest;
  const { userId, statistic } = eventOf(iteration, config.users);
  send(config, { id: `event-${iteration}`, userId, statistic }, { load: 'events' });
}

/**
 * Sends an event. Whatever goes wrong with it, the caller goes on.
 *
 * @param {import('./settings.js').Config} config
 * @param {{ id: string, userId: string, statistic?: { statCode: string, latestValue: number } }} event a login without a statistic
 * @param {Record<string, string>} tags
 * @param {number} [timeout] how long that may take, ms
 * @returns {boolean} whether it was acknowledged
 */
export function send(config, { id, userId, statistic }, tags, timeout = config.requestTimeoutMs) {
  const { namespace } = config;
  const params = { tags, timeout, discardResponseMessage: true };
  let status;
  let why;
  try {
    if (!connected) {
      client.connect(config.eventsAddress, { plaintext: true, timeout: '30s' });
      connected = true;
    }
    const answer = statistic
      ? client.invoke(STATISTIC, { id, userId, namespace, payload: { ...statistic, userId, namespace } }, params)
      : client.invoke(LOGIN, { id, userId, namespace }, params);
    status = answer.status;
    why = /** @type {any} */ (answer.error)?.message;
  } catch (error) {
    why = error;
  }
  const well = check(status, { 'event is acknowledged': (code) => code === StatusOK }, tags);
  failed.add(well ? 0 : 1, tags);
  if (well) {
    updates.add(goalUpdates(statistic?.statCode, config.goalsPerEvent), tags);
  }
  // The first ones say what it is; thousands of lines would bury them.
  if (!well && told < 1) {
    told += 1;
    console.warn(`event for ${userId} at ${config.eventsAddress}: status ${status}: ${why}`);
  }
  return well;
}
