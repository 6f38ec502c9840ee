// @ts-check
/** Logging in, of users and of the admin. */

import http from 'k6/http';
import { check, sleep } from 'k6';

import { config } from './config.js';
import { answerText, request } from './http.js';
import { loginFailures, loginFinalFailures } from './metrics.js';

/**
 * @typedef {object} Session
 * @property {string} token access token, without `Bearer`
 * @property {string} refreshToken value of the cookie that goes with it
 */

const REFRESH_COOKIE = 'refreshToken';

/** @type {Record<string, string>} */
const headers = { 'Content-Type': 'application/json' };
if (config.baseUrl !== config.brokerBaseUrl) {
  // The stream will need a connection of its own. Kept alive beside it, this one would double the open files per user.
  headers.Connection = 'close';
}

/**
 * Logs in, with retries. Puts the refresh cookie into the VU's jar.
 *
 * @param {string} email
 * @param {string} password
 * @param {{ attempts?: number, failed?: (why: string) => void }} options `failed` gets what went wrong last
 * @returns {Session | undefined} undefined when all attempts failed
 */
export function login(email, password, { attempts = config.maxLoginAttempts, failed = () => {} } = {}) {
  let why = '';
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const result = attemptLogin(email, password);
    if (typeof result !== 'string') {
      keepCookie(result.refreshToken);
      return result;
    }
    why = result;
    loginFailures.add(1);
    if (attempt < attempts && config.loginRetryDelayMs > 0) {
      sleep(config.loginRetryDelayMs / 1000);
    }
  }
  loginFinalFailures.add(1);
  failed(why);
  return undefined;
}

/**
 * Logs in as the account that controls the events.
 *
 * @param {number} [attempts]
 * @returns {Session | string} what went wrong, where it did
 */
export function loginAsAdmin(attempts) {
  let text = '';
  const failed = (/** @type {string} */ why) => {
    text = `the admin ${config.adminEmail} cannot log in at ${config.baseUrl} (${why})`;
  };
  return login(config.adminEmail, config.adminPassword, { attempts, failed }) ?? text;
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
 * @param {string} email
 * @param {string} password
 * @returns {Session | string} what came instead of a session
 */
function attemptLogin(email, password) {
  const response = request('POST', `${config.baseUrl}/api/v1/auth/login`, JSON.stringify({ email, password }), {
    headers,
    timeout: config.loginTimeoutMs,
    tags: { name: 'login' },
    responseType: 'none',
  });
  const token = (response.headers.Authorization ?? '').replace(/^bearer\s+/i, '').trim();
  const refreshToken = response.cookies[REFRESH_COOKIE]?.[0]?.value ?? '';
  const good = check(response, {
    'login status 200': ({ status }) => status === 200,
    'authorization header exists': () => token !== '',
    'refresh token cookie exists': () => refreshToken !== '',
  });
  if (good) {
    return { token, refreshToken };
  }
  return response.status === 200 ? 'status 200 without token or cookie' : answerText(response);
}

/**
 * By hand, because a jar does not send a `Secure` cookie over plain http, nor one host's cookie to another.
 *
 * @param {string} refreshToken
 */
function keepCookie(refreshToken) {
  const jar = http.cookieJar();
  for (const url of new Set([config.baseUrl, config.brokerBaseUrl])) {
    jar.set(url, REFRESH_COOKIE, refreshToken, { path: '/' });
  }
}
