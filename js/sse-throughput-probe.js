// @ts-check
/**
 * Will a run of sse-throughput-test.js get anywhere? Tries with the run's own settings what it will do, for one user instead
 * of thousands: the admin and the first and the last user log in, the events are read and changed, a user waits and leaves.
 *
 * For each look it prints a line of JSON: `check` names it, `ok` says whether it is as it should be, `seen` what was seen,
 * and `mend` what to do about it; with `ok` that is something to know which stands in no run's way. `barrier-bench doctor`
 * prints them; by hand:
 *
 *   k6 run --quiet --log-format raw --summary-mode disabled -e EVENT_IDS=id1,id2 -e VUS=50 js/sse-throughput-probe.js
 *
 * The calls of the system under test are those of the harness (SYSTEM). The event that the user waits for is CLOSED
 * meanwhile, as in a run; afterwards each event has the status that it had, also where the probe is interrupted. Only the
 * texts OPEN and CLOSED are a status: an event whose status is anything else, or cannot be known, is left as it is, and where
 * it is open the user may be let in. Who waited leaves again, by `withdraw` or else by `leave`. Nothing else is deleted.
 *
 * Nobody acts with the cookies of somebody else: k6 gives each iteration a jar of its own, and each is the act of one person.
 */

import http from 'k6/http';
import { sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { QueueCounter } from 'k6/x/barrier';

import { timesOf, whyImpossible } from './lib/plan.js';
import * as pure from './lib/pure.js';
import { queuesOf } from './lib/queues.js';
import { accountsOf, readConfig } from './lib/settings.js';
import { redisOf, seatsByGet } from './lib/trial.js';

/** Of a login. One that fails now and then is no reason to refuse a run, which tries more often. */
const ATTEMPTS = 2;
/** How long the first message of a stream may take, ms. */
const JOIN_LIMIT_MS = 15000;
/** Pause after a status change, s, as in a run. */
const PAUSE = 0.5;
/** More iterations than any trial has acts; those after its end do nothing. */
const ACTS = 40;

/** What the user's `wait` is left by once the user is in the queue. */
const ENOUGH = new Error('the user is in the queue');

/** @type {any} what is wrong with the settings themselves; told by the iteration, since this part runs several times */
let wrong;
/** @type {any} */
let config;
/** @type {any} */
let system;
/** @type {{ email: string, password: string }[] | undefined} */
let accounts;
/** @type {ReturnType<ReturnType<typeof queuesOf>>} what the waiting room has in Redis */
let room;
/** @type {ReturnType<typeof redisOf>} what stands there */
let inRedis;
try {
  config = readConfig(__ENV, (path) => open(path));
  accounts = config.usersCsv === '' ? undefined : accountsOf(open(config.usersCsv), config.vus);
  system = require(config.system);
  const why = whyImpossible(config, system, '');
  if (why !== '') {
    throw new Error(why);
  }
  room = queuesOf({ sleep, Counter, Trend, QueueCounter, errorText: pure.errorText })(config);
  inRedis = redisOf(config, room.keys);
} catch (error) {
  wrong = error;
}

if (config?.lean) {
  pure.letGo(globalThis, http); // as in a run: what a system of one's own misses then is found out now
}

/** What setup and teardown of a run may take is enough for those of its trial. */
const adminLimit = config && `${timesOf(config).adminS}s`;
export const options = {
  vus: 1,
  iterations: ACTS,
  noVUConnectionReuse: true,
  setupTimeout: adminLimit,
  teardownTimeout: adminLimit,
};

/** The event that the first user waits for. */
const trialEvent = () => pure.eventOf(config, 1);

/**
 * @typedef {object} Statuses
 * @property {Record<string, 'OPEN' | 'CLOSED'>} known of the events whose status is known
 * @property {Record<string, string>} unknown of the others: what is there instead
 */

/** What must be known before anything is changed: an interrupted iteration says nothing any more. */
export function setup() {
  /** @type {Statuses} */
  const statuses = { known: {}, unknown: {} };
  if (wrong === undefined) {
    const admin = system.eventStatus && logIn(adminAccount()).session;
    for (const eventId of config.eventIds) {
      const { status, instead } = statusOf(admin, eventId);
      if (status !== undefined) {
        statuses.known[eventId] = status;
      } else {
        statuses.unknown[eventId] = instead;
      }
    }
  }
  return statuses;
}

/** @type {Generator<void, void, void> | undefined} what is left to try */
let trial;

/** @param {Statuses} statuses */
export default function (statuses) {
  trial ??= acts(statuses);
  trial.next();
}

/**
 * The trial. What follows a `yield` is the next iteration: it is somebody else who acts, and logs in first.
 *
 * @param {Statuses} statuses
 * @returns {Generator<void, void, void>}
 */
function* acts(statuses) {
  if (wrong !== undefined) {
    tell('settings', pure.errorText(wrong), 'put right the setting, or the file that it names');
    return;
  }
  const admin = tryAdmin();
  const seats = tryEvents(admin, statuses);
  yield;
  const others = yield* tryOthers();
  if (!others.goOn) {
    return;
  }
  const eventId = trialEvent();
  // Whoever is promoted takes a slot, and gives it back later than the run that follows can wait.
  let mayWait = true;
  if (statuses.known[eventId] === 'OPEN') {
    mayWait = admin.why === '' && closed(eventId); // without an admin, that is told already
    yield;
  }
  const first = tryFirst(others.told);
  if (first.why !== '' || !mayWait) {
    return;
  }
  const slotsBefore = inRedis.slotsOf(eventId);
  const indexBefore = inRedis.lastIndexOf(eventId);
  const { joined, promoted } = tryStream(first.session, eventId, indexBefore);
  if (!joined) {
    return;
  }
  if (room.ownSystem && indexBefore !== undefined && inRedis.lastIndexOf(eventId) === indexBefore) {
    notOfThisRoom(`the first user joined the queue of event ${eventId}, and ${room.keys.index}[${eventId}] there is what it was`);
    return;
  }
  trySlots(eventId, slotsBefore, promoted, seats);
}

/** @param {Statuses} statuses */
export function teardown(statuses) {
  if (wrong !== undefined || statuses.known[trialEvent()] !== 'OPEN') {
    return;
  }
  // What still is OPEN was not closed here.
  const { session, why } = logIn(adminAccount());
  if (statusOf(session, trialEvent()).status === 'OPEN') {
    return;
  }
  const failure = why || failureOf(() => system.setEventStatus(config, session, trialEvent(), 'OPEN'));
  if (failure !== '') {
    tell('events', `event ${trialEvent()} was OPEN and could not be opened again: ${failure}`, 'open it by hand');
  }
}

// --- What is tried

/**
 * Closes an event that is OPEN, so that nobody is let in meanwhile. Where that fails, it says so, and nobody is to wait there.
 *
 * @param {string} eventId
 */
function closed(eventId) {
  const { session: admin, why: refused } = logIn(adminAccount());
  const why = refused || failureOf(() => system.setEventStatus(config, admin, eventId, 'CLOSED'));
  if (why !== '') {
    const mend = `give ${config.adminEmail} the role MANAGER or ADMIN`;
    tell('stream', `nobody waited for event ${eventId}, which is OPEN and cannot be set to CLOSED: ${why}`, mend);
    return false;
  }
  sleep(PAUSE);
  if (statusOf(admin, eventId).status === 'OPEN') {
    // What says so is not to be believed, and would leave the event closed in the end.
    failureOf(() => system.setEventStatus(config, admin, eventId, 'OPEN'));
    if (system.eventStatus) {
      const seen = `event ${eventId} was set to CLOSED, and eventStatus still says OPEN; it was opened again`;
      tell('events', seen, 'let eventStatus of SYSTEM tell what the event is now, and setEventStatus change it');
    } else {
      notOfThisRoom(`event ${eventId} was closed, and event_statuses[${eventId}] there still is OPEN`);
    }
    return false;
  }
  return true;
}

/** @param {string} why */
function notOfThisRoom(why) {
  tell('redis', `REDIS_URL is not the Redis of this room: ${why}`, 'give as REDIS_URL the Redis that the room itself uses');
}

/** The account that controls the events, logged in or not. */
function tryAdmin() {
  const admin = logIn(adminAccount());
  if (admin.why === '') {
    tell('admin', `${config.adminEmail} logs in at ${config.baseUrl}`);
    return admin;
  }
  const mend =
    'give ADMIN_EMAIL and ADMIN_PASSWORD of an account that may open events (role MANAGER or ADMIN), and as BASE_URL the gateway';
  tell('admin', `the admin ${config.adminEmail} cannot log in at ${config.baseUrl}: ${admin.why}`, mend);
  return admin;
}

/**
 * Tries the last user, and where that one fails the others: whether nobody logs in, or how many do.
 *
 * @returns {Generator<void, { goOn: boolean, told: boolean }, void>} whether the first user may be able to log in, and whether all
 *   there is to say of the users has been said
 */
function* tryOthers() {
  const users = config.vus;
  if (users === 1) {
    return { goOn: true, told: false };
  }
  const last = logIn(accountOf(users));
  yield;
  if (last.why === '') {
    return { goOn: true, told: false };
  }
  // What nobody can needs no search for the last one who can.
  if (tryFirst(true).why !== '') {
    return { goOn: false, told: true };
  }
  yield;
  let can = 1;
  let cannot = users;
  let silent = last.isSilent ? users : 0;
  // One attempt each, and none after one that is not answered: a dozen of those would take longer than a trial may.
  while (cannot - can > 1 && silent === 0) {
    const middle = Math.floor((can + cannot) / 2);
    const { why, isSilent } = logIn(accountOf(middle), 1);
    yield;
    if (isSilent) {
      silent = middle;
    } else if (why === '') {
      can = middle;
    } else {
      cannot = middle;
    }
  }
  if (silent > 0) {
    const which = silent === users ? '' : `; how many can was not found out, since ${accountOf(silent).email} got no answer`;
    const seen = `the last of ${users} users, ${accountOf(users).email}, cannot log in: ${last.why}${which}`;
    tell('users', seen, `see why logins are not answered within LOGIN_TIMEOUT_MS=${config.loginTimeoutMs}, and give ${rightAccounts()}`);
  } else {
    tell(
      'users',
      `of ${users} users only the first ${can} can log in; the last, ${accountOf(users).email}: ${last.why}`,
      `make the accounts from ${accountOf(cannot).email} on, with the password of the others, or run with VUS=${can} at most`,
    );
  }
  return { goOn: true, told: true };
}

/**
 * The first user, logged in or not.
 *
 * @param {boolean} told whether it is known what the users can
 */
function tryFirst(told) {
  const users = config.vus;
  const first = logIn(accountOf(1));
  if (first.why !== '') {
    const mend = `give ${rightAccounts()}, or make the accounts`;
    tell('users', `the first user, ${accountOf(1).email}, cannot log in: ${first.why}`, mend);
  } else if (!told) {
    tell('users', users > 1 ? `the first and the last of ${users} users log in` : 'the user logs in');
  }
  return first;
}

/** What is to be given where users do not log in. */
function rightAccounts() {
  return config.usersCsv === '' ? 'the right LOGIN_PASSWORD and LOGIN_EMAIL_DOMAIN' : `in ${config.usersCsv} accounts that exist`;
}

/**
 * Reads the events, and sets each to the status that it has. A run does not need to read them: a system that does not tell the
 * seats is as good.
 *
 * @param {ReturnType<typeof logIn>} admin
 * @param {Statuses} statuses
 * @returns {Map<string, number>} the seats of those that tell them
 */
function tryEvents(admin, statuses) {
  const seats = new Map();
  const isIn = admin.why === '';
  const readSeats = system.seats ?? (room.ownSystem ? seatsByGet : undefined);
  /** @type {{ seen: string, mend: string }[]} */
  const wrong = [];
  /** @type {typeof wrong} */
  const unreadable = [];
  const OTHER_EVENTS = 'EVENT_IDS must be ids of events that exist there; make them, or name others';
  for (const eventId of config.eventIds) {
    const unread = failureOf(() => {
      const number = Number(readSeats?.(config, admin.session, eventId));
      if (Number.isFinite(number)) {
        seats.set(eventId, number);
      }
    });
    if (!isIn) {
      continue;
    }
    const status = statuses.known[eventId];
    if (status === undefined) {
      if (unread !== '') {
        unreadable.push({ seen: `event ${eventId} cannot be read: ${unread}`, mend: OTHER_EVENTS });
      }
      continue;
    }
    const why = failureOf(() => system.setEventStatus(config, admin.session, eventId, status));
    if (why !== '') {
      const mend =
        unread === ''
          ? `give ${config.adminEmail} the role MANAGER or ADMIN; is it an event of EVENT_IDS that exists?`
          : OTHER_EVENTS;
      wrong.push({ seen: `event ${eventId} cannot be set to ${status}: ${why}`, mend });
    }
  }
  // Where none can be read, it may be the system that does not tell.
  if (seats.size > 0) {
    wrong.push(...unreadable);
  }
  const events = config.eventIds.length;
  const unknown = config.eventIds.filter((/** @type {string} */ eventId) => statuses.known[eventId] === undefined);
  if (wrong.length > 0) {
    const more = wrong.length > 1 ? ` (and ${wrong.length - 1} more)` : '';
    tell('events', `${wrong[0].seen}${more}`, wrong[0].mend);
  } else if (unknown.length > 0 && isIn) {
    const which = `${unknown[0]}${unknown.length > 1 ? ` (and ${unknown.length - 1} more)` : ''}`;
    const instead = statuses.unknown[unknown[0]];
    const seen = `whether event ${which} is OPEN is not known here, so it was left as it is: ${instead}`;
    const untried = 'whether the admin may open and close it was not tried';
    if (room.ownSystem && instead === NO_STATUS) {
      tell('events', `${seen}; ${untried}`); // as with each event that was never opened or closed
    } else {
      const own = 'the user of REDIS_URL is to read event_statuses, which is to hold OPEN or CLOSED';
      know('events', seen, `${room.ownSystem ? own : 'let SYSTEM export eventStatus, which returns OPEN or CLOSED'}; ${untried}`);
    }
  } else if (isIn) {
    const read = seats.size === events ? 'read, ' : '';
    tell('events', `${events === 1 ? 'the event' : `all ${events} events`} can be ${read}opened and closed`);
  }
  for (const eventId of config.eventIds) {
    const waiting = Number(inRedis.asked('HLEN', room.keys.userIds(eventId)) ?? 0);
    if (waiting > 0) {
      const mend = 'a run deletes what is left over in its queues: make sure that nobody else uses this event';
      know('queues', `${waiting === 1 ? '1 user is' : `${waiting} users are`} in the queue of event ${eventId}`, mend);
    }
  }
  return seats;
}

/**
 * One wait, from the first message to its end.
 *
 * @param {any} user session
 * @param {string} eventId
 * @param {number | undefined} indexBefore the last one that was given out there
 * @returns {{ joined: boolean, promoted: boolean }}
 */
function tryStream(user, eventId, indexBefore) {
  const queue = inRedis.asked('TYPE', room.keys.waiting(eventId)) ?? 'none';
  const queued = queue !== 'none' || Number(inRedis.asked('HLEN', room.keys.userIds(eventId)) ?? 0) > 0;
  const seen = { joined: false, promoted: false };
  const end = (promoted = false) => {
    seen.joined = true;
    seen.promoted ||= promoted;
    throw ENOUGH;
  };
  const limitMs = Math.min(config.sseTimeoutMs, JOIN_LIMIT_MS);
  const place = { limitMs, joined: () => end(), position: () => end(), promoted: () => end(true), message: () => {} };
  const why = failureOf(() => system.wait(config, user, eventId, place));
  if (!seen.joined) {
    const text = `the first user cannot wait for event ${eventId}: ${why || 'no message came'}`;
    // A run cleans before it begins. What is left over explains that this user is in the queue already, or that a broker which
    // got as far as the queue found one of another type there; it explains no broker that does not get there.
    if (queued && (/\bstatus 409\b/.test(why) || (inRedis.lastIndexOf(eventId) ?? 0) > (indexBefore ?? 0))) {
      know('stream', text, 'somebody is in that queue, perhaps this very user: try again when a run or `barrier-bench clean` has emptied it');
    } else {
      const needs = 'users need the role that may wait (USER), streams a broker that is alive, and SYSTEM is to be of its kind';
      tell('stream', text, `see what answers at ${config.brokerBaseUrl}: ${needs}`);
    }
    return seen;
  }
  leaveAgain(user, eventId, seen.promoted);
  return seen;
}

/**
 * Leaves the queue, which only this user has joined, in the way that the system has for it.
 *
 * @param {any} user session
 * @param {string} eventId
 * @param {boolean} promoted
 */
function leaveAgain(user, eventId, promoted) {
  const waits = `the first user waits for event ${eventId}`;
  if (promoted) {
    const left = failureOf(() => system.leave(config, user, eventId));
    if (left !== '') {
      const mend = `see what answers at ${config.brokerBaseUrl}: without this, slots come back late or not at all`;
      tell('stream', `the first user was let in at event ${eventId}, and cannot leave it: ${left}`, mend);
      return;
    }
  } else {
    const mend = 'it stays in the queue until that is noticed';
    const own = typeof system.withdraw === 'function';
    // Who stays in the queue of an event that is open is let in, and keeps a slot from the run that follows.
    const why = failureOf(() => system[own ? 'withdraw' : 'leave'](config, user, eventId));
    if (why !== '' && !own) {
      const slot = 'and is let in where the event is open: it then holds a slot';
      know('stream', `${waits}, and cannot leave it before it is let in: ${why}`, `${mend}, ${slot}; let SYSTEM export withdraw`);
      return;
    }
    if (why !== '') {
      know('stream', `${waits}, and was not taken out of the queue again: ${why}`, `${mend}; see why it is refused, if it should not be`);
      return;
    }
  }
  tell('stream', `${waits} and leaves it`);
}

/**
 * Compares the slots, which are there from the first join on, and the seats behind them with what the time limits of the
 * run are computed from.
 *
 * @param {string} eventId that has been joined
 * @param {number | undefined} before its slots before that
 * @param {boolean} promoted one of them has been taken, and comes back sooner or later
 * @param {Map<string, number>} seats
 */
function trySlots(eventId, before, promoted, seats) {
  if (config.slotsFrom === 'SLOT_BOOST_VALUE') {
    return; // the run presets them
  }
  const expected = config.slots;
  const after = inRedis.slotsOf(eventId);
  const mend = (/** @type {number} */ number) =>
    `give SEATS=${number}: the time limits of a run are computed from it; or give the events ${expected} seats`;
  if (!(expected > 0)) {
    tell('slots', `event ${eventId} has ${after ?? 'no'} slots; without SEATS there is nothing to compare them with`);
    return;
  }
  for (const [id, number] of seats) {
    if (number !== expected) {
      tell('slots', `event ${id} has ${number} seats, SEATS is ${expected}`, mend(number));
      return;
    }
  }
  if (promoted) {
    return;
  }
  if (after === undefined) {
    const what = seats.size > 0 ? `${expected} seats in each event, as SEATS says` : 'the slots of the events are not known here';
    tell('slots', what);
  } else if (after === expected) {
    tell('slots', `${expected} slots in event ${eventId}, as SEATS says`);
  } else if (before === undefined) {
    tell('slots', `event ${eventId} has ${after} slots after its first join, SEATS is ${expected}`, mend(after));
  } else {
    const advice = 'a run begins without them; where they change again meanwhile, users of an earlier run are still there: wait';
    know('slots', `event ${eventId} has ${after} slots left over from before, SEATS is ${expected}`, advice);
  }
}

// --- Telling

/**
 * @param {string} check
 * @param {string} seen
 * @param {string} [mend] what to do about it: then it is not as it should be
 */
function tell(check, seen, mend) {
  console.log(JSON.stringify({ check, ok: mend === undefined, seen, mend }));
}

/**
 * Something to know, which stands in no run's way.
 *
 * @param {string} check
 * @param {string} seen
 * @param {string} mend
 */
function know(check, seen, mend) {
  console.log(JSON.stringify({ check, ok: true, seen, mend }));
}

// --- Asking

function adminAccount() {
  return { email: config.adminEmail, password: config.adminPassword };
}

/** What Redis has of an event that was never opened or closed. */
const NO_STATUS = 'event_statuses has no such event';

/**
 * The status of an event, or what is there instead of one.
 *
 * @param {any} admin session
 * @param {string} eventId
 * @returns {{ status?: 'OPEN' | 'CLOSED', instead: string }}
 */
function statusOf(admin, eventId) {
  let told;
  let instead;
  if (system.eventStatus) {
    const why = failureOf(() => (told = system.eventStatus(config, admin, eventId)));
    instead = why === '' ? `eventStatus returned ${JSON.stringify(told)}` : `eventStatus failed: ${why}`;
  } else if (room.ownSystem) {
    const none = '';
    told = inRedis.asked('HGET', 'event_statuses', eventId, none);
    const other = `event_statuses says ${JSON.stringify(told)}`;
    instead = told === undefined ? 'event_statuses could not be read' : told === none ? NO_STATUS : other;
  } else {
    instead = 'SYSTEM exports no eventStatus';
  }
  const text = typeof told === 'string' ? told.trim().toUpperCase() : '';
  return text === 'OPEN' || text === 'CLOSED' ? { status: text, instead } : { instead };
}

/** @param {number} number of a user, from 1 */
function accountOf(number) {
  return (
    accounts?.[number - 1] ?? { email: `user${number}@${config.loginEmailDomain}`, password: config.loginPassword }
  );
}

/**
 * @param {{ email: string, password: string }} account
 * @returns {{ session: any, why: string, isSilent: boolean }} whether the last attempt failed because no answer came in time
 */
function logIn(account, attempts = ATTEMPTS) {
  let session;
  let why = '';
  let start = 0;
  for (let attempt = 1; attempt <= attempts; attempt++) {
    start = Date.now();
    why = failureOf(() => (session = system.logIn(config, account)), account.password);
    if (why === '') {
      break;
    }
  }
  return { session, why, isSilent: why !== '' && Date.now() - start >= config.loginTimeoutMs };
}

/**
 * What a call failed of, empty where it did not.
 *
 * @param {() => void} call
 * @param {string} [password] that it was given
 */
const failureOf = (call, password = config.loginPassword) => pure.failureOf(call, [password, config.adminPassword]);
