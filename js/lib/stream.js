// @ts-check
/** One user's waiting stream. */

import sse from 'k6/x/sse';
import { check } from 'k6';

import { config } from './config.js';
import { request } from './http.js';
import { authorization } from './login.js';
import { decodeMessage, IN_ENTRY, IN_PROGRESS } from './messages.js';
import {
  completedUsers,
  disconnectFailures,
  inEntryEvents,
  inProgressBeforeEntryEvents,
  sseConnectionTime,
  sseEvents,
  sseFailures,
} from './metrics.js';

/** @typedef {import('./login.js').Session} Session */

/**
 * @typedef {object} Reactions what the caller does inside the stream's handlers
 * @property {() => void} joined at the first message, which proves that the user is in the queue
 * @property {() => void} promoted
 * @property {(reason: string) => void} failed at most once, before promotion
 */

/** How the module's errors begin; there is only one call here. */
const CALL = /^sse\.open\(\) failed; reason: /;

const ticketsUrl = (/** @type {string} */ eventId) =>
  `${config.brokerBaseUrl}/api/v1/broker/events/${encodeURIComponent(eventId)}/tickets`;

/**
 * Holds a stream open until the user is promoted or the stream fails. Blocks the VU for that time: what must happen
 * meanwhile happens in the reactions.
 *
 * @param {Session} session
 * @param {string} eventId
 * @param {Reactions} reactions
 * @returns {boolean} whether the stream was established
 */
export function holdStream(session, eventId, reactions) {
  let joined = false;
  let entered = false;
  let promoted = false;
  let failed = false;

  const fail = (/** @type {string} */ reason) => {
    if (!failed && !promoted) {
      failed = true;
      sseFailures.add(1);
      reactions.failed(reason.replace(CALL, ''));
    }
  };

  const start = Date.now();
  const response = sse.open(
    `${ticketsUrl(eventId)}/waiting`,
    {
      headers: { ...authorization(session), Accept: 'text/event-stream', 'Cache-Control': 'no-cache' },
      timeout: `${config.sseTimeoutMs}ms`,
      idleTimeout: `${config.sseIdleTimeoutMs}ms`,
      tags: { name: 'sse_connect' },
    },
    (client) => {
      client.on('event', (event) => {
        if (!joined) {
          joined = true;
          reactions.joined();
        }
        const message = promoted ? undefined : decodeMessage(event.data);
        if (!message) {
          return;
        }
        sseEvents.add(1);
        if (message.status === IN_ENTRY && !entered) {
          entered = true;
          inEntryEvents.add(1);
        } else if (message.status === IN_PROGRESS) {
          promoted = true;
          completedUsers.add(1);
          if (!entered) {
            inProgressBeforeEntryEvents.add(1);
          }
          reactions.promoted();
          client.close();
        }
      });
      client.on('error', (error) => {
        fail(error.error());
        client.close();
      });
    },
  );
  const elapsedMs = Date.now() - start;

  const established = check(response, { 'sse status 200': ({ status }) => status === 200 });
  if (established) {
    sseConnectionTime.add(elapsedMs);
    fail(response.error || 'the stream ended before the user was promoted');
  } else {
    fail(`status ${response.status} ${response.error}`.trim());
  }
  if (promoted) {
    disconnect(session, eventId);
  }
  return established;
}

/**
 * Gives the user's slot back. The stream must be closed before.
 *
 * @param {Session} session
 * @param {string} eventId
 */
function disconnect(session, eventId) {
  const response = request('POST', `${ticketsUrl(eventId)}/disconnect`, null, {
    headers: authorization(session),
    timeout: config.disconnectTimeoutMs,
    tags: { name: 'disconnect' },
  });
  if (!check(response, { 'disconnect status 200': ({ status }) => status === 200 })) {
    disconnectFailures.add(1);
  }
}
