// @ts-check
/**
 * The settings of the load ladders' scripts: every environment variable that they read, in one object. Needs nothing of k6.
 *
 * An empty variable counts as unset. A value that is not of the right kind ends the run before it starts.
 */

/** @typedef {{ preAllocated: number, most: number }} Vus of one load */

/**
 * @typedef {object} Config
 * @property {number} rps requests of the API to begin in a second
 * @property {number} eps events to send in a second
 * @property {string} duration of the load, as k6 reads it
 * @property {string} baseUrl the API with its base path, without a slash at the end
 * @property {string} eventsAddress host and port of the event handler
 * @property {string} namespace of users and events
 * @property {number} users that take part: user-000001 and so on
 * @property {number} goalsPerEvent goals whose progress an event changes, of a login or of a statistic that goals ask for
 * @property {Vus} apiVus
 * @property {Vus} eventVus
 * @property {number} claimShare of the API's iterations that claim a reward too, 0..1
 * @property {number} seedUsers users who complete goals before the load begins, and who claim; 0 = none
 * @property {number} requestTimeoutMs limit of one request or event, ms
 * @property {boolean} e2e whether delays from an event to its visibility are measured beside the load
 * @property {number} e2eRate measurements to begin in a second
 * @property {number} e2ePollMs from one look to the next, ms
 * @property {number} e2eLimitMs what is not visible by then is missing, ms
 * @property {number} apiP95MaxMs objective: 95 % of requests are answered below it, ms
 * @property {number} eventP95MaxMs objective: 95 % of events are acknowledged below it, ms
 * @property {number} errorRateMax objective: of requests, and of events, less than this share fails, 0..1
 */

/**
 * @param {Record<string, string | undefined>} env
 * @param {{ rps?: number, eps?: number, claimShare?: number }} [usual] what a script does not share with the others
 * @returns {Config}
 * @throws {Error} that names the variable, what it holds and what is allowed
 */
export function readConfig(env, { rps = 100, eps = 1000, claimShare = 0.2 } = {}) {
  const text = (/** @type {string} */ name, fallback = '') => (env[name] ?? '').trim() || fallback;
  const refuse = (/** @type {string} */ name, /** @type {string} */ allowed) => {
    throw new Error(`${name} must be ${allowed}, got "${env[name]}"`);
  };

  const whole = (/** @type {string} */ name, /** @type {number} */ fallback, least = 0) => {
    const value = Number(text(name, String(fallback)));
    return Number.isSafeInteger(value) && value >= least ? value : refuse(name, `a whole number of at least ${least}`);
  };

  const share = (/** @type {string} */ name, /** @type {number} */ fallback) => {
    const value = Number(text(name, String(fallback)));
    return value >= 0 && value <= 1 ? value : refuse(name, 'a share from 0 to 1, such as 0.2');
  };

  const matching = (/** @type {string} */ name, /** @type {string} */ fallback, /** @type {RegExp} */ form, /** @type {string} */ allowed) => {
    const value = text(name, fallback);
    return form.test(value) ? value : refuse(name, allowed);
  };

  const vus = (/** @type {string} */ prefix, /** @type {Vus} */ usually) => {
    const preAllocated = whole(`${prefix}_PRE_VUS`, usually.preAllocated, 1);
    const most = whole(`${prefix}_MAX_VUS`, Math.max(usually.most, preAllocated), 1);
    return most >= preAllocated ? { preAllocated, most } : refuse(`${prefix}_MAX_VUS`, `at least ${prefix}_PRE_VUS, which is ${preAllocated}`);
  };

  const e2e = text('E2E', '0');
  const requests = whole('TARGET_RPS', rps, 1);
  const events = whole('TARGET_EPS', eps, 1);
  return {
    rps: requests,
    eps: events,
    duration: matching('DURATION', '30m', /^(\d+(\.\d+)?(ms|s|m|h))+$/, 'a duration such as 30m, 90s or 1m30s'),
    baseUrl: matching(text('API_URL') === '' ? 'BASE_URL' : 'API_URL', 'http://localhost:8000/challenge', /^https?:\/\/./, 'an address that begins with http:// or https://').replace(/\/+$/, ''),
    eventsAddress: matching('EVENT_HANDLER_ADDR', 'localhost:6566', /^[^/]+:\d+$/, 'a host and a port such as localhost:6566'),
    namespace: text('NAMESPACE', 'test'),
    users: whole('USERS', 10000, 1),
    goalsPerEvent: whole('GOALS_PER_EVENT', 100),
    apiVus: vus('API', { preAllocated: Math.min(requests, 1000), most: Math.min(2 * requests, 2000) }),
    eventVus: vus('EVENT', { preAllocated: Math.min(events, 1000), most: Math.min(2 * events, 1500) }),
    claimShare: share('CLAIM_SHARE', claimShare),
    seedUsers: whole('SEED_USERS', 0),
    requestTimeoutMs: whole('REQUEST_TIMEOUT_MS', 60000, 1),
    e2e: ['0', '1'].includes(e2e) ? e2e === '1' : refuse('E2E', '0 or 1'),
    e2eRate: whole('E2E_RATE', 1, 1),
    e2ePollMs: whole('E2E_POLL_MS', 20),
    e2eLimitMs: whole('E2E_LIMIT_MS', 30000, 1),
    apiP95MaxMs: whole('API_P95_MAX', 2000, 1),
    eventP95MaxMs: whole('EVENT_P95_MAX', 500, 1),
    errorRateMax: share('ERROR_RATE_MAX', 0.01),
  };
}
