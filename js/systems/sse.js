// @ts-check
/**
 * The calls of a waiting room that tells its users of their place on an event stream. Everything that the harness knows of
 * the system under test is in such a file: see types/system.d.ts for what each function is to do, and
 * docs/how-to/port-to-your-waiting-room.md for how to write one of your own.
 */

import http from 'k6/http';
import { check } from 'k6';
import sse from 'k6/x/sse';

import { answerText, decodeMessage } from '../lib/pure.js';

/**
 * @typedef {import('../types/system').Settings} Settings
 * @typedef {import('../types/system').Account} Account
 * @typedef {import('../types/system').Place} Place
 * @typedef {Record<string, string>} Session the headers of a request in a session; its cookie is in the VU's jar
 */

/** Only for tokens that are read: each VU would keep a copy. */
const encoding = __ENV.BROKER_BASE_URL ? require('k6/encoding') : undefined;

/** @type {import('../types/system').System<Session>['logIn']} */
export function logIn(settings, { email, password }) {
  /** @type {Record<string, string>} */
  const headers = { 'Content-Type': 'application/json' };
  if (settings.baseUrl !== settings.brokerBaseUrl) {
    // The stream will need a connection of its own. Kept alive beside it, this one would double the open files per user.
    headers.Connection = 'close';
  }
  const answer = request('POST', `${settings.baseUrl}/api/v1/auth/login`, JSON.stringify({ email, password }), {
    headers,
    timeout: settings.loginTimeoutMs,
    tags: { name: 'login' },
  });
  // The token may stand there without its scheme.
  const header = (answer.headers.Authorization ?? '').trim();
  const rest = header.slice('bearer'.length).trim();
  const hasScheme = header.toLowerCase().startsWith('bearer') && header.length > 'bearer'.length + rest.length;
  const token = hasScheme ? rest : header;
  const refreshToken = answer.cookies.refreshToken?.[0]?.value ?? '';
  const good = check(answer, {
    'login status 200': ({ status }) => status === 200,
    'authorization header exists': () => token !== '',
    'refresh token cookie exists': () => refreshToken !== '',
  });
  if (!good) {
    throw new Error(answer.status === 200 ? 'status 200 without token or cookie' : answerText(answer));
  }
  // By hand, because a jar does not send a `Secure` cookie over plain http, nor one host's cookie to another.
  const jar = http.cookieJar();
  jar.set(settings.baseUrl, 'refreshToken', refreshToken, { path: '/' });
  jar.set(settings.brokerBaseUrl, 'refreshToken', refreshToken, { path: '/' });
  const session = { Authorization: `Bearer ${token}` };
  return settings.baseUrl === settings.brokerBaseUrl ? session : { ...session, ...gatewayHeaders(settings, email, token) };
}

/** @type {import('../types/system').System<Session>['setEventStatus']} */
export function setEventStatus(settings, session, eventId, status) {
  const url = `${settings.baseUrl}/api/v1/events/${encodeURIComponent(eventId)}?status=${status}`;
  const answer = request('PATCH', url, null, {
    headers: session,
    timeout: settings.eventTimeoutMs,
    tags: { name: 'update_event_status_api' },
  });
  if (!check(answer, { 'update status 200': (/** @type {Answer} */ { status: code }) => code === 200 })) {
    throw new Error(answerText(answer));
  }
}

/** @type {import('../types/system').System<Session>['wait']} */
export function wait(settings, session, eventId, place) {
  let failure = '';
  // Blocks this VU until the stream ends: what must happen meanwhile happens in the handlers, where only calls that do not
  // need the event loop get anywhere.
  const response = sse.open(
    ticketsUrl(settings, eventId, 'waiting'),
    {
      headers: { ...session, Accept: 'text/event-stream', 'Cache-Control': 'no-cache' },
      timeout: `${place.limitMs}ms`,
      idleTimeout: `${settings.sseIdleTimeoutMs}ms`,
      tags: { name: 'sse_connect' },
    },
    (client) => {
      client.on('event', (event) => {
        // The first message, whatever it is, proves that the user is in the queue.
        place.joined();
        if (tell(place, event.data)) {
          client.close();
        }
      });
      client.on('error', (error) => {
        // Without what all errors of the module begin with; there is only one call here.
        failure = error.error().replace(/^sse\.open\(\) failed; reason: /, '');
        client.close();
      });
    },
  );
  check(response, { 'sse status 200': ({ status }) => status === 200 });
  failure ||= response.error;
  if (response.status !== 200 && response.status !== 0) {
    failure = answerText(response);
  } else if (response.body !== '') {
    failure = `${failure}, body ${response.body}`;
  }
  if (failure !== '') {
    throw new Error(failure);
  }
}

/** @type {import('../types/system').System<Session>['leave']} */
export function leave(settings, session, eventId) {
  const answer = request('POST', ticketsUrl(settings, eventId, 'disconnect'), null, {
    headers: session,
    timeout: settings.disconnectTimeoutMs,
    tags: { name: 'disconnect' },
  });
  if (!check(answer, { 'disconnect status 200': ({ status }) => status === 200 })) {
    throw new Error(answerText(answer));
  }
}

/** The same call takes a user who still waits out of the queue. */
export { leave as withdraw };

/**
 * Tells the harness what a message says.
 *
 * @param {Place} place
 * @param {unknown} data
 * @returns {boolean} whether the user is promoted
 */
export function tell(place, data) {
  const message = decodeMessage(data);
  if (message?.status === 'IN_PROGRESS') {
    place.promoted();
    return true;
  }
  if (message?.status === 'IN_ENTRY') {
    place.position();
  } else if (message) {
    place.message();
  }
  return false;
}

/**
 * @param {Settings} settings
 * @param {string} eventId
 * @param {'waiting' | 'disconnect'} call
 */
export function ticketsUrl(settings, eventId, call) {
  return `${settings.brokerBaseUrl}/api/v1/broker/events/${encodeURIComponent(eventId)}/tickets/${call}`;
}

/**
 * @typedef {object} Answer
 * @property {number} status 0 where no answer came
 * @property {string} error why no answer came
 * @property {any} body
 * @property {Record<string, string>} headers
 * @property {Record<string, { value: string }[]>} cookies
 */

/**
 * A request. Where no answer comes k6 would log each one by itself: with thousands of users that buries the line that
 * explains the run.
 *
 * @param {'GET' | 'POST' | 'PATCH'} method
 * @param {string} url
 * @param {string | null} body
 * @param {object} params as of k6/http
 * @returns {Answer}
 */
export function request(method, url, body, params) {
  try {
    return /** @type {any} */ (http.request(method, url, body, /** @type {any} */ ({ ...params, throw: true })));
  } catch (error) {
    return { status: 0, error: String(/** @type {any} */ (error)?.message ?? error), body: '', headers: {}, cookies: {} };
  }
}

/**
 * What a gateway adds to a request, for a broker that is asked past it. A token that is no JWT does not say whose it is.
 *
 * @param {Settings} settings
 * @param {string} email
 * @param {string} token
 * @returns {Session}
 */
function gatewayHeaders({ gatewayHeaders: names }, email, token) {
  /** @type {any} */
  let claims = {};
  try {
    claims = JSON.parse(encoding?.b64decode(token.split('.')[1], 'rawurl', 's') ?? '');
  } catch {
    return { [names.email]: email };
  }
  const id = claims.userId ?? claims.accountId ?? claims.id ?? claims.sub;
  return {
    ...(id === undefined ? {} : { [names.userId]: String(id) }),
    [names.role]: String(claims.role ?? 'USER'),
    [names.email]: email,
  };
}
