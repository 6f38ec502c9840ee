// @ts-check
/** What k6 is asked to do with given settings, and why it cannot be done. Users have no part in it, so their VUs do not load it. */

import { timesOf } from './pure.js';

/** @typedef {import('./settings.js').Config} Config */

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
