// @ts-check
/**
 * The settings of the chat scripts: every environment variable that they read, in one object. Needs nothing of k6.
 *
 * An empty variable counts as unset. A value that is not of the right kind ends the run before it starts.
 */

/** @typedef {{ from: number, to: number }} Span of milliseconds, both ends included */

/**
 * @typedef {object} Config
 * @property {number} vus users at the highest load
 * @property {number} durationMs how long they stay at it, ms
 * @property {string} baseUrl the API, without a slash at the end
 * @property {string} wsUrl origin of the stream, without a slash at the end
 * @property {string} orchestratorUrl the service of the stream over HTTP, without a slash at the end
 * @property {string} metricsUrl where the loop's pace is read
 * @property {string} hzMetric the sample that is the loop's pace
 * @property {boolean} hz whether this run reads it
 * @property {string} dialect name of a dialect, or the path of a file with one, as `require` takes it from lib/
 * @property {boolean} together whether all users connect before the first of them sends
 * @property {number} barrierTimeoutMs how long they wait for each other, ms
 * @property {string} tokensFile a token in each line, one for each VU; empty = no authorization
 * @property {number} errorRateLimit share of attempted messages that may fail, 0..1
 * @property {number} hzLimit the average of the loop's pace must be above it, Hz
 * @property {number} connectLimitMs limit of the 95th percentile of times to connect, ms
 * @property {number} replyP90LimitMs limit of the 90th percentile of times to reply, ms
 * @property {Span} session from the connection on, messages are begun for so long
 * @property {Span} pause after a session
 * @property {number} thinkMs from the end of a reply to the next message, ms
 * @property {number} messages of a session; 0 = as many as the time allows
 * @property {number} replyLimitMs a reply must be complete by then, ms
 * @property {number} silenceMs nothing of a reply may come for so long, ms
 * @property {boolean} verbose a line for each failure
 */

/**
 * @param {Record<string, string | undefined>} env
 * @param {{ vus?: number, duration?: string, wsUrl?: string, dialect?: string }} [usual] what a script does not share with the others
 * @returns {Config}
 * @throws {Error} that names the variable, what it holds and what is allowed
 */
export function readConfig(env, { vus = 1000, duration = '5m', wsUrl = 'ws://localhost:8080', dialect = 'message' } = {}) {
  const text = (/** @type {string} */ name, fallback = '') => (env[name] ?? '').trim() || fallback;
  const refuse = (/** @type {string} */ name, /** @type {string} */ allowed) => {
    throw new Error(`${name} must be ${allowed}, got "${env[name]}"`);
  };

  const whole = (/** @type {string} */ name, /** @type {number} */ fallback, least = 0) => {
    const value = Number(text(name, String(fallback)));
    return Number.isSafeInteger(value) && value >= least ? value : refuse(name, `a whole number of at least ${least}`);
  };

  const number = (/** @type {string} */ name, /** @type {number} */ fallback, /** @type {number} */ most, /** @type {string} */ allowed) => {
    const value = Number(text(name, String(fallback)));
    return value > 0 && value <= most ? value : refuse(name, allowed);
  };

  const oneOf = (/** @type {string} */ name, /** @type {string[]} */ allowed) => {
    const value = text(name, allowed[0]).toLowerCase();
    return allowed.includes(value) ? value : refuse(name, `one of ${allowed.join(', ')}`);
  };

  const address = (/** @type {string} */ name, /** @type {string} */ fallback, /** @type {string[]} */ schemes) => {
    const url = text(name, fallback);
    if (!schemes.some((scheme) => url.startsWith(`${scheme}://`) && url.length > scheme.length + 3)) {
      refuse(name, `an address that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`);
    }
    return url.replace(/\/+$/, '');
  };

  const span = (/** @type {string} */ name, /** @type {number} */ from, /** @type {number} */ to) => {
    const [least, most = least] = text(name, `${from}-${to}`).split('-').map((part) => (part.trim() === '' ? NaN : Number(part)));
    const right = Number.isSafeInteger(least) && Number.isSafeInteger(most) && least >= 0 && most >= least;
    return right ? { from: least, to: most } : refuse(name, 'milliseconds as one whole number or as a span such as 5000-15000');
  };

  const dialectOf = () => {
    const given = text('DIALECT', dialect);
    if (['message', 'stream_event', 'token'].includes(given)) {
      return given;
    }
    // From the current folder on, where k6 would take it from that of the script.
    return given.endsWith('.js') ? fromHere(given) : refuse('DIALECT', 'message, stream_event, token or the path of a .js file');
  };

  const fromHere = (/** @type {string} */ path) => (path.startsWith('/') ? path : `${env.PWD ?? '.'}/${path}`);

  if (text('SSH_HOST') !== '') {
    throw new Error(`SSH_HOST has no meaning here, got "${env.SSH_HOST}": unset it, and start the run on that machine itself`);
  }
  const durationMs = millisOf(text('DURATION', duration));
  const base = address('BASE_URL', 'http://localhost:4000', ['http', 'https']);
  const stream = address('WS_URL', wsUrl, ['ws', 'wss']);
  const logLevel = oneOf('K6_LOG_LEVEL', ['info', 'debug', 'warn', 'error']);

  return {
    vus: whole('VUS', vus, 1),
    durationMs: durationMs > 0 ? durationMs : refuse('DURATION', 'a duration such as 5m, 90s, 1m30s or 500ms'),
    baseUrl: base,
    wsUrl: stream,
    orchestratorUrl: address('CHAT_ORCHESTRATOR_URL', stream.replace(/^ws/, 'http'), ['http', 'https']),
    metricsUrl: address('METRICS_URL', `${base}/metrics`, ['http', 'https']),
    hzMetric: text('HZ_METRIC', 'backend_loop_hz'),
    hz: oneOf('HZ', ['on', 'off']) === 'on',
    dialect: dialectOf(),
    together: oneOf('START', ['apart', 'together']) === 'together',
    barrierTimeoutMs: whole('BARRIER_TIMEOUT_MS', 120000, 1),
    tokensFile: text('TOKENS') && fromHere(text('TOKENS')),
    errorRateLimit: number('ERROR_RATE_THRESHOLD', 0.01, 1, 'a share above 0 and up to 1, such as 0.01'),
    hzLimit: number('HZ_AVERAGE_THRESHOLD', 95, Number.MAX_VALUE, 'a number of Hz above 0'),
    connectLimitMs: whole('WS_CONNECTION_TIME_P95', 5000, 1),
    replyP90LimitMs: whole('MESSAGE_RESPONSE_TIME_P90', 10000, 1),
    session: span('SESSION_MS', 5000, 15000),
    pause: span('PAUSE_MS', 1000, 3000),
    thinkMs: whole('THINK_MS', 1000),
    messages: whole('MESSAGES', 0),
    replyLimitMs: whole('REPLY_TIMEOUT_MS', 30000, 1),
    silenceMs: whole('SILENCE_MS', 20000, 1),
    verbose: logLevel === 'debug' || oneOf('DEBUG_MODE', ['false', 'true', '0', '1']).replace('1', 'true') === 'true',
  };
}

/**
 * A duration in k6's words, such as `1m30s` or `500ms`, in milliseconds; 0 for anything else.
 *
 * @param {string} text
 */
export function millisOf(text) {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = text.match(/\d+(?:\.\d+)?(?:ms|s|m|h)/g) ?? [];
  if (parts.join('') !== text) {
    return 0;
  }
  return parts.reduce((sum, part) => {
    const unit = /** @type {keyof typeof units} */ (part.replace(/[\d.]+/, ''));
    return sum + parseFloat(part) * units[unit];
  }, 0);
}

/**
 * A course of users over time, in the proportions of a script's usual load.
 *
 * @typedef {object} Course
 * @property {number} holdS the stage that DURATION is about, s
 * @property {[seconds: number, share: number][]} stages how long, and which share of VUS is there at the end
 */

/**
 * The stages of k6 for that course with other users and another duration. Ramps are longer or shorter as the hold is.
 *
 * @param {Course} course
 * @param {Pick<Config, 'vus' | 'durationMs'>} config
 */
export function stagesOf({ holdS, stages }, { vus, durationMs }) {
  const factor = durationMs / holdS;
  return stages.map(([seconds, share]) => ({ duration: `${Math.round(seconds * factor)}ms`, target: Math.ceil(share * vus) }));
}

/**
 * How long stages of k6 take together, ms.
 *
 * @param {{ duration: string }[]} stages
 */
export function lengthOf(stages) {
  return stages.reduce((sum, { duration }) => sum + millisOf(duration), 0);
}
