// @ts-check
/**
 * The harness's settings, every environment variable it reads in one frozen object, and the plan that follows from them:
 * who does what when. Nothing here is random, so that two runs with the same settings do the same.
 *
 * An empty variable counts as unset. A value that is not of the right kind ends the run before it starts.
 */

/**
 * @typedef {object} Preset
 * @property {number} vus users
 * @property {number} holdMs time added to the main scenario's limit, ms
 * @property {number} hotRatio share of users for the hot event, 0..1
 */

/**
 * @typedef {object} Config
 * @property {readonly string[]} eventIds events, in the order in which users are spread over them
 * @property {string} baseUrl login and event status, without a slash at the end
 * @property {string} brokerBaseUrl waiting and disconnect, without a slash at the end
 * @property {string} redisUrl the Redis of barrier, queue counts and preconditions
 * @property {string} runId run id of the barrier, empty = made in setup
 * @property {string} scenario name of the preset, possibly empty
 * @property {number} vus users
 * @property {number} holdMs time added to the main scenario's limit, ms
 * @property {number} hotRatio share of users for the hot event, 0..1
 * @property {string} hotEventId the hot event, empty = all events alike
 * @property {number} burstOffsetMs from the end of setup to the first login, ms
 * @property {number} loginBatchSize users per login batch
 * @property {number} loginBatchIntervalMs from one batch to the next, ms
 * @property {number} loginBatchJitterMs spread inside a batch, ms
 * @property {number} loginTimeoutMs limit of a login request, ms
 * @property {number} maxLoginAttempts login attempts per user
 * @property {number} loginRetryDelayMs pause between login attempts, ms
 * @property {string} loginEmailDomain users are user{n}@domain
 * @property {string} adminEmail account that controls the events
 * @property {string} adminPassword
 * @property {number} sseTimeoutMs limit of a whole stream, ms
 * @property {number} sseIdleTimeoutMs limit of silence on a stream, ms
 * @property {number} eventTimeoutMs limit of one change of an event's status, ms; not a variable
 * @property {number} disconnectTimeoutMs limit of a disconnect request, ms
 * @property {number} sseP95Threshold limit of sse_connection_time p(95), ms
 * @property {number} barrierTimeoutMs limit of the barrier, ms
 * @property {number} barrierTtlSeconds lifetime of the barrier's keys, s
 * @property {boolean} writeOpenAt store the time of OPEN in Redis
 * @property {boolean} verbose a log line per user and step
 * @property {readonly string[]} warnings what the user should know about these settings
 */

/**
 * Reads the settings. What it needs lives inside it: each user's VU evaluates this file, and keeps what is outside.
 *
 * @param {Record<string, string | undefined>} env
 * @returns {Readonly<Config>}
 */
export function readConfig(env) {
  /** @type {Record<string, Preset>} */
  const presets = {
    baseline: { vus: 2000, holdMs: 300000, hotRatio: 0.5 },
    target: { vus: 10000, holdMs: 600000, hotRatio: 0.6 },
    stress: { vus: 30000, holdMs: 60000, hotRatio: 0.7 },
  };

  const text = (/** @type {string} */ name, fallback = '') => (env[name] ?? '').trim() || fallback;

  /** A whole number; what is below `least` becomes `least`. */
  const whole = (/** @type {string} */ name, /** @type {number} */ fallback, least = 0) => {
    const value = Number(text(name, String(fallback)));
    if (!Number.isSafeInteger(value)) {
      throw new Error(`${name} must be a whole number, got "${env[name]}"`);
    }
    return Math.max(value, least);
  };

  const flag = (/** @type {string} */ name, /** @type {string} */ fallback) => {
    const value = text(name, fallback);
    if (value !== '0' && value !== '1') {
      throw new Error(`${name} must be 0 or 1, got "${env[name]}"`);
    }
    return value === '1';
  };

  /** A share given as 0..1 or, above 1, in percent; 0 for anything that is no positive number. */
  const ratio = (/** @type {string} */ value) => {
    const number = Number(value);
    if (!(number > 0)) {
      return 0;
    }
    return Math.min(number > 1 ? number / 100 : number, 1);
  };

  const address = (/** @type {string} */ name, /** @type {string} */ fallback) => {
    let url = text(name, fallback);
    while (url.endsWith('/')) {
      url = url.slice(0, -1);
    }
    return url;
  };

  const list = (/** @type {string} */ commaList) => {
    /** @type {string[]} */
    const found = [];
    const items = commaList.split(',');
    for (let index = 0; index < items.length; index++) {
      const item = items[index].trim();
      if (item !== '' && !found.includes(item)) {
        found.push(item);
      }
    }
    return found;
  };

  const warnings = () => {
    const isSet = (/** @type {string} */ name) => text(name) !== '';
    const found = [];
    if (isSet('ADMIN_OPEN_DELAY_MS')) {
      found.push('ADMIN_OPEN_DELAY_MS has no effect: the events open when all users have met at the barrier');
    }
    if (isSet('WAIT_FOR_IN_ENTRY')) {
      found.push('WAIT_FOR_IN_ENTRY has no effect: the events open when all users have met at the barrier');
    }
    if (isSet('BARRIER_POLL_INTERVAL_MS')) {
      found.push('BARRIER_POLL_INTERVAL_MS has no effect: the barrier tells its release, nobody polls for it');
    }
    if (isSet('HOT_RATIO') && !isSet('HOT_EVENT_ID')) {
      found.push('HOT_RATIO has no effect without HOT_EVENT_ID: users are spread over the events in turn');
    }
    return found;
  };

  const scenario = text('SCENARIO');
  const preset = Object.hasOwn(presets, scenario) ? presets[scenario] : { vus: 1, holdMs: 0, hotRatio: 0 };
  const baseUrl = address('BASE_URL', 'http://localhost:8080');

  return Object.freeze({
    eventIds: Object.freeze(list(text('EVENT_IDS'))),
    baseUrl,
    brokerBaseUrl: address('BROKER_BASE_URL', baseUrl),
    redisUrl: text('REDIS_URL', 'redis://127.0.0.1:6379'),
    runId: text('RUN_ID'),
    scenario,
    vus: whole('VUS', preset.vus, 1),
    holdMs: whole('HOLD_MS', preset.holdMs),
    hotRatio: ratio(text('HOT_RATIO', String(preset.hotRatio))),
    hotEventId: text('HOT_EVENT_ID'),
    burstOffsetMs: whole('BURST_OFFSET_MS', 3000),
    loginBatchSize: whole('LOGIN_BATCH_SIZE', 100, 1),
    loginBatchIntervalMs: whole('LOGIN_BATCH_INTERVAL_MS', 1000),
    loginBatchJitterMs: whole('LOGIN_BATCH_JITTER_MS', 0),
    loginTimeoutMs: whole('LOGIN_TIMEOUT_MS', 10000, 1),
    maxLoginAttempts: whole('MAX_LOGIN_RETRIES', 10, 1),
    loginRetryDelayMs: whole('LOGIN_RETRY_DELAY_MS', 0),
    loginEmailDomain: text('LOGIN_EMAIL_DOMAIN', 'example.com'),
    adminEmail: text('ADMIN_EMAIL', 'admin@example.com'),
    adminPassword: text('ADMIN_PASSWORD', 'password123'),
    sseTimeoutMs: whole('SSE_TIMEOUT_MS', 120000, 1),
    sseIdleTimeoutMs: whole('SSE_IDLE_TIMEOUT_MS', 15000, 1),
    eventTimeoutMs: 10000,
    disconnectTimeoutMs: whole('DISCONNECT_TIMEOUT_MS', 2000, 1),
    sseP95Threshold: whole('SSE_P95_THRESHOLD', 5000, 1),
    barrierTimeoutMs: whole('BARRIER_TIMEOUT_MS', 300000, 1),
    barrierTtlSeconds: whole('K6_BARRIER_TTL_SECONDS', 3600, 1),
    writeOpenAt: flag('WRITE_OPEN_AT_REDIS', '1'),
    verbose: flag('VERBOSE_LOGS', '0'),
    warnings: Object.freeze(warnings()),
  });
}

/** The settings of this run. */
export const config = readConfig(__ENV);

/**
 * From the start of the burst to a user's login, ms.
 *
 * @param {Config} config
 * @param {number} userId
 */
export function loginOffsetMs({ loginBatchSize, loginBatchIntervalMs, loginBatchJitterMs }, userId) {
  const batch = Math.floor((userId - 1) / loginBatchSize);
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

/**
 * @typedef {object} Times
 * @property {number} loginSkewMs from the first user's planned login to the last one's, ms
 * @property {number} mainS limit of the users' scenario, s
 * @property {number} controllerS limit of the controller's scenario, s; a safety net: the barrier has a limit of its own
 * @property {number} adminS setup and teardown at their slowest, so that it is our message and not k6's own time-out that
 *   ends them, s
 */

/**
 * @param {Config} config
 * @returns {Times}
 */
export function timesOf(config) {
  const skewMs =
    Math.floor((config.vus - 1) / config.loginBatchSize) * config.loginBatchIntervalMs + config.loginBatchJitterMs;
  const loginMs = config.maxLoginAttempts * (config.loginTimeoutMs + config.loginRetryDelayMs);
  const eventsMs = config.eventIds.length * (config.eventTimeoutMs + 500); // each change is followed by half a second
  return {
    loginSkewMs: skewMs,
    mainS: Math.max(Math.ceil((config.holdMs + config.burstOffsetMs + skewMs) / 1000), 60),
    controllerS: Math.max(Math.ceil((config.barrierTimeoutMs + 60000) / 1000), 60),
    adminS: Math.ceil((loginMs + eventsMs) / 1000 + 60),
  };
}

/**
 * Why a run with these settings cannot succeed, or an empty text.
 *
 * @param {Config} config
 */
export function whyImpossible(config) {
  const { loginSkewMs } = timesOf(config);
  const lastLogin = config.burstOffsetMs + loginSkewMs;
  if (config.eventIds.length === 0) {
    return 'EVENT_IDS is empty: give the ids of the events as a comma list, for example EVENT_IDS=id1,id2';
  }
  if (config.hotEventId !== '' && !config.eventIds.includes(config.hotEventId)) {
    return `HOT_EVENT_ID must be one of EVENT_IDS (${config.eventIds.join(', ')}), got "${config.hotEventId}"`;
  }
  if (lastLogin >= config.barrierTimeoutMs) {
    return (
      `the barrier cannot be met: the last of ${config.vus} users logs in ${lastLogin} ms after setup, and ` +
      `BARRIER_TIMEOUT_MS is ${config.barrierTimeoutMs}; raise it, or log in faster by LOGIN_BATCH_SIZE`
    );
  }
  if (loginSkewMs >= config.sseTimeoutMs) {
    return (
      `the first streams end before the last user logs in: the logins of ${config.vus} users take ${loginSkewMs} ms, and ` +
      `SSE_TIMEOUT_MS is ${config.sseTimeoutMs}; raise it, or log in faster by LOGIN_BATCH_SIZE`
    );
  }
  return '';
}
