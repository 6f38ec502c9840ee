// @ts-check
/** Requests of the API: lists, and claims of what was completed. */

import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { draw, someUser, userId } from './draw.js';

/** Rewards that were claimed. */
const claims = new Counter('claims');
/** Claims of what another VU had claimed meanwhile. */
const claimedBefore = new Counter('claims_before');
/** Iterations that were to claim, and whose user had nothing to claim. */
const nothingToClaim = new Counter('claims_without_goal');

/** A user who is looked at has so much claimed by this VU: others look too. */
const REMEMBERED = 10;

/** @typedef {{ user: string, challengeId: string, goalId: string }} Completed */

/** What this VU knows to be completed and not claimed. @type {Completed[]} */
let completed = [];

/**
 * The load of an iteration: a list; in some of them a claim too.
 *
 * @param {import('./settings.js').Config} config
 */
export function useApi(config) {
  const iteration = exec.scenario.iterationInTest;
  if (draw(iteration, 5) >= config.claimShare) {
    // 168 KB that nobody reads: the time for it would be the generator's, and count as the service's.
    list(config, someUser(iteration, config.users), 'none');
    return;
  }
  if (completed.length > 0) {
    list(config, completed[0].user, 'none');
  } else {
    const user = config.seedUsers > 0 ? userId(1 + (iteration % config.seedUsers)) : someUser(iteration, config.users);
    completed = completedIn(user, list(config, user, 'text').body);
  }
  const goal = completed.shift();
  if (goal === undefined) {
    nothingToClaim.add(1, { load: 'api' });
  } else {
    claim(config, goal);
  }
}

/**
 * Asks for all challenges of a user.
 *
 * @template {'none' | 'text'} Type
 * @param {import('./settings.js').Config} config
 * @param {string} user
 * @param {Type} responseType
 * @param {string} [load] whose request it is
 */
export function list(config, user, responseType, load = 'api') {
  const tags = { load, name: 'list' };
  const answer = http.get(`${config.baseUrl}/v1/challenges`, { ...asUser(config, user), responseType, tags });
  check(answer, { 'list is answered': ({ status }) => status === 200 }, { load });
  return answer;
}

/**
 * Headers of a user, and the limit of a request.
 *
 * @param {import('./settings.js').Config} config
 * @param {string} user
 */
export function asUser(config, user) {
  return {
    headers: { Authorization: `Bearer mock-jwt-token-for-${user}`, 'Content-Type': 'application/json', 'X-Mock-User-Id': user },
    timeout: config.requestTimeoutMs,
  };
}

/** The service answers 409 where somebody was faster. */
const EXPECTED = http.expectedStatuses(200, 409);

/**
 * @param {import('./settings.js').Config} config
 * @param {Completed} goal
 */
function claim(config, { user, challengeId, goalId }) {
  const url = `${config.baseUrl}/v1/challenges/${challengeId}/goals/${goalId}/claim`;
  const params = { ...asUser(config, user), responseCallback: EXPECTED, tags: { load: 'api', name: 'claim' } };
  const { status } = http.post(url, '{}', params);
  check(status, { 'claim is answered': (code) => code === 200 || code === 409 }, { load: 'api' });
  if (status === 200) {
    claims.add(1, { load: 'api' });
  } else if (status === 409) {
    claimedBefore.add(1, { load: 'api' });
  }
}

/**
 * What a list says is completed and not claimed. It is parsed only where the word occurs.
 *
 * @param {string} user
 * @param {string | null} body
 * @returns {Completed[]}
 */
function completedIn(user, body) {
  if (!body?.includes('"completed"')) {
    return [];
  }
  /** @type {{ challenges: { challengeId: string, goals: { goalId: string, status: string }[] }[] }} */
  const { challenges } = JSON.parse(body);
  return challenges
    .flatMap(({ challengeId, goals }) => goals.filter(({ status }) => status === 'completed').map(({ goalId }) => ({ user, challengeId, goalId })))
    .slice(0, REMEMBERED);
}
