// @ts-check
/** Requests whose failure is the caller's to tell. */

import http from 'k6/http';

import { errorText, withoutPasswords } from './errors.js';

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
 * @param {'POST' | 'PATCH'} method
 * @param {string} url
 * @param {string | null} body
 * @param {object} params as of k6/http
 * @returns {Answer}
 */
export function request(method, url, body, params) {
  try {
    return /** @type {any} */ (http.request(method, url, body, /** @type {any} */ ({ ...params, throw: true })));
  } catch (error) {
    return { status: 0, error: withoutPasswords(errorText(error)), body: '', headers: {}, cookies: {} };
  }
}

/**
 * What came instead of success.
 *
 * @param {Answer} answer
 */
export function answerText({ status, error, body }) {
  return status === 0 ? error : `status ${status}${body ? `, body ${body}` : ''}`;
}
