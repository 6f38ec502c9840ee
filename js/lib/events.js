// @ts-check
/** Opening and closing events. */

import { check } from 'k6';

import { config } from './config.js';
import { answerText, request } from './http.js';
import { authorization } from './login.js';

/** Limit of one status change, ms. */
export const EVENT_TIMEOUT_MS = 10000;

/**
 * Changes an event's status.
 *
 * @param {import('./login.js').Session} session an admin's
 * @param {string} eventId
 * @param {'OPEN' | 'CLOSED'} status
 * @returns {string} what went wrong, empty when the status was changed
 */
export function setEventStatus(session, eventId, status) {
  const url = `${config.baseUrl}/api/v1/events/${encodeURIComponent(eventId)}?status=${status}`;
  const response = request('PATCH', url, null, {
    headers: authorization(session),
    timeout: EVENT_TIMEOUT_MS,
    tags: { name: 'update_event_status_api' },
  });
  if (check(response, { 'update status 200': (answer) => answer.status === 200 })) {
    return '';
  }
  return `event ${eventId} could not be set to ${status}: ${answerText(response)}`;
}
