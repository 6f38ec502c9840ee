// @ts-check
/**
 * How long does a ticketing system's waiting room take to let everybody in?
 *
 * All users log in, join the queue of an event that is CLOSED, and hold their SSE stream open. When each of them has met
 * at the barrier (or is known to have failed), one controller opens the events. Every user leaves when promoted; the run
 * ends when the last one has.
 *
 *   k6 run -e EVENT_IDS=id1,id2 -e VUS=50 js/sse-throughput-test.js
 *
 * The settings, all by environment variable, are documented in lib/config.js.
 */

import exec from 'k6/execution';
import { sleep } from 'k6';

import { barrierOf, MAIN_SCENARIO, meetAll, record, whyNoBarrier } from './lib/barrier.js';
import { config } from './lib/config.js';
import { EVENT_TIMEOUT_MS, setEventStatus } from './lib/events.js';
import { login, loginAsAdmin } from './lib/login.js';
import { loginBatchDelayMs, openToPromoteMs } from './lib/metrics.js';
import { tellFailure } from './lib/notices.js';
import { controllerMaxDurationS, eventOf, loginOffsetMs, mainMaxDurationS, whyImpossible } from './lib/plan.js';
import { storeOpenAt, whyNotEmpty } from './lib/queues.js';
import { endRun } from './lib/run.js';
import { holdStream } from './lib/stream.js';
import { summaryText } from './lib/summary.js';

/** Pauses after a status change, s. */
const SETUP_PAUSE = 0.5;
const OPEN_PAUSE = 0.05;

/** Setup and teardown at their slowest, so that it is our message and not k6's own time-out that ends them, s. */
const adminLimitS = Math.ceil(
  (config.maxLoginAttempts * (config.loginTimeoutMs + config.loginRetryDelayMs) +
    config.eventIds.length * (EVENT_TIMEOUT_MS + SETUP_PAUSE * 1000)) /
    1000 +
    60,
);

export const options = {
  setupTimeout: `${adminLimitS}s`,
  teardownTimeout: `${adminLimitS}s`,
  // A user is done after one iteration: its last connection need not stay open until the end of the run.
  noVUConnectionReuse: true,
  scenarios: {
    [MAIN_SCENARIO]: {
      executor: 'per-vu-iterations',
      vus: config.vus,
      iterations: 1,
      maxDuration: `${mainMaxDurationS(config)}s`,
      gracefulStop: '30s',
    },
    admin_controller_scenario: {
      executor: 'shared-iterations',
      exec: 'adminController',
      vus: 1,
      iterations: 1,
      startTime: '0s',
      maxDuration: `${controllerMaxDurationS(config)}s`,
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.05'],
    sse_connection_time: [`p(95)<${config.sseP95Threshold}`],
    completed_users: [`count==${config.vus}`],
    barrier_wait_ms: [`max<${config.barrierTimeoutMs}`],
  },
};

/**
 * @typedef {object} SetupData
 * @property {number} burstStartMs epoch ms from which on users log in
 * @property {string} runId
 */

/** @returns {Promise<SetupData>} */
export async function setup() {
  config.warnings.forEach((warning) => console.warn(warning));

  const runId = config.runId || `${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
  const refusal = whyImpossible(config) || whyNoRunId() || whyNoBarrier(runId) || (await whyNotEmpty());
  if (refusal !== '') {
    endRun(`setup: ${refusal}`);
  }
  const session = loginAsAdmin();
  if (typeof session === 'string') {
    endRun(`setup: ${session}, so event status cannot be controlled`);
  }
  for (const eventId of config.eventIds) {
    const failure = setEventStatus(session, eventId, 'CLOSED');
    if (failure !== '') {
      endRun(`setup: ${failure}`);
    }
    sleep(SETUP_PAUSE);
  }
  return { burstStartMs: Date.now() + config.burstOffsetMs, runId };
}

/** Each process of a run runs its own setup, and would make a run id of its own. */
function whyNoRunId() {
  const segment = exec.test.options.executionSegment;
  if (config.runId !== '' || !segment || segment === '0:1') {
    return '';
  }
  return `RUN_ID is missing: with the execution segment ${segment}, all processes of the run must be given the same RUN_ID`;
}

/** @param {SetupData} data */
export default function (data) {
  // Not the VU's number: those are shared with the controller's scenario, and may leave a user out.
  const userId = exec.scenario.iterationInTest + 1;
  const eventId = eventOf(config, userId);
  const participant = { participant: userId };
  const tell = (/** @type {string} */ text) => tellFailure(data.runId, userId, text);
  const log = (/** @type {string} */ text) => {
    if (config.verbose) {
      console.log(`user ${userId} (VU ${exec.vu.idInTest}, event ${eventId}): ${text}`);
    }
  };

  const barrier = barrierOf(data.runId);
  record(() => barrier.register(participant), tell);

  const delayMs = data.burstStartMs + loginOffsetMs(config, userId) - Date.now();
  if (delayMs > 0) {
    loginBatchDelayMs.add(delayMs);
    sleep(delayMs / 1000);
  }

  const session = login(`user${userId}@${config.loginEmailDomain}`, 'password123', {
    failed: (why) => tell(`could not log in: ${why}`),
  });
  if (!session) {
    record(() => barrier.fail('login', participant), tell);
    return;
  }
  log('logged in');

  let joined = false;
  const established = holdStream(session, eventId, {
    joined: () => {
      joined = true;
      // Inside the stream's handler, where only a call that does not need the event loop gets anywhere.
      record(() => barrier.arrive(participant), tell);
      log('joined the queue');
    },
    promoted: () => {
      const { releasedAt } = barrier.status();
      if (releasedAt !== null) {
        openToPromoteMs.add(Math.max(Date.now() - releasedAt, 0));
      }
      log('promoted');
    },
    failed: (reason) => {
      tell(`lost the stream of event ${eventId}: ${reason}`);
      if (!joined) {
        record(() => barrier.fail('sse', participant), tell);
      }
    },
  });
  log(established ? 'the stream has ended' : 'could not wait');
}

/** @param {SetupData} data */
export async function adminController(data) {
  const session = loginAsAdmin();
  if (typeof session === 'string') {
    endRun(`admin controller: ${session}, so the events stay CLOSED`);
  }
  const waitedMs = meetAll(barrierOf(data.runId));
  const stored = config.writeOpenAt ? storeOpenAt(data.runId) : undefined;
  console.log(`Barrier met after ${waitedMs} ms; the events go OPEN`);

  for (const eventId of config.eventIds) {
    const failure = setEventStatus(session, eventId, 'OPEN');
    if (failure !== '') {
      endRun(`admin controller: ${failure}`);
    }
    sleep(OPEN_PAUSE);
  }
  await stored;
  console.log('admin controller: all events are OPEN');
}

export function teardown() {
  console.log('teardown: the events go OPEN');
  // One attempt: a target that has stopped answering should not hold up the end of the run for each of them.
  const session = loginAsAdmin(1);
  if (typeof session === 'string') {
    console.error(`teardown: ${session}; the events stay as they are`);
    return;
  }
  for (const eventId of config.eventIds) {
    const failure = setEventStatus(session, eventId, 'OPEN');
    if (failure !== '') {
      console.error(`teardown: ${failure}`);
    }
    sleep(SETUP_PAUSE);
  }
  console.log('teardown: done');
}

/** @param {any} data */
export function handleSummary(data) {
  return {
    stdout: summaryText(data, config),
    'summary.json': JSON.stringify(data, null, 2),
  };
}
