// @ts-check
/**
 * Settings: every environment variable that the harness reads, in one object, and the file that names its users. An empty
 * variable counts as unset. A value that is not of the right kind ends the run before it starts.
 *
 * One VU reads them for all (`SharedArray`): ten thousand copies of these functions, and of what the language keeps once a
 * thing was used, would take 100 MB.
 */

import { cutOffTexts } from './plan.js';

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
 * @property {string} redisUrl the Redis of barrier, queue counts and preconditions, with user and password
 * @property {object} [redisTls] what the connection to it needs beside `rediss://`: texts as of the option `tls`
 * @property {string} runId run id of the barrier, empty = made in setup
 * @property {string} system file with the calls of the system under test, as `require` takes it from the harness
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
 * @property {string} loginPassword of all users
 * @property {string} usersCsv file that names the users instead, empty = none
 * @property {string} adminEmail account that controls the events
 * @property {string} adminPassword
 * @property {number} sseTimeoutMs limit of a whole stream, ms
 * @property {number} sseIdleTimeoutMs limit of silence on a stream, ms
 * @property {number} eventTimeoutMs limit of one change of an event's status, ms; not a variable
 * @property {number} disconnectTimeoutMs limit of a disconnect request, ms
 * @property {number} pollIntervalMs from one answer to the next question, where users ask again and again, ms
 * @property {{ userId: string, role: string, email: string }} gatewayHeaders names of the headers that a gateway adds
 * @property {number} sseP95Threshold limit of sse_connection_time p(95), ms
 * @property {number} barrierTimeoutMs limit of the barrier, ms
 * @property {number} barrierTtlSeconds lifetime of the barrier's keys, s
 * @property {boolean} writeOpenAt store the time of OPEN in Redis
 * @property {number} slots of each event when nobody holds one, 0 = not known
 * @property {string} slotsFrom name of the variable that says so
 * @property {number} stallMs how long nobody may be let in while users wait, ms
 * @property {boolean} verbose a log line per user and step
 * @property {boolean} lean take from each VU what the harness does not use
 * @property {{ byStream: string, byScenario: string, mend: string }} cutOff why this run ends a user's wait by the limit of a
 *   stream or by that of the scenario, with what helps, and that alone
 * @property {readonly string[]} warnings what the user should know about these settings
 */

/**
 * Reads the settings.
 *
 * @param {Record<string, string | undefined>} env
 * @param {(path: string) => string} read gives a file's text
 * @returns {Readonly<Config>}
 */
export function readConfig(env, read) {
  /** @type {Record<string, Preset>} */
  const presets = {
    baseline: { vus: 2000, holdMs: 300000, hotRatio: 0.5 },
    target: { vus: 10000, holdMs: 600000, hotRatio: 0.6 },
    stress: { vus: 30000, holdMs: 60000, hotRatio: 0.7 },
  };

  const text = (/** @type {string} */ name, fallback = '') => (env[name] ?? '').trim() || fallback;

  /** A whole number, of milliseconds with or without their unit; what is below `least` becomes `least`. */
  const whole = (/** @type {string} */ name, /** @type {number} */ fallback, least = 0) => {
    const given = text(name, String(fallback));
    const isTime = name.endsWith('_MS');
    const digits = isTime && given.endsWith('ms') ? given.slice(0, -'ms'.length).trim() : given;
    const value = Number(digits);
    if (digits === '' || !Number.isSafeInteger(value)) {
      const allowed = isTime ? 'a whole number of milliseconds, such as 60000 or 60000ms' : 'a whole number';
      throw new Error(`${name} must be ${allowed}, got "${env[name]}"`);
    }
    return Math.max(value, least);
  };

  const flag = (/** @type {string} */ name, /** @type {string} */ fallback) => {
    const value = text(name, fallback).toLowerCase();
    const on = value === '1' || value === 'true';
    if (!on && value !== '0' && value !== 'false') {
      throw new Error(`${name} must be 1, true, 0 or false, got "${env[name]}"`);
    }
    return on;
  };

  /** A path from the current folder on, where k6 would take it from that of the script. */
  const fromHere = (/** @type {string} */ path) => (path.startsWith('/') ? path : `${env.PWD ?? '.'}/${path}`);

  /** One of the systems that come with the harness by its name, any other by its path. */
  const system = () => {
    const given = text('SYSTEM', 'sse');
    if (given === 'sse' || given === 'polling') {
      return `./systems/${given}.js`;
    }
    if (!given.endsWith('.js')) {
      throw new Error(`SYSTEM must be sse, polling or the path of a .js file, got "${env.SYSTEM}"`);
    }
    return fromHere(given);
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

  const redisUrl = () => {
    const url = text('REDIS_URL', 'redis://127.0.0.1:6379');
    const host = url.indexOf('://') + 3;
    const user = text('REDIS_USERNAME');
    const password = text('REDIS_PASSWORD');
    if (host < 3 || url.includes('@') || user + password === '') {
      return url;
    }
    return `${url.slice(0, host)}${encodeURIComponent(user)}:${encodeURIComponent(password)}@${url.slice(host)}`;
  };

  const redisTls = () => {
    const file = (/** @type {string} */ name) => {
      const path = text(name);
      return path === '' ? undefined : read(fromHere(path));
    };
    const tls = {
      ca: file('REDIS_TLS_CA'),
      cert: file('REDIS_TLS_CERT'),
      key: file('REDIS_TLS_KEY'),
      serverName: text('REDIS_TLS_SERVER_NAME') || undefined,
    };
    if ((tls.ca ?? tls.cert ?? tls.key ?? tls.serverName) === undefined) {
      return undefined;
    }
    if (!text('REDIS_URL').startsWith('rediss')) {
      throw new Error('REDIS_TLS_* are given, so REDIS_URL must begin with rediss:// or rediss+cluster://');
    }
    return tls;
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
  const boosted = flag('SLOT_BOOST', '0');

  const settings = {
    eventIds: list(text('EVENT_IDS')),
    baseUrl,
    brokerBaseUrl: address('BROKER_BASE_URL', baseUrl),
    redisUrl: redisUrl(),
    redisTls: redisTls(),
    runId: text('RUN_ID'),
    system: system(),
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
    loginPassword: text('LOGIN_PASSWORD', 'password123'),
    usersCsv: text('USERS_CSV') && fromHere(text('USERS_CSV')),
    adminEmail: text('ADMIN_EMAIL', 'admin@example.com'),
    adminPassword: text('ADMIN_PASSWORD', 'password123'),
    sseTimeoutMs: whole('SSE_TIMEOUT_MS', 120000, 1),
    sseIdleTimeoutMs: whole('SSE_IDLE_TIMEOUT_MS', 15000, 1),
    eventTimeoutMs: 10000,
    disconnectTimeoutMs: whole('DISCONNECT_TIMEOUT_MS', 2000, 1),
    pollIntervalMs: whole('POLL_INTERVAL_MS', 1000, 1),
    gatewayHeaders: {
      userId: text('GATEWAY_USER_ID_HEADER', 'User-Id'),
      role: text('GATEWAY_ROLE_HEADER', 'Role'),
      email: text('GATEWAY_EMAIL_HEADER', 'Email'),
    },
    sseP95Threshold: whole('SSE_P95_THRESHOLD', 5000, 1),
    barrierTimeoutMs: whole('BARRIER_TIMEOUT_MS', 300000, 1),
    barrierTtlSeconds: whole('K6_BARRIER_TTL_SECONDS', 3600, 1),
    writeOpenAt: flag('WRITE_OPEN_AT_REDIS', '1'),
    slots: boosted ? whole('SLOT_BOOST_VALUE', 10000) : whole('SEATS', 0),
    slotsFrom: boosted ? 'SLOT_BOOST_VALUE' : text('SEATS') && 'SEATS',
    stallMs: whole('STALL_MS', 10000, 3000),
    verbose: flag('VERBOSE_LOGS', '0'),
    lean: flag('LEAN', '0'),
    warnings: warnings(),
  };
  return { ...settings, cutOff: cutOffTexts(settings) };
}

/**
 * The accounts in a file of lines `email,password`, whose first line may say just that.
 *
 * @param {string} csv
 * @param {number} users how many are needed
 */
export function accountsOf(csv, users) {
  const lines = csv.split(/\r?\n/).filter((line) => line.trim() !== '');
  const accounts = lines.slice(lines[0]?.trim() === 'email,password' ? 1 : 0).map((line) => {
    const [email, ...password] = line.split(',');
    return { email: email.trim(), password: password.join(',') };
  });
  const bad = accounts.findIndex(({ email, password }) => email === '' || password === '') + 1;
  if (bad > 0 || accounts.length < users) {
    const wrong = bad > 0 ? `its user ${bad} has no email or no password` : `got ${accounts.length} users for VUS=${users}`;
    throw new Error(`USERS_CSV must be lines of email,password, one for each user: ${wrong}`);
  }
  return accounts;
}
