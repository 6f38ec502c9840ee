// @ts-check
/** What the trial before a run reads of a waiting room beside what a run does there. */

import http from 'k6/http';
import { QueueCounter } from 'k6/x/barrier';

import { answerText } from './pure.js';

/**
 * What stands in Redis; nothing where there is no answer, or where a user of Redis may not ask for it.
 *
 * @param {import('./settings.js').Config} config
 * @param {{ index: string, slots: string }} keys
 */
export function redisOf(config, keys) {
  /**
   * @param {'HGET' | 'HLEN' | 'TYPE'} command
   * @param {string} key
   * @param {string} [field]
   * @param {string} [absent] what stands for an answer that nothing is there
   */
  const asked = (command, key, field, absent) => {
    try {
      const redis = new QueueCounter({ redis: config.redisUrl, tls: config.redisTls, keys: [key], timeout: '2s' });
      return redis.command(command, key, ...(field === undefined ? [] : [field])) ?? absent;
    } catch {
      return undefined;
    }
  };
  const number = (/** @type {any} */ answer) => (answer === undefined ? undefined : Number(answer));
  return {
    asked,
    /** The last index that was given out in an event. @param {string} eventId */
    lastIndexOf: (eventId) => number(asked('HGET', keys.index, eventId, '0')),
    /** @param {string} eventId */
    slotsOf: (eventId) => number(asked('HGET', keys.slots, eventId)),
  };
}

/**
 * The seats of an event as the waiting rooms that come with the harness tell them.
 *
 * @param {any} settings
 * @param {any} session
 * @param {string} eventId
 */
export function seatsByGet(settings, session, eventId) {
  const url = `${settings.baseUrl}/api/v1/events/${encodeURIComponent(eventId)}`;
  const params = { headers: session ?? {}, timeout: settings.eventTimeoutMs, throw: true };
  const answer = http.request('GET', url, null, /** @type {any} */ (params)); // which is there with LEAN=1, too
  if (answer.status !== 200) {
    throw new Error(answerText(answer));
  }
  return Number(/** @type {any} */ (answer.json('data.seatCount')));
}
