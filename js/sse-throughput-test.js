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
 * All settings are environment variables, documented in lib/pure.js. Each of ten thousand VUs evaluates these files for
 * itself and keeps what they define: some 5 KB for a module, 0.7 KB for an imported name or a function. So there are few
 * modules, and what only setup or the controller needs is made there.
 */

import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { Barrier, QueueCounter } from 'k6/x/barrier';
import sse from 'k6/x/sse';

import * as pure from './lib/pure.js';

// What this script never calls: some 30 KB for each user.
pure.letGo(globalThis, ['crypto', 'TextDecoder', 'TextEncoder', 'setTimeout', 'setInterval', 'clearTimeout']);
pure.letGo(globalThis, ['clearInterval', 'open', 'require']);
pure.letGo(http, ['get', 'head', 'post', 'put', 'patch', 'del', 'options', 'asyncRequest', 'batch', 'file', 'url']);
pure.letGo(http, ['CookieJar', 'expectedStatuses', 'setResponseCallback']);

// The names of metrics are a contract with the runner and with earlier results.
/** How long a user waited for the planned login, ms. */
const loginBatchDelayMs = new Trend('login_batch_delay_ms', true);
/** How long the controller waited at the barrier, ms; recorded whatever the outcome. */
const barrierWaitMs = new Trend('barrier_wait_ms', true);
/** From the barrier's release to a user's promotion, ms; for a user in the queue whose stream failed, to that failure. */
const openToPromoteMs = new Trend('open_to_promote_ms', true);
/** Failed login attempts, the admin's too. */
const loginFailures = new Counter('login_failures');
/** Logins given up after all attempts, the admin's too. */
const loginFinalFailures = new Counter('login_final_failures');
/** From opening a stream to its end, ms: the time in the queue, not that of connecting. */
const sseConnectionTime = new Trend('sse_connection_time', true);
/** Users whose stream failed before promotion or was refused. */
const sseFailures = new Counter('sse_failures');
/** JSON messages up to the promotion. */
const sseEvents = new Counter('sse_events');
/** Users that were told a position in the queue. */
const inEntryEvents = new Counter('in_entry_events');
/** Users promoted before they were told a position. */
const inProgressBeforeEntryEvents = new Counter('in_progress_before_entry_events');
/** Promoted users. */
const completedUsers = new Counter('completed_users');
/** Disconnects not answered by 200. */
const disconnectFailures = new Counter('disconnect_failures');

/** Pauses after a status change, s. */
const SETUP_PAUSE = 0.5;
const OPEN_PAUSE = 0.05;

const { config } = pure;

// k6 reads them from the first VU only; a copy in each would take memory.
export const options = __VU === 0 ? pure.optionsOf(config) : undefined;

/**
 * @typedef {object} SetupData
 * @property {number} burstStartMs epoch ms from which on users log in
 * @property {string} runId
 */

/** @returns {SetupData} */
export function setup() {
  config.warnings.forEach((warning) => console.warn(warning));

  const whyNoBarrier = () => {
    try {
      barrierOf(runId);
      return '';
    } catch (error) {
      return pure.errorText(error);
    }
  };

  const runId = config.runId || `${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
  const refusal = pure.whyImpossible(config, segment()) || whyNoBarrier() || openQueues().whyNotEmpty();
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
  let entered = false;
  let promoted = false;
  let failed = false;

  /** The stream's failure, told and counted once, and only before the promotion. */
  const fail = (/** @type {string} */ reason) => {
    if (failed || promoted) {
      return;
    }
    failed = true;
    sseFailures.add(1);
    // Without what all errors of the module begin with; there is only one call here.
    tell(`lost the stream of event ${eventId}: ${reason.replace(/^sse\.open\(\) failed; reason: /, '')}`);
    if (joined) {
      // Who gave up waited longest: left out, a target that forgets users would look fast.
      recordWait(barrier);
    } else {
      record(() => barrier.fail('sse', participant), tell);
    }
  };

  const ticketsUrl = `${config.brokerBaseUrl}/api/v1/broker/events/${encodeURIComponent(eventId)}/tickets`;
  const start = Date.now();
  // Blocks this VU until the stream ends: what must happen meanwhile happens in the handlers, where only calls that do not
  // need the event loop get anywhere.
  const response = sse.open(
    `${ticketsUrl}/waiting`,
    {
      headers: { ...session, Accept: 'text/event-stream', 'Cache-Control': 'no-cache' },
      timeout: `${config.sseTimeoutMs}ms`,
      idleTimeout: `${config.sseIdleTimeoutMs}ms`,
      tags: { name: 'sse_connect' },
    },
    (client) => {
      client.on('event', (event) => {
        // The first message proves that the user is in the queue.
        if (!joined) {
          joined = true;
          record(() => barrier.arrive(participant), tell);
          log('joined the queue');
        }
        const message = promoted ? undefined : pure.decodeMessage(event.data);
        if (!message) {
          return;
        }
        sseEvents.add(1);
        if (message.status === 'IN_ENTRY' && !entered) {
          entered = true;
          inEntryEvents.add(1);
        } else if (message.status === 'IN_PROGRESS') {
          promoted = true;
          completedUsers.add(1);
          if (!entered) {
            inProgressBeforeEntryEvents.add(1);
          }
          recordWait(barrier);
          log('promoted');
          client.close();
        }
      });
      client.on('error', (error) => {
        fail(error.error());
        client.close();
      });
    },
  );
  const elapsedMs = Date.now() - start;

  const established = check(response, { 'sse status 200': ({ status }) => status === 200 });
  if (established) {
    sseConnectionTime.add(elapsedMs);
    fail(response.error || 'the stream ended before the user was promoted');
  } else {
    fail(`status ${response.status} ${response.error}`.trim());
  }
  if (promoted) {
    // Gives the user's slot back, for which the stream must be closed before.
    const answer = request('POST', `${ticketsUrl}/disconnect`, null, {
      headers: session,
      timeout: config.disconnectTimeoutMs,
      tags: { name: 'disconnect' },
    });
    if (!check(answer, { 'disconnect status 200': ({ status }) => status === 200 })) {
      disconnectFailures.add(1);
    }
  }
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
    stdout: pure.summaryText(data, config),
    'summary.json': JSON.stringify(data, null, 2),
  };
}

// --- The calls of the system under test

/**
 * @typedef {object} Answer
 * @property {number} status 0 where no answer came
 * @property {string} error why no answer came
 * @property {any} body
 * @property {Record<string, string>} headers
 * @property {Record<string, { value: string }[]>} cookies
 *
 * @typedef {{ Authorization: string }} Session the headers of a request in a session; its cookie is in the VU's jar
 */

/**
 * A request. Where no answer comes k6 would log each one by itself: with thousands of users that buries the line that
 * explains the run.
 *
 * @param {'POST' | 'PATCH'} method
 * @param {string} url
 * @param {string | null} body
 * @param {object} params as of k6/http
 * @returns {Answer}
 */
function request(method, url, body, params) {
  try {
    return /** @type {any} */ (http.request(method, url, body, /** @type {any} */ ({ ...params, throw: true })));
  } catch (error) {
    return { status: 0, error: pure.errorText(error), body: '', headers: {}, cookies: {} };
  }
}

/** What came instead of success. @param {Answer} answer */
function answerText({ status, error, body }) {
  return status === 0 ? error : `status ${status}${body ? `, body ${body}` : ''}`;
}

/**
 * Logs in, with retries.
 *
 * @param {string} email
 * @param {string} password
 * @param {number} [attempts]
 * @returns {Session | string} what went wrong last, where all attempts failed
 */
function login(email, password, attempts = config.maxLoginAttempts) {
  /** @type {Record<string, string>} */
  const headers = { 'Content-Type': 'application/json' };
  if (config.baseUrl !== config.brokerBaseUrl) {
    // The stream will need a connection of its own. Kept alive beside it, this one would double the open files per user.
    headers.Connection = 'close';
  }

  const attempt = () => {
    const response = request('POST', `${config.baseUrl}/api/v1/auth/login`, JSON.stringify({ email, password }), {
      headers,
      timeout: config.loginTimeoutMs,
      tags: { name: 'login' },
      responseType: 'none',
    });
    // The token may stand there without its scheme.
    const header = (response.headers.Authorization ?? '').trim();
    const rest = header.slice('bearer'.length).trim();
    const hasScheme = header.toLowerCase().startsWith('bearer') && header.length > 'bearer'.length + rest.length;
    const token = hasScheme ? rest : header;
    const refreshToken = response.cookies.refreshToken?.[0]?.value ?? '';
    const good = check(response, {
      'login status 200': ({ status }) => status === 200,
      'authorization header exists': () => token !== '',
      'refresh token cookie exists': () => refreshToken !== '',
    });
    if (good) {
      // By hand, because a jar does not send a `Secure` cookie over plain http, nor one host's cookie to another.
      const jar = http.cookieJar();
      jar.set(config.baseUrl, 'refreshToken', refreshToken, { path: '/' });
      jar.set(config.brokerBaseUrl, 'refreshToken', refreshToken, { path: '/' });
      return { Authorization: `Bearer ${token}` };
    }
    return response.status === 200 ? 'status 200 without token or cookie' : answerText(response);
  };

  let why = '';
  for (let count = 1; count <= attempts; count++) {
    const session = attempt();
    if (typeof session !== 'string') {
      return session;
    }
    why = session;
    loginFailures.add(1);
    if (count < attempts && config.loginRetryDelayMs > 0) {
      sleep(config.loginRetryDelayMs / 1000);
    }
  }
  loginFinalFailures.add(1);
  return why;
}

/**
 * Logs in as the account that controls the events.
 *
 * @param {number} [attempts]
 * @returns {Session | string} what went wrong, where it did
 */
function loginAsAdmin(attempts) {
  const session = login(config.adminEmail, config.adminPassword, attempts);
  if (typeof session === 'string') {
    return `the admin ${config.adminEmail} cannot log in at ${config.baseUrl} (${session})`;
  }
  return session;
}

/**
 * Changes an event's status.
 *
 * @param {Session} session an admin's
 * @param {string} eventId
 * @param {'OPEN' | 'CLOSED'} status
 * @returns {string} what went wrong, empty when the status was changed
 */
function setEventStatus(session, eventId, status) {
  const url = `${config.baseUrl}/api/v1/events/${encodeURIComponent(eventId)}?status=${status}`;
  const response = request('PATCH', url, null, {
    headers: session,
    timeout: config.eventTimeoutMs,
    tags: { name: 'update_event_status_api' },
  });
  if (check(response, { 'update status 200': (answer) => answer.status === 200 })) {
    return '';
  }
  return `event ${eventId} could not be set to ${status}: ${answerText(response)}`;
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
    openToPromoteMs.add(Math.max(Date.now() - releasedAt, 0));
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
    const outcome = pure.accountingTexts(barrier.wait({ timeout: config.barrierTimeoutMs }));
    if (outcome.failed > 0) {
      failure = `${outcome.people}; ${outcome.fields}`;
    }
  } catch (error) {
    // Without what the module's errors begin with: which call and which barrier, of which there is one here.
    const reason = pure.errorText(error).replace(/^wait\(\) failed; reason: (barrier "[^"]*": )?/, '');
    const { fields } = pure.accountingTexts(barrier.status());
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
        ...(segment() === '' ? { store: 'memory' } : { store: config.redisUrl, tls: config.redisTls }),
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

  const open = () =>
    new QueueCounter({ redis: config.redisUrl, tls: config.redisTls, keys: config.eventIds.map(waitingKey) });

  /** The counts for a message, which must not fail over them: `WAITING:a=120, WAITING:b=80`. */
  const countsText = () => {
    try {
      const sizes = open().counts();
      return config.eventIds.map((eventId) => `${waitingKey(eventId)}=${sizes[waitingKey(eventId)]}`).join(', ');
    } catch (error) {
      return `queue sizes unknown (${pure.errorText(error)})`;
    }
  };

  /** Why the queues are not fit for a run, or an empty text. */
  const whyNotEmpty = () => {
    try {
      const queues = open();
      const waiting = queues.counts();
      for (const eventId of config.eventIds) {
        const inQueue = waiting[waitingKey(eventId)];
        const users = Number(queues.command('HLEN', userIdsKey(eventId)));
        const index = Number(queues.command('HGET', INDEX_KEY, eventId)); // the last one given out, none is 0
        if (inQueue > 0 || users > 0 || index > 0) {
          return (
            `left-over queue state of event ${eventId}: ${waitingKey(eventId)}=${inQueue}, ` +
            `${userIdsKey(eventId)}=${users}, ${INDEX_KEY}[${eventId}]=${index}; clean these keys before the run`
          );
        }
      }
      return '';
    } catch (error) {
      return `Redis precondition check failed: ${pure.errorText(error)}`;
    }
  };

  /** Stores the time of OPEN for outside readers. They are helped by it, the run does not need it: errors are ignored. */
  const storeOpenAt = async (/** @type {string} */ runId) => {
    try {
      await open().asyncCommand('SET', `K6_OPEN_AT_MS:${runId}`, Date.now(), 'EX', config.barrierTtlSeconds);
    } catch (error) {
      console.warn(`the time of OPEN was not stored: ${pure.errorText(error)}`);
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
