// @ts-check
/** What the target's queues hold, and whether they are as empty as a run must find them. */

import { Client } from 'k6/x/redis';
import { QueueCounter } from 'k6/x/barrier';

import { config } from './config.js';
import { errorText, withoutPasswords } from './errors.js';

const waitingKey = (/** @type {string} */ eventId) => `WAITING:${eventId}`;
const userIdsKey = (/** @type {string} */ eventId) => `WAITING_USER_IDS:${eventId}`;
const INDEX_KEY = 'WAITING_QUEUE_IDX';

/**
 * Users in the queue of each event, by its key. Throws where a key is neither a sorted set nor a hash.
 *
 * @returns {Record<string, number>}
 */
export function waitingCounts() {
  return new QueueCounter({ redis: config.redisUrl, keys: config.eventIds.map(waitingKey) }).counts();
}

/** The counts for a message, which must not fail over them: `WAITING:a=120, WAITING:b=80`. */
export function waitingCountsText() {
  try {
    const counts = waitingCounts();
    return config.eventIds.map((eventId) => `${waitingKey(eventId)}=${counts[waitingKey(eventId)]}`).join(', ');
  } catch (error) {
    return `queue sizes unknown (${withoutPasswords(errorText(error))})`;
  }
}

/**
 * Why the queues are not fit for a run, or an empty text.
 *
 * @returns {Promise<string>}
 */
export async function whyNotEmpty() {
  try {
    const waiting = waitingCounts();
    const client = new Client(config.redisUrl);
    for (const eventId of config.eventIds) {
      const inQueue = waiting[waitingKey(eventId)];
      const users = await client.hlen(userIdsKey(eventId));
      const index = await lastIndex(client, eventId);
      if (inQueue > 0 || users > 0 || index > 0) {
        return (
          `left-over queue state of event ${eventId}: ${waitingKey(eventId)}=${inQueue}, ` +
          `${userIdsKey(eventId)}=${users}, ${INDEX_KEY}[${eventId}]=${index}; clean these keys before the run`
        );
      }
    }
    return '';
  } catch (error) {
    return `Redis precondition check failed: ${withoutPasswords(errorText(error))}`;
  }
}

/**
 * The last index that the target gave out for an event, 0 if none.
 *
 * @param {Client} client
 * @param {string} eventId
 */
async function lastIndex(client, eventId) {
  try {
    return Number(await client.sendCommand('HGET', INDEX_KEY, eventId));
  } catch (error) {
    if (errorText(error).includes('redis: nil')) {
      return 0; // how the client tells that there is no such field
    }
    throw error;
  }
}

/**
 * Stores the time of OPEN for outside readers. They are helped by it, the run does not need it: errors are ignored.
 *
 * @param {string} runId
 */
export async function storeOpenAt(runId) {
  try {
    await new Client(config.redisUrl).set(`K6_OPEN_AT_MS:${runId}`, String(Date.now()), config.barrierTtlSeconds);
  } catch (error) {
    console.warn(`the time of OPEN was not stored: ${withoutPasswords(errorText(error))}`);
  }
}
