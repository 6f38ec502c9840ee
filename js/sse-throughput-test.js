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
 * All settings are environment variables, documented in docs/reference/harness.md and read in lib/settings.js. How the system
 * under test is called stands in systems/, one file for each kind of waiting room. Each of ten thousand VUs evaluates these
 * files for itself and keeps what they define: some 5 KB for a module, 0.7 KB for an imported name or a function. So there
 * are few modules, and what only setup or the controller needs is made there.
 */

import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter, Trend } from 'k6/metrics';
import { Barrier, QueueCounter } from 'k6/x/barrier';

import * as pure from './lib/pure.js';
import { queuesOf } from './lib/queues.js';
import * as sse from './systems/sse.js';

// The names of metrics are a contract with the runner and with earlier results. Of each metric a VU keeps only what adds a
// sample: half the memory of the whole.
/** How long a user waited for the planned login, ms. */
const addLoginBatchDelayMs = new Trend('login_batch_delay_ms', true).add;
/** How long the controller waited at the barrier, ms; recorded whatever the outcome. */
const addBarrierWaitMs = new Trend('barrier_wait_ms', true).add;
/** From the barrier's release to a user's promotion, ms; for a user in the queue who was lost, to that moment. */
const addOpenToPromoteMs = new Trend('open_to_promote_ms', true).add;
/** Failed login attempts, the admin's too. */
const addLoginFailures = new Counter('login_failures').add;
/** Logins given up after all attempts, the admin's too. */
const addLoginFinalFailures = new Counter('login_final_failures').add;
/** From asking to wait to the end of it, ms, of users who were in the queue: not the time of connecting. */
const addSseConnectionTime = new Trend('sse_connection_time', true).add;
/** Users who were refused, or lost before promotion. */
const addSseFailures = new Counter('sse_failures').add;
/** Users who failed because their time was up: that of their wait, or of their scenario. */
const addCutOffUsers = new Counter('cut_off_users').add;
/** Messages up to the promotion. */
const addSseEvents = new Counter('sse_events').add;
/** Users that were told a position in the queue. */
const addInEntryEvents = new Counter('in_entry_events').add;
/** Users promoted before they were told a position. */
const addInProgressBeforeEntryEvents = new Counter('in_progress_before_entry_events').add;
/** Users who were promoted before the barrier let go: somebody else has opened the events. */
const addPromotedBeforeRelease = new Counter('promoted_before_release').add;
/** Promoted users. */
const addCompletedUsers = new Counter('completed_users').add;
/** Users who could not give back what they held. */
const addDisconnectFailures = new Counter('disconnect_failures').add;
const openQueues = queuesOf({ sleep, Counter, Trend, QueueCounter, errorText: pure.errorText });
/** Pause after the opening of an event, s. */
const OPEN_PAUSE = 0.05;

/** Made by one VU for all of them: the rest of them do not even load what reads it. @type {import('./lib/settings.js').Config} */
const config = settled(() => {
  // As one text, because k6 would freeze an object part by part for each VU.
  const read = () => JSON.stringify(require('./lib/settings.js').readConfig(__ENV, (/** @type {string} */ path) => open(path)));
  return JSON.parse(new SharedArray('settings', () => [read()])[0]);
});

/** @type {import('./types/system').System} the calls of the system under test */
const system =
  config.system === './systems/sse.js'
    ? sse // imported, because what is loaded by a path that is only known now takes more memory
    : settled(() => {
        try {
          return require(config.system);
        } catch (error) {
          throw new Error(`SYSTEM: ${config.system} could not be loaded: ${pure.errorText(error)}`);
        }
      });

/** The users, where a file names them: one copy for all VUs. @type {{ email: string, password: string }[] | undefined} */
const accounts =
  config.usersCsv === ''
    ? undefined
    : settled(
        () => new SharedArray('users', () => require('./lib/settings.js').accountsOf(open(config.usersCsv), config.vus)),
      );

/** Setup, teardown and summary: k6 has them done by a VU that is no user's, and reads its options from it; no other loads them. */
const around =
  __VU === 0 ? require('./lib/around.js').around({ config, system, openQueues, barrierOf, logInAsAdmin, setEventStatus, endRun }) : undefined;
export const options = around?.options;
export const setup = around?.setup;
export const teardown = around?.teardown;
export const handleSummary = around?.handleSummary;

if (config.lean) {
  pure.letGo(globalThis, http);
}

/**
 * Something made of the settings, whose refusal ends the run before it starts, by the same exit code as a later one.
 *
 * @template T
 * @param {() => T} make
 * @returns {T}
 */
function settled(make) {
  try {
    return make();
  } catch (error) {
    return endRun(pure.errorText(error));
  }
}

/** @typedef {import('./lib/around.js').SetupData} SetupData */

/** @param {SetupData} data */
export default function (data) {
  // Not the VU's number: those are shared with the controller's scenario, and may leave a user out.
  const userId = exec.scenario.iterationInTest + 1;
  const eventId = pure.eventOf(config, userId);
  const participant = { participant: userId };
  const tell = (/** @type {string} */ text) => tellFailure(data.runId, userId, text);
  const log = (/** @type {string} */ text) => {
    if (config.verbose) {
      console.log(`user ${userId} (VU ${exec.vu.idInTest}, event ${eventId}): ${text}`);
    }
  };

  const barrier = barrierOf(data.runId);
  record(() => barrier.register(participant), tell);

  const delayMs = data.burstStartMs + pure.loginOffsetMs(config, userId) - Date.now();
  if (delayMs > 0) {
    addLoginBatchDelayMs(delayMs);
    sleep(delayMs / 1000);
  }

  // The users' end by k6, after which nothing of them would be counted. They end themselves before that.
  const endsAt = exec.scenario.startTime + data.limitMs;
  const { email, password } = accounts?.[userId - 1] ?? {
    email: `user${userId}@${config.loginEmailDomain}`,
    password: config.loginPassword,
  };
  const { session, why, cutOff } = logIn(email, password, undefined, endsAt);
  if (why !== '') {
    if (cutOff) {
      addCutOffUsers(1);
    }
    tell(`could not log in: ${why}`);
    record(() => barrier.fail('login', participant), tell);
    return;
  }
  log('logged in');

  let joined = false;
  let entered = false;
  let promoted = false;
  const join = () => {
    if (!joined) {
      joined = true;
      record(() => barrier.arrive(participant), tell);
      log('joined the queue');
    }
  };
  const count = () => {
    if (!promoted) {
      addSseEvents(1);
    }
  };
  const start = Date.now();
  const leftMs = endsAt - start;
  const byStream = config.sseTimeoutMs < leftMs;
  const place = {
    limitMs: byStream ? config.sseTimeoutMs : leftMs > 0 ? leftMs : 1,
    joined: join,
    message: count,
    position: () => {
      join();
      count();
      if (!entered && !promoted) {
        entered = true;
        addInEntryEvents(1);
      }
    },
    promoted: () => {
      join();
      count();
      if (!promoted) {
        promoted = true;
        addCompletedUsers(1);
        if (!entered) {
          addInProgressBeforeEntryEvents(1);
        }
        recordWait(barrier);
        const { releasedAt, connected } = barrier.status();
        if (releasedAt === null && connected) {
          addPromotedBeforeRelease(1);
          tell(`was promoted before all had met: somebody else has opened event ${eventId}`);
        }
        log('promoted');
      }
    },
  };

  const failure = failureOf(() => system.wait(config, session, eventId, place));
  if (joined) {
    addSseConnectionTime(Date.now() - start);
  }
  if (promoted) {
    // Gives the user's slot back, for which the wait must be over before.
    const held = failureOf(() => system.leave(config, session, eventId));
    if (held === '') {
      log('has left');
    } else {
      addDisconnectFailures(1);
      tell(`could not leave event ${eventId}: ${held}`);
    }
    return;
  }
  addSseFailures(1);
  let reason = failure || 'the stream ended before the user was promoted';
  if (Date.now() - start >= place.limitMs) {
    addCutOffUsers(1);
    reason = byStream ? config.cutOff.byStream : config.cutOff.byScenario;
  }
  tell(`lost the place at event ${eventId}: ${reason}`);
  if (joined) {
    // Who gave up waited longest: left out, a target that forgets users would look fast.
    recordWait(barrier);
  } else {
    record(() => barrier.fail('sse', participant), tell);
  }
}

/** @param {SetupData} data */
export async function adminController(data) {
  const { session, why } = logInAsAdmin();
  if (why !== '') {
    endRun(`admin controller: ${why}`);
  }
  const waitedMs = meetAll(barrierOf(data.runId));
  const queues = openQueues(config);
  queues.seeJoined();
  const stored = config.writeOpenAt ? queues.storeOpenAt(data.runId) : undefined;
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
  // Of this process; the last one of them is the controller.
  const overdue = queues.seeDrain(() => exec.instance.vusActive - 1, exec.scenario.startTime + data.limitMs);
  for (let left = overdue; left > 0; left--) {
    addCutOffUsers(1);
    addSseFailures(1);
    recordWait(barrierOf(data.runId));
  }
}

// --- The calls of the system under test

/**
 * What a call of the system failed of, empty where it did not.
 *
 * @param {() => void} call
 * @param {string} [password] that it was given
 */
const failureOf = (call, password = config.loginPassword) => pure.failureOf(call, [password, config.adminPassword]);

/**
 * Logs in, with retries.
 *
 * @param {string} email
 * @param {string} password
 * @param {number} [attempts]
 * @param {number} [endsAt] epoch ms at which the user gives up, in an attempt or between two
 * @returns {{ session?: any, why: string, cutOff?: boolean }} what went wrong last, where all attempts failed
 */
function logIn(email, password, attempts = config.maxLoginAttempts, endsAt = Infinity) {
  let why = '';
  let count = 1;
  let leftMs = endsAt - Date.now();
  let shortened = false;
  for (; count <= attempts && leftMs > 0; count++) {
    let session;
    shortened = leftMs < config.loginTimeoutMs;
    const settings = shortened ? { ...config, loginTimeoutMs: leftMs } : config;
    why = failureOf(() => (session = system.logIn(settings, { email, password })), password);
    if (why === '') {
      return { session, why };
    }
    addLoginFailures(1);
    leftMs = endsAt - Date.now();
    if (count < attempts && leftMs > 0 && config.loginRetryDelayMs > 0) {
      sleep((leftMs < config.loginRetryDelayMs ? leftMs : config.loginRetryDelayMs) / 1000);
      leftMs = endsAt - Date.now();
    }
  }
  addLoginFinalFailures(1);
  // Who had all attempts, each with its whole time, was not cut off, however late the last one failed.
  const cutOff = leftMs <= 0 && (count <= attempts || shortened);
  return cutOff ? { why: `${config.cutOff.byScenario}${why && `; before: ${why}`}`, cutOff } : { why };
}

/**
 * Logs in as the account that controls the events.
 *
 * @param {number} [attempts]
 */
function logInAsAdmin(attempts) {
  const { session, why } = logIn(config.adminEmail, config.adminPassword, attempts);
  return { session, why: why && `the admin ${config.adminEmail} cannot log in at ${config.baseUrl} (${why})` };
}

/**
 * Changes an event's status.
 *
 * @param {any} session an admin's
 * @param {string} eventId
 * @param {'OPEN' | 'CLOSED'} status
 * @returns {string} what went wrong, empty when the status was changed
 */
function setEventStatus(session, eventId, status) {
  const failure = failureOf(() => system.setEventStatus(config, session, eventId, status));
  return failure && `event ${eventId} could not be set to ${status}: ${failure}`;
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
    tls: config.redisTls,
    runId,
    reasons: ['login', 'sse'],
    timeout: config.barrierTimeoutMs,
    ttl: config.barrierTtlSeconds * 1000,
    failUnaccounted: ['main_scenario'],
  });
  return opened;
}

/** @param {ReturnType<typeof barrierOf>} barrier */
function recordWait(barrier) {
  const { releasedAt } = barrier.status();
  if (releasedAt !== null) {
    const sinceMs = Date.now() - releasedAt;
    addOpenToPromoteMs(sinceMs > 0 ? sinceMs : 0); // a VU keeps `Math` and each function of it that it has used
  }
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
    const text = pure.errorText(error);
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
    const result = barrier.wait({ timeout: config.barrierTimeoutMs });
    failure = pure.whyNotMet(result);
    if (failure !== '') {
      failure = `${failure}; ${pure.accountingTexts(result).fields}`;
    }
  } catch (error) {
    // Without what the module's errors begin with: which call and which barrier, of which there is one here.
    const reason = pure.errorText(error).replace(/^wait\(\) failed; reason: (barrier "[^"]*": )?/, '');
    const { fields } = pure.accountingTexts(barrier.status());
    failure = `${reason}; ${fields}, expected=${config.vus}, elapsed=${Date.now() - start} ms`;
  } finally {
    addBarrierWaitMs(Date.now() - start);
  }
  // Only now: nothing of this iteration runs after an abort, the recording above included.
  if (failure !== '') {
    endRun(`Barrier failed: ${failure}; ${openQueues(config).countsText()}`);
  }
  return Date.now() - start;
}

// --- Telling failures one by one while they are few

/**
 * Tells what a user failed of.
 *
 * @param {string} runId
 * @param {number} userId
 * @param {string} text
 */
function tellFailure(runId, userId, text) {
  /** Failures that are told; ten thousand lines would bury the one that explains the run. */
  const TOLD = 10;
  // Which failure this is. VUs share no memory: each of the first ones takes a place in Redis that only one can take.
  const place = () => {
    const key = (/** @type {number} */ number) => `K6_FAILURE_TOLD:${runId}:${number}`;
    try {
      const redis = new QueueCounter({ redis: config.redisUrl, tls: config.redisTls, keys: [key(1)], timeout: '2s' });
      let number = redis.command('GET', key(TOLD)) === null ? 1 : TOLD + 1;
      while (number <= TOLD && !redis.command('SET', key(number), userId, 'NX', 'EX', config.barrierTtlSeconds)) {
        number++;
      }
      return number;
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

// --- The run

/**
 * Ends the whole run with exit code 108; `fail()` would end one iteration only. Teardown still runs where setup was through, and
 * the summary unless it is the init context that ends here.
 *
 * @param {string} text
 * @returns {never}
 */
function endRun(text) {
  exec.test.abort(text);
  throw new Error(text); // not reached: k6 has stopped this code
}
