// @ts-check
/** Logging in, of users and of the admin. */

import http from 'k6/http';
import { check, sleep } from 'k6';

import { config } from './config.js';
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
 * @returns {Session | undefined} undefined when all attempts failed
 */
export function login(email, password) {
  for (let attempt = 1; attempt <= config.maxLoginAttempts; attempt++) {
    const session = attemptLogin(email, password);
    if (session) {
      keepCookie(session.refreshToken);
      return session;
    }
    loginFailures.add(1);
    if (attempt < config.maxLoginAttempts && config.loginRetryDelayMs > 0) {
      sleep(config.loginRetryDelayMs / 1000);
    }
  }
  loginFinalFailures.add(1);
  return undefined;
}

/** Logs in as the account that controls the events. */
export function loginAsAdmin() {
  return login(config.adminEmail, config.adminPassword);
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
 * @returns {Session | undefined}
 */
function attemptLogin(email, password) {
  const response = http.post(`${config.baseUrl}/api/v1/auth/login`, JSON.stringify({ email, password }), {
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
  return good ? { token, refreshToken } : undefined;
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
