// @ts-check
/**
 * What the harness needs of neither k6 nor the target, so that it is tested without them: its settings, the plan that
 * follows from them, and its texts.
 */

// --- Settings: every environment variable that the harness reads, in one frozen object. An empty variable counts as
// unset. A value that is not of the right kind ends the run before it starts.

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
 * @property {readonly string[]} warnings what the user should know about these settings
 */

/**
 * Reads the settings. What it needs lives inside it: each user's VU evaluates this file, and keeps what is outside. It
 * also keeps what the language makes when a thing is first used: iterators, `map`, regular expressions, `Object.freeze`.
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

  return {
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
}

/**
 * Takes from a VU what the script does not use: k6 gives each one its own copy of all that it offers, and keeps it. Whoever
 * uses one of them all the same is told why it is gone: by one object for all, since one for each would take memory again.
 *
 * @param {[object: any, names: string[]][]} all
 */
export function letGo(all) {
  // No arrow function: one of these may be called with `new`.
  const refuse = function () {
    throw new Error(
      'LEAN=1 has taken away what is used here: of k6/http all but request and cookieJar, and crypto, timers, TextDecoder, ' +
        'TextEncoder, open and require; run without LEAN=1 to have it',
    );
  };
  const gone = new Proxy(refuse, { apply: refuse, construct: refuse, get: refuse });
  for (let index = 0; index < all.length; index++) {
    const object = all[index][0];
    const names = all[index][1];
    for (let at = 0; at < names.length; at++) {
      object[names[at]] = gone;
    }
  }
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

// --- The plan: who does what when. Nothing here is random, so that two runs with the same settings do the same.

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
 * @property {number} controllerS limit of the controller's scenario, s; a safety net: the barrier has a limit of its own, and
 *   so have the users, whom the controller watches
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
  const mainS = Math.max(Math.ceil((config.holdMs + config.burstOffsetMs + skewMs) / 1000), 60);
  return {
    loginSkewMs: skewMs,
    mainS,
    controllerS: Math.max(Math.ceil((config.barrierTimeoutMs + 60000) / 1000), mainS),
    adminS: Math.ceil((loginMs + eventsMs) / 1000 + 60),
  };
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
  let text = String(data ?? '').trim();
  if (text.startsWith('data:')) {
    text = text.slice('data:'.length).trim();
  }
  // First as it stands: the steps below would spoil plain JSON that has a quote inside a text.
  const message = parseObject(text);
  if (message || text === '') {
    return message;
  }
  const inner = text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
  return parseObject(inner.replaceAll('\\"', '"'));
}

/** @param {string} text */
function parseObject(text) {
  // Most of what is none is known by its first letter, without the cost of an exception.
  const first = text.trimStart()[0];
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

/**
 * Why a user's wait was ended by this run, and what helps.
 *
 * @param {Config} config
 * @param {boolean} [byStream] by the limit of a wait, and not by that of the scenario
 */
export function cutOffText(config, byStream = false) {
  const limit = byStream ? `SSE_TIMEOUT_MS=${config.sseTimeoutMs}` : `the users' time limit of ${timesOf(config).mainS} s`;
  return `cut off by ${limit}: ${cutOffMend(config)}`;
}

/** @param {Config} config */
export function cutOffMend({ slots, slotsFrom, system, pollIntervalMs }) {
  const why = slotsFrom === 'SEATS' ? `give the SEATS that the events have (SEATS=${slots})` : 'see why the queue is slow';
  // Who asks less often than once a round holds the slot until the next question.
  const asked = system === './systems/sse.js' || pollIntervalMs <= 1000 ? '' : `, lower POLL_INTERVAL_MS=${pollIntervalMs}`;
  return `${why}${asked}, or raise HOLD_MS and SSE_TIMEOUT_MS`;
}
