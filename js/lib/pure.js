// @ts-check
/**
 * What the harness needs of neither k6 nor the target, so that it is tested without them: the plan that follows from its
 * settings, and its texts.
 */

/** @typedef {import('./settings.js').Config} Config */

/**
 * Takes from a VU what the harness never calls, some 30 KB: k6 gives each one its own copy of all that it offers, and keeps it.
 * Whoever uses one of them all the same is told why it is gone: by one object for all, since one for each would take memory again.
 *
 * @param {any} globals
 * @param {any} http
 */
export function letGo(globals, http) {
  // No arrow function: one of these may be called with `new`.
  const refuse = function () {
    throw new Error(
      'LEAN=1 has taken away what is used here: of k6/http all but request and cookieJar, and crypto, timers, TextDecoder, ' +
        'TextEncoder, open and require; run without LEAN=1 to have it',
    );
  };
  const gone = new Proxy(refuse, { apply: refuse, construct: refuse, get: refuse });
  const all = [
    [globals, ['crypto', 'TextDecoder', 'TextEncoder', 'setTimeout', 'setInterval', 'clearTimeout', 'clearInterval']],
    [globals, ['open', 'require']],
    [http, ['get', 'head', 'post', 'put', 'patch', 'del', 'options', 'asyncRequest', 'batch', 'file', 'url', 'CookieJar']],
    [http, ['expectedStatuses', 'setResponseCallback']],
  ];
  for (let index = 0; index < all.length; index++) {
    const object = all[index][0];
    const names = all[index][1];
    for (let at = 0; at < names.length; at++) {
      object[names[at]] = gone;
    }
  }
}

// --- The plan: who does what when. Nothing here is random, so that two runs with the same settings do the same.

/**
 * From the start of the burst to a user's login, ms.
 *
 * @param {Config} config
 * @param {number} userId
 */
export function loginOffsetMs({ loginBatchSize, loginBatchIntervalMs, loginBatchJitterMs }, userId) {
  const before = userId - 1; // without `Math`, of which each VU would keep what it has used
  const batch = (before - (before % loginBatchSize)) / loginBatchSize;
  const jitter = loginBatchJitterMs > 0 ? (userId * 1103515245 + 12345) % loginBatchJitterMs : 0;
  return batch * loginBatchIntervalMs + jitter;
}

/**
 * The event a user waits for: in turn, unless a hot event takes its share of the users first.
 *
 * @param {Config} config
 * @param {number} userId
 */
export function eventOf({ eventIds, hotEventId, hotRatio }, userId) {
  if (hotEventId === '') {
    return eventIds[(userId - 1) % eventIds.length];
  }
  const others = eventIds.filter((eventId) => eventId !== hotEventId);
  // In millionths, because a sum of binary fractions may fall short of the whole number that it stands for.
  const millionths = Math.round(hotRatio * 1e6);
  const hotAmong = (/** @type {number} */ users) => Math.floor((users * millionths) / 1e6);
  const hotBefore = hotAmong(userId - 1);
  if (others.length === 0 || hotAmong(userId) > hotBefore) {
    return hotEventId;
  }
  return others[(userId - 1 - hotBefore) % others.length];
}

// --- Texts: what the target and errors say, and what this run says

/**
 * The JSON in an event's data, or undefined where there is none (greeting, heartbeat).
 *
 * The data may come as plain JSON, as JSON inside a JSON string, and with a `data:` of its own in front of either.
 *
 * @param {unknown} data
 * @returns {{ status?: unknown } | undefined}
 */
export function decodeMessage(data) {
  let text = `${data ?? ''}`.trim();
  if (text.startsWith('data:')) {
    text = text.slice('data:'.length).trim();
  }
  // First as it stands: the steps below would spoil plain JSON that has a quote inside a text.
  const message = parseObject(text);
  // Nearly all others are greetings and heartbeats, of which no copy is made: a VU keeps each function that it has used.
  const first = text[0];
  if (message || (first !== '"' && first !== '{' && first !== '[')) {
    return message;
  }
  const inner = text.length >= 2 && first === '"' && text.endsWith('"') ? text.slice(1, -1).trim() : text;
  return parseObject(inner.replaceAll('\\"', '"'));
}

/** @param {string} text */
function parseObject(text) {
  // Most of what is none is known by its first letter, without the cost of an exception.
  const first = text[0];
  if (first !== '{' && first !== '[') {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The text of whatever was thrown, without the password of a URL in it, which some clients repeat in their errors.
 *
 * @param {any} error those of Go modules are no instances of Error and have no message
 * @returns {string}
 */
export function errorText(error) {
  return String(error?.message ?? error).replace(/(:\/\/[^\s/:@]*:)\S+@/g, '$1***@');
}

/**
 * The text of what a call of the system under test threw, fit for a log: on one line, not longer than a line should be, and
 * without secrets, which a system may repeat in its answers.
 *
 * @param {any} error
 * @param {string[]} passwords
 * @returns {string}
 */
export function failureText(error, passwords) {
  const LONGEST = 300;
  let text = errorText(error).replace(/\s+/g, ' ').trim();
  for (const password of passwords) {
    for (const spelt of [password, JSON.stringify(password).slice(1, -1), encodeURIComponent(password)]) {
      text = text.replaceAll(spelt, '***');
    }
  }
  text = text
    .replace(/("[^"]*(?:password|token|secret)[^"]*"\s*:\s*")(?:[^"\\]|\\.)*/gi, '$1***')
    .replace(/\beyJ[\w-]+(?:\.[\w-]*)+/g, '***')
    .replace(/\b(bearer) [^\s"',]+/gi, '$1 ***');
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/**
 * What a call of the system under test failed of, empty where it did not.
 *
 * @param {() => void} call
 * @param {string[]} passwords
 * @returns {string}
 */
export function failureOf(call, passwords) {
  try {
    call();
    return '';
  } catch (error) {
    return failureText(error, passwords) || 'it gave no reason';
  }
}

/**
 * What an HTTP answer says instead of success.
 *
 * @param {{ status: number, error: string, body?: any }} answer status 0 where none came
 * @returns {string}
 */
export function answerText({ status, error, body }) {
  return status === 0 ? error : `status ${status}${body ? `, body ${body}` : ''}`;
}

/**
 * @typedef {object} Accounting of a barrier
 * @property {number} arrived
 * @property {Record<string, number>} failed by reason
 */

/**
 * A barrier's accounting in words.
 *
 * @param {Accounting} accounting
 * @returns {{ failed: number, people: string, fields: string }} how many failed, `9 arrived, 1 failed (login 1)`, and
 *   `joined=9, loginFail=1, sseFail=0` with whatever else users failed of
 */
export function accountingTexts({ arrived, failed }) {
  const occurred = Object.entries(failed).filter(([, count]) => count > 0);
  const failures = occurred.reduce((sum, [, count]) => sum + count, 0);
  const reasons = occurred.map(([reason, count]) => `${reason} ${count}`).join(', ');
  const further = occurred
    .filter(([reason]) => reason !== 'login' && reason !== 'sse')
    .map(([reason, count]) => `, ${reason}=${count}`)
    .join('');
  return {
    failed: failures,
    people: `${arrived} arrived${failures > 0 ? `, ${failures} failed (${reasons})` : ''}`,
    fields: `joined=${arrived}, loginFail=${failed.login ?? 0}, sseFail=${failed.sse ?? 0}${further}`,
  };
}

/**
 * Why a barrier that lets its users go must not open the events, or an empty text: not all of them are accounted for.
 *
 * @param {Accounting & { reason: string, left: number, parties: number }} result of waiting for it
 * @returns {string}
 */
export function whyNotMet({ reason, arrived, failed, left, parties }) {
  const { people, failed: failures } = accountingTexts({ arrived, failed });
  if (reason !== 'all') {
    const how = reason === 'operator' ? 'by hand' : `(${reason})`;
    return `released ${how} before all were there: ${people} of ${parties}, so the events are not opened`;
  }
  if (failures > 0 || arrived !== parties) {
    return `${people}${left > 0 ? `, ${left} left` : ''}`;
  }
  return '';
}
