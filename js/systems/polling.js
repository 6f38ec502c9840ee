// @ts-check
/**
 * The calls of a waiting room whose users ask for their place again and again. All but the waiting are those of its sibling
 * with event streams; types/system.d.ts says what each function is to do.
 */

import { check, sleep } from 'k6';

import { answerText } from '../lib/pure.js';
import { leave, request, tell, ticketsUrl } from './sse.js';

export { leave, logIn, setEventStatus, withdraw } from './sse.js';

/** @type {import('../types/system').System<Record<string, string>>['wait']} */
export function wait(settings, session, eventId, place) {
  const url = ticketsUrl(settings, eventId, 'waiting');
  const end = Date.now() + place.limitMs;
  let joined = false;
  let answeredAt = Date.now();
  for (;;) {
    let why = '';
    const answer = request('GET', url, null, {
      headers: { ...session, Accept: 'application/json', 'Cache-Control': 'no-cache' },
      timeout: Math.max(Math.min(settings.sseIdleTimeoutMs, end - Date.now()), 1),
      tags: { name: 'poll' },
    });
    if (check(answer, { 'poll status 200': ({ status }) => status === 200 })) {
      answeredAt = Date.now();
      // The first answer, whatever it says, proves that the user is in the queue.
      joined = true;
      place.joined();
      if (tell(place, answer.body)) {
        return;
      }
    } else if (isRefusal(answer.status) || Date.now() - answeredAt >= settings.sseIdleTimeoutMs) {
      why = answerText(answer);
    }
    const leftMs = end - Date.now();
    if (why === '' && leftMs <= 0) {
      why = `not promoted within ${place.limitMs} ms`;
    }
    if (why !== '') {
      if (joined) {
        giveUp(settings, session, eventId);
      }
      throw new Error(why);
    }
    sleep(Math.min(settings.pollIntervalMs, leftMs) / 1000);
  }
}

/**
 * Leaves the queue, which a stream that ends would do by itself. Where that fails, it is the wait that has failed.
 *
 * @param {import('../types/system').Settings} settings
 * @param {Record<string, string>} session
 * @param {string} eventId
 */
function giveUp(settings, session, eventId) {
  try {
    leave(settings, session, eventId);
  } catch {
    // The room notices by itself that nobody asks any more.
  }
}

/** Whether asking once more cannot help. @param {number} status */
function isRefusal(status) {
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
