// @ts-check
/** The calls of the system under test, and the metrics of what became of them. */

import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';

import { config } from './config.js';
import { decodeMessage, errorText, IN_ENTRY, IN_PROGRESS } from './texts.js';

// The names of metrics are a contract with the runner and with earlier results.
/** Failed login attempts, the admin's too. */
const loginFailures = new Counter('login_failures');
/** Logins given up after all attempts, the admin's too. */
const loginFinalFailures = new Counter('login_final_failures');
/** From opening a stream to its end, ms: the time in the queue, not that of connecting. */
const sseConnectionTime = new Trend('sse_connection_time', true);
/** Users whose stream failed before promotion or was refused. */
const sseFailures = new Counter('sse_failures');
/** JSON messages up to the promotion. */
const sseEvents = new Counter('sse_events');
/** Users that were told a position in the queue. */
const inEntryEvents = new Counter('in_entry_events');
/** Users promoted before they were told a position. */
const inProgressBeforeEntryEvents = new Counter('in_progress_before_entry_events');
/** Promoted users. */
const completedUsers = new Counter('completed_users');
/** Disconnects not answered by 200. */
const disconnectFailures = new Counter('disconnect_failures');

/**
 * @typedef {object} Answer
 * @property {number} status 0 where no answer came
 * @property {string} error why no answer came
 * @property {any} body
 * @property {Record<string, string>} headers
 * @property {Record<string, { value: string }[]>} cookies
 *
 * @typedef {object} Session
 * @property {string} token access token, without `Bearer`
 * @property {string} refreshToken value of the cookie that goes with it
 */

/**
 * A request. Where no answer comes k6 would log each one by itself: with thousands of users that buries the line that
 * explains the run.
 *
 * @param {'POST' | 'PATCH'} method
 * @param {string} url
 * @param {string | null} body
 * @param {object} params as of k6/http
 * @returns {Answer}
 */
function request(method, url, body, params) {
  try {
    return /** @type {any} */ (http.request(method, url, body, /** @type {any} */ ({ ...params, throw: true })));
  } catch (error) {
    return { status: 0, error: errorText(error), body: '', headers: {}, cookies: {} };
  }
}

/**
 * What came instead of success.
 *
 * @param {Answer} answer
 */
function answerText({ status, error, body }) {
  return status === 0 ? error : `status ${status}${body ? `, body ${body}` : ''}`;
}

/**
 * The headers of a request in a session.
 *
 * @param {Session} session
 */
export function authorization({ token }) {
  return { Authorization: `Bearer ${token}` };
}

/**
 * Logs in, with retries. Puts the refresh cookie into the VU's jar.
 *
 * @param {string} email
 * @param {string} password
 * @param {number} [attempts]
 * @returns {Session | string} what went wrong last, where all attempts failed
 */
export function login(email, password, attempts = config.maxLoginAttempts) {
  /** @type {Record<string, string>} */
  const headers = { 'Content-Type': 'application/json' };
  if (config.baseUrl !== config.brokerBaseUrl) {
    // The stream will need a connection of its own. Kept alive beside it, this one would double the open files per user.
    headers.Connection = 'close';
  }

  const attempt = () => {
    const response = request('POST', `${config.baseUrl}/api/v1/auth/login`, JSON.stringify({ email, password }), {
      headers,
      timeout: config.loginTimeoutMs,
      tags: { name: 'login' },
      responseType: 'none',
    });
    const token = withoutScheme(response.headers.Authorization ?? '');
    const refreshToken = response.cookies.refreshToken?.[0]?.value ?? '';
    const good = check(response, {
      'login status 200': ({ status }) => status === 200,
      'authorization header exists': () => token !== '',
      'refresh token cookie exists': () => refreshToken !== '',
    });
    if (good) {
      return { token, refreshToken };
    }
    return response.status === 200 ? 'status 200 without token or cookie' : answerText(response);
  };

  let why = '';
  for (let count = 1; count <= attempts; count++) {
    const session = attempt();
    if (typeof session !== 'string') {
      // By hand, because a jar does not send a `Secure` cookie over plain http, nor one host's cookie to another.
      const jar = http.cookieJar();
      jar.set(config.baseUrl, 'refreshToken', session.refreshToken, { path: '/' });
      jar.set(config.brokerBaseUrl, 'refreshToken', session.refreshToken, { path: '/' });
      return session;
    }
    why = session;
    loginFailures.add(1);
    if (count < attempts && config.loginRetryDelayMs > 0) {
      sleep(config.loginRetryDelayMs / 1000);
    }
  }
  loginFinalFailures.add(1);
  return why;
}

/**
 * The token in an Authorization header, which may stand there without `Bearer`.
 *
 * @param {string} header
 */
function withoutScheme(header) {
  const SCHEME = 'bearer';
  const text = header.trim();
  const rest = text.slice(SCHEME.length).trim();
  return text.length > SCHEME.length + rest.length && text.toLowerCase().startsWith(SCHEME) ? rest : text;
}

/**
 * Logs in as the account that controls the events.
 *
 * @param {number} [attempts]
 * @returns {Session | string} what went wrong, where it did
 */
export function loginAsAdmin(attempts) {
  const session = login(config.adminEmail, config.adminPassword, attempts);
  if (typeof session === 'string') {
    return `the admin ${config.adminEmail} cannot log in at ${config.baseUrl} (${session})`;
  }
  return session;
}

/**
 * Changes an event's status.
 *
 * @param {Session} session an admin's
 * @param {string} eventId
 * @param {'OPEN' | 'CLOSED'} status
 * @returns {string} what went wrong, empty when the status was changed
 */
export function setEventStatus(session, eventId, status) {
  const url = `${config.baseUrl}/api/v1/events/${encodeURIComponent(eventId)}?status=${status}`;
  const response = request('PATCH', url, null, {
    headers: authorization(session),
    timeout: config.eventTimeoutMs,
    tags: { name: 'update_event_status_api' },
  });
  if (check(response, { 'update status 200': (answer) => answer.status === 200 })) {
    return '';
  }
  return `event ${eventId} could not be set to ${status}: ${answerText(response)}`;
}

/**
 * @typedef {object} Reactions what the caller does inside the stream's handlers
 * @property {() => void} joined at the first message, which proves that the user is in the queue
 * @property {() => void} promoted
 * @property {(reason: string) => void} failed at most once, before promotion
 */

/**
 * Holds a user's waiting stream open until the user is promoted, or the stream fails. Blocks the VU for that time: what
 * must happen meanwhile happens in the reactions.
 *
 * @param {Session} session
 * @param {string} eventId
 * @param {Reactions} reactions
 * @returns {boolean} whether the stream was established
 */
export function holdStream(session, eventId, reactions) {
  const ticketsUrl = `${config.brokerBaseUrl}/api/v1/broker/events/${encodeURIComponent(eventId)}/tickets`;
  let joined = false;
  let entered = false;
  let promoted = false;
  let failed = false;

  const fail = (/** @type {string} */ reason) => {
    if (!failed && !promoted) {
      failed = true;
      sseFailures.add(1);
      // Without what all errors of the module begin with; there is only one call here.
      reactions.failed(reason.replace(/^sse\.open\(\) failed; reason: /, ''));
    }
  };

  const start = Date.now();
  const response = sse.open(
    `${ticketsUrl}/waiting`,
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
    // Gives the user's slot back, for which the stream must be closed before.
    const answer = request('POST', `${ticketsUrl}/disconnect`, null, {
      headers: authorization(session),
      timeout: config.disconnectTimeoutMs,
      tags: { name: 'disconnect' },
    });
    if (!check(answer, { 'disconnect status 200': ({ status }) => status === 200 })) {
      disconnectFailures.add(1);
    }
  }
  return established;
}
