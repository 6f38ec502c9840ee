// @ts-check
/** What follows from the settings, once for all users, so their VUs do not load it: k6's options, limits, why it cannot be done. */

/** @typedef {import('./settings.js').Config} Config */

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
 * @param {Omit<Config, 'cutOff'>} config
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

/**
 * The options of k6 for a run with these settings.
 *
 * @param {Config} config
 */
export function optionsOf(config) {
  const times = timesOf(config);
  return {
    setupTimeout: `${times.adminS}s`,
    teardownTimeout: `${times.adminS}s`,
    // A user is done after one iteration: its last connection need not stay open until the end of the run.
    noVUConnectionReuse: true,
    scenarios: {
      main_scenario: {
        executor: 'per-vu-iterations',
        vus: config.vus,
        iterations: 1,
        maxDuration: `${times.mainS}s`,
        gracefulStop: '30s',
      },
      admin_controller_scenario: {
        executor: 'shared-iterations',
        exec: 'adminController',
        vus: 1,
        iterations: 1,
        startTime: '0s',
        maxDuration: `${times.controllerS}s`,
      },
    },
    thresholds: {
      http_req_failed: ['rate<0.05'],
      sse_connection_time: [`p(95)<${config.sseP95Threshold}`],
      completed_users: [`count==${config.vus}`],
      barrier_wait_ms: [`max<${config.barrierTimeoutMs}`],
    },
  };
}

/**
 * Why a run with these settings cannot succeed, or an empty text.
 *
 * @param {Config} config
 * @param {Record<string, unknown>} system the calls of the system under test
 * @param {string} segment the part of the run that this process is, empty for the whole
 */
export function whyImpossible(config, system, segment) {
  const { loginSkewMs } = timesOf(config);
  const lastLogin = config.burstOffsetMs + loginSkewMs;
  const missing = ['logIn', 'setEventStatus', 'wait', 'leave'].filter((name) => typeof system[name] !== 'function');
  if (missing.length > 0) {
    return `${config.system} exports no function ${missing.join(', ')}; js/types/system.d.ts says what each is to do`;
  }
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
  if (segment !== '' && config.runId === '') {
    // Each process of a run runs its own setup, and would make a run id of its own.
    return `RUN_ID is missing: with the execution segment ${segment}, all processes of the run must be given the same RUN_ID`;
  }
  return '';
}

/**
 * Why a user's wait was ended by this run, and what helps.
 *
 * @param {Omit<Config, 'cutOff'>} config
 * @returns {Config['cutOff']}
 */
export function cutOffTexts(config) {
  const { slots, slotsFrom, system, pollIntervalMs, sseTimeoutMs } = config;
  const why = slotsFrom === 'SEATS' ? `give the SEATS that the events have (SEATS=${slots})` : 'see why the queue is slow';
  // Who asks less often than once a round holds the slot until the next question.
  const asked = system === './systems/sse.js' || pollIntervalMs <= 1000 ? '' : `, lower POLL_INTERVAL_MS=${pollIntervalMs}`;
  const mend = `${why}${asked}, or raise HOLD_MS and SSE_TIMEOUT_MS`;
  return {
    byStream: `cut off by SSE_TIMEOUT_MS=${sseTimeoutMs}: ${mend}`,
    byScenario: `cut off by the users' time limit of ${timesOf(config).mainS} s: ${mend}`,
    mend,
  };
}
