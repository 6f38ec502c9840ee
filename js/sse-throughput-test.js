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
 *
 * Each of ten thousand VUs evaluates these files for itself and keeps what they define: some 5 KB for a module, 0.7 KB for
 * an imported name or a function. So there are few modules, and what only setup or the controller needs is made there.
 */

import exec from 'k6/execution';
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
import { Barrier, QueueCounter } from 'k6/x/barrier';
import { Client } from 'k6/x/redis';

import { config, eventOf, loginOffsetMs, timesOf, whyImpossible } from './lib/config.js';
import { holdStream, login, loginAsAdmin, setEventStatus } from './lib/target.js';
import { accountingTexts, errorText, summaryText } from './lib/texts.js';

/** How long a user waited for the planned login, ms. */
const loginBatchDelayMs = new Trend('login_batch_delay_ms', true);
/** How long the controller waited at the barrier, ms; recorded whatever the outcome. */
const barrierWaitMs = new Trend('barrier_wait_ms', true);
/** From the barrier's release to a user's promotion, ms. */
const openToPromoteMs = new Trend('open_to_promote_ms', true);

/** The scenario whose users must all be accounted for. */
const MAIN_SCENARIO = 'main_scenario';

/** Pauses after a status change, s. */
const SETUP_PAUSE = 0.5;
const OPEN_PAUSE = 0.05;

const times = timesOf(config);

export const options = {
  setupTimeout: `${times.adminS}s`,
  teardownTimeout: `${times.adminS}s`,
  // A user is done after one iteration: its last connection need not stay open until the end of the run.
  noVUConnectionReuse: true,
  scenarios: {
    [MAIN_SCENARIO]: {
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

/**
 * @typedef {object} SetupData
 * @property {number} burstStartMs epoch ms from which on users log in
 * @property {string} runId
 */

/** @returns {Promise<SetupData>} */
export async function setup() {
  config.warnings.forEach((warning) => console.warn(warning));

  /** Each process of a run runs its own setup, and would make a run id of its own. */
  const whyNoRunId = () => {
    if (config.runId !== '' || segment() === '') {
      return '';
    }
    return `RUN_ID is missing: with the execution segment ${segment()}, all processes of the run must be given the same RUN_ID`;
  };
  const whyNoBarrier = () => {
    try {
      barrierOf(runId);
      return '';
    } catch (error) {
      return errorText(error);
    }
  };

  const runId = config.runId || `${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
  const refusal = whyImpossible(config) || whyNoRunId() || whyNoBarrier() || (await openQueues().whyNotEmpty());
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

  const session = login(`user${userId}@${config.loginEmailDomain}`, 'password123');
  if (typeof session === 'string') {
    tell(`could not log in: ${session}`);
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
  const stored = config.writeOpenAt ? openQueues().storeOpenAt(data.runId) : undefined;
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

// --- The barrier at which all users meet, with their streams open, before the events open

/** @type {Barrier | undefined} */
let opened;

/**
 * This VU's access to the barrier. Not made in the init context, where the run id is not known.
 *
 * @param {string} runId
 * @returns {Barrier}
 */
function barrierOf(runId) {
  opened ??= new Barrier('default', {
    parties: config.vus,
    store: config.redisUrl,
    runId,
    reasons: ['login', 'sse'],
    timeout: config.barrierTimeoutMs,
    ttl: config.barrierTtlSeconds * 1000,
    failUnaccounted: [MAIN_SCENARIO],
  });
  return opened;
}

/**
 * Records a user's outcome. One that cannot be delivered now stands and is delivered later; anything else that goes
 * wrong would leave the user unaccounted for, and everybody waiting for the time-out: it ends the run.
 *
 * @param {() => unknown} outcome
 * @param {(text: string) => void} tell gets why an outcome will be late
 */
function record(outcome, tell) {
  try {
    outcome();
  } catch (error) {
    const text = errorText(error);
    if (/** @type {any} */ (error).pending !== true) {
      endRun(`Barrier failed: ${text}`);
    }
    tell(`has an outcome that the barrier's store will get later: ${text}`);
  }
}

/**
 * Waits until all users are accounted for, and ends the run unless all of them have joined.
 *
 * @param {Barrier} barrier
 * @returns {number} how long that took, ms
 */
function meetAll(barrier) {
  const start = Date.now();
  let failure = '';
  try {
    const outcome = accountingTexts(barrier.wait({ timeout: config.barrierTimeoutMs }));
    if (outcome.failed > 0) {
      failure = `${outcome.people}; ${outcome.fields}`;
    }
  } catch (error) {
    // Without what the module's errors begin with: which call and which barrier, of which there is one here.
    const reason = errorText(error).replace(/^wait\(\) failed; reason: (barrier "[^"]*": )?/, '');
    const { fields } = accountingTexts(barrier.status());
    failure = `${reason}; ${fields}, expected=${config.vus}, elapsed=${Date.now() - start} ms`;
  } finally {
    barrierWaitMs.add(Date.now() - start);
  }
  // Only now: nothing of this iteration runs after an abort, the recording above included.
  if (failure !== '') {
    endRun(`Barrier failed: ${failure}; ${openQueues().countsText()}`);
  }
  return Date.now() - start;
}

// --- Telling failures one by one while they are few

/** Failures that are told; ten thousand lines would bury the one that explains the run. */
const TOLD = 10;

/** @type {Barrier | undefined} */
let told;

/**
 * Tells what a user failed of.
 *
 * @param {string} runId
 * @param {number} userId
 * @param {string} text
 */
function tellFailure(runId, userId, text) {
  // Which failure this is. VUs share no memory, but they meet at barriers: the first ones to arrive at this one are told.
  const place = () => {
    try {
      told ??= new Barrier('told-failures', {
        parties: TOLD,
        store: segment() === '' ? 'memory' : config.redisUrl,
        runId,
        ttl: config.barrierTtlSeconds * 1000,
      });
      return told.arrive({ participant: userId }).index ?? TOLD + 1;
    } catch {
      return 0; // too many lines are better than none
    }
  };
  const which = config.verbose ? 0 : place();
  if (which > TOLD) {
    return;
  }
  console.warn(`user ${userId} ${text}`);
  if (which === TOLD) {
    console.warn(`${TOLD} failures were told, all others are only counted; VERBOSE_LOGS=1 tells each`);
  }
}

// --- The target's queues

/** What they hold, and whether they are as empty as a run must find them. */
function openQueues() {
  const waitingKey = (/** @type {string} */ eventId) => `WAITING:${eventId}`;
  const userIdsKey = (/** @type {string} */ eventId) => `WAITING_USER_IDS:${eventId}`;
  const INDEX_KEY = 'WAITING_QUEUE_IDX';

  /** Users in the queue of each event, by its key. Throws where a key is neither a sorted set nor a hash. */
  const counts = () => new QueueCounter({ redis: config.redisUrl, keys: config.eventIds.map(waitingKey) }).counts();

  /** The counts for a message, which must not fail over them: `WAITING:a=120, WAITING:b=80`. */
  const countsText = () => {
    try {
      const sizes = counts();
      return config.eventIds.map((eventId) => `${waitingKey(eventId)}=${sizes[waitingKey(eventId)]}`).join(', ');
    } catch (error) {
      return `queue sizes unknown (${errorText(error)})`;
    }
  };

  /**
   * The last index that the target gave out for an event, 0 if none.
   *
   * @param {Client} client
   * @param {string} eventId
   */
  const lastIndex = async (client, eventId) => {
    try {
      return Number(await client.sendCommand('HGET', INDEX_KEY, eventId));
    } catch (error) {
      if (errorText(error).includes('redis: nil')) {
        return 0; // how the client tells that there is no such field
      }
      throw error;
    }
  };

  /** Why the queues are not fit for a run, or an empty text. */
  const whyNotEmpty = async () => {
    try {
      const waiting = counts();
      const client = new Client(config.redisUrl);
      for (const eventId of config.eventIds) {
        const inQueue = waiting[waitingKey(eventId)];
        const users = await client.hlen(userIdsKey(eventId));
        const index = await lastIndex(client, eventId);
        if (inQueue > 0 || users > 0 || index > 0) {
          return (
            `left-over queue state of event ${eventId}: ${waitingKey(eventId)}=${inQueue}, ` +
            `${userIdsKey(eventId)}=${users}, ${INDEX_KEY}[${eventId}]=${index}; clean these keys before the run`
          );
        }
      }
      return '';
    } catch (error) {
      return `Redis precondition check failed: ${errorText(error)}`;
    }
  };

  /**
   * Stores the time of OPEN for outside readers. They are helped by it, the run does not need it: errors are ignored.
   *
   * @param {string} runId
   */
  const storeOpenAt = async (runId) => {
    try {
      await new Client(config.redisUrl).set(`K6_OPEN_AT_MS:${runId}`, String(Date.now()), config.barrierTtlSeconds);
    } catch (error) {
      console.warn(`the time of OPEN was not stored: ${errorText(error)}`);
    }
  };

  return { countsText, whyNotEmpty, storeOpenAt };
}

// --- The run

/** The part of the run that this process is, empty for the whole. */
function segment() {
  const { executionSegment } = exec.test.options;
  return !executionSegment || executionSegment === '0:1' ? '' : executionSegment;
}

/**
 * Ends the whole run with exit code 108; teardown and summary still run. `fail()` would end one iteration only.
 *
 * @param {string} text
 * @returns {never}
 */
function endRun(text) {
  exec.test.abort(text);
  throw new Error(text); // not reached: k6 has stopped this code
}
