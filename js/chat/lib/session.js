// @ts-check
/**
 * A connection to a chat service: messages one after another, and what became of each.
 *
 * Over k6/ws, which ends a connection by itself. k6/websockets leaves the end to the service, whose process may stand still:
 * then an iteration never ends, and neither does k6.
 */

import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';
import ws from 'k6/ws';

import { readFrame } from './dialects.js';
import { expectReply, REASONS, take } from './replies.js';

/** @typedef {import('./dialects.js').Dialect} Dialect */
/** @typedef {import('./replies.js').Reason} Reason */
/** @typedef {import('./replies.js').Reply} Reply */

// The names of metrics are a contract with the runner and with dashboards.
/** Begun messages: the first one of a session begins with its connection. What is neither right nor wrong was cut off. */
const attempts = new Counter('attempted_messages');
/** 1 for each attempted message that failed, 0 for each that did not. */
const errorRate = new Rate('error_rate');
/** The failed ones by why, in the tag `reason`. */
const messageErrors = new Counter('message_errors');
/** Frames that came while no reply was awaited. */
const strayFrames = new Counter('stray_frames');
/** 1 for each connection that was made, 0 for each that was not. */
const connectedOk = new Rate('ws_connected_ok');
/** From dialling to the open connection, ms. */
const connectionTime = new Trend('ws_connection_time', true);
/** From sending a message to the end of its reply, ms; of failed ones too, where they had an end. */
const responseTime = new Trend('message_response_time', true);
/** From sending a message to the first chunk, ms. */
const firstChunkTime = new Trend('message_first_chunk_time', true);
/** Replies of which nothing came for a while, told as soon as that is so; their end is told later. */
const silentReplies = new Counter('silent_replies');

/**
 * Something that takes time. The connection is listened to meanwhile; `goOn` is called once, with what came of it.
 *
 * @template T
 * @typedef {(goOn: (result: T) => void) => void} Wait
 */

/**
 * @typedef {object} Connection
 * @property {() => boolean} isOpen
 * @property {() => string} why it was lost, where that is known
 * @property {(message: { id: string, content: string, user: number }) => Wait<Reply>} ask sends a message, and waits until its
 *   reply is over, whatever became of it. One at a time
 * @property {(ms: number) => Wait<void>} pause lets time pass; less where the connection is lost
 * @property {(frame: object) => void} send sends a frame that is not answered
 */

/**
 * Settings for all scripts that connect: an address may hold a token, and k6 would tell it with each sample as the tag `url`.
 *
 * @type {string[]}
 */
export const SYSTEM_TAGS = [
  'proto', 'subproto', 'status', 'method', 'name', 'group', 'check', 'error', 'error_code', 'tls_version', 'scenario', 'service',
  'expected_response',
];

/** An attempt to get a message answered begins. Each is followed by `judge`, unless k6 ends the iteration before. */
export function attempt() {
  attempts.add(1);
}

/**
 * Counts what became of an attempt.
 *
 * @param {Reason | undefined} failed
 */
export function judge(failed) {
  check(failed, { 'Message streaming successful': (reason) => reason === undefined });
  errorRate.add(failed === undefined ? 0 : 1);
  if (failed !== undefined) {
    messageErrors.add(1, { reason: failed });
  }
}

/**
 * Connects, does what `steps` say with the connection, and closes it. Returns when it is closed.
 *
 * @param {string} url
 * @param {{ dialect: Dialect, token?: string, replyLimitMs: number, silenceMs?: number }} options `silenceMs`: nothing of a reply may
 *   come for so long
 * @param {(connection: Connection) => Generator<Wait<any>, void, any>} steps each `yield` of theirs waits for something, and
 *   is worth what came of it
 * @returns {{ connected: boolean, why: string }} whether there was a connection, and what is known of its end
 */
export function talk(url, { dialect, token, replyLimitMs, silenceMs }, steps) {
  const began = Date.now();
  let connected = false;
  let open = false;
  let why = '';
  /** When the last frame came. */
  let heardAt = 0;
  /** What is awaited now, a reply or the end of a pause. @type {{ reply?: Reply, over: () => void } | undefined} */
  let awaited;

  const params = {
    headers: /** @type {Record<string, string>} */ (token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    tags: { name: 'chat' },
  };
  const answer = ws.connect(url, params, (socket) => {
    /** @template T @param {T} result @param {(result: T) => void} goOn @param {Reply} [reply] */
    const wait = (result, goOn, reply) => {
      const mine = {
        reply,
        over: () => {
          if (awaited === mine) {
            awaited = undefined;
            goOn(result);
          }
        },
      };
      awaited = mine;
      return mine;
    };

    /** @type {Connection} */
    const connection = {
      isOpen: () => open,
      why: () => why,
      ask: ({ id, content, user }) => (goOn) => {
        const reply = expectReply(id, Date.now());
        if (!open) {
          reply.failed = 'broken';
          goOn(reply);
          return;
        }
        const mine = wait(reply, (over) => (recordTimes(over), goOn(over)), reply);
        socket.setTimeout(() => {
          if (awaited === mine) {
            reply.failed ??= 'timeout';
            mine.over();
          }
        }, replyLimitMs);
        heardAt = reply.sentAt;
        if (silenceMs !== undefined) {
          // So that there is a sample, where all is well.
          silentReplies.add(0);
          const listen = (/** @type {number} */ ms) => {
            socket.setTimeout(() => {
              const left = silenceMs - (Date.now() - heardAt);
              if (awaited !== mine) {
                return;
              }
              if (left > 0) {
                listen(left);
              } else {
                silentReplies.add(1);
              }
            }, ms);
          };
          listen(silenceMs);
        }
        socket.send(JSON.stringify(dialect.request({ id, content, user, at: reply.sentAt })));
      },
      pause: (ms) => (goOn) => {
        if (ms > 0 && open) {
          socket.setTimeout(wait(undefined, goOn).over, ms);
        } else {
          goOn(undefined);
        }
      },
      send: (frame) => socket.send(JSON.stringify(frame)),
    };

    const course = steps(connection);
    const goOn = (/** @type {any} */ result) => {
      const { done, value } = course.next(result);
      if (!done) {
        value(goOn);
      } else if (open) {
        open = false;
        socket.close(1000);
      }
    };

    socket.on('open', () => {
      connected = true;
      open = true;
      connectionTime.add(Date.now() - began);
      established(true);
      goOn(undefined);
    });
    socket.on('message', (data) => {
      heardAt = Date.now();
      const reply = awaited?.reply;
      if (reply === undefined) {
        strayFrames.add(1);
      } else if (take(reply, readFrame(dialect, data), Date.now())) {
        awaited?.over();
      }
    });
    socket.on('error', (error) => {
      why = error.error();
    });
    socket.on('close', () => {
      open = false;
      if (awaited?.reply !== undefined) {
        awaited.reply.failed ??= 'broken';
      }
      awaited?.over();
    });
  });
  if (!connected) {
    established(false);
    // Without an answer there is only an error, and with one that is no connection only its status.
    why = /** @type {any} */ (answer).error || `status ${answer.status}`;
  }
  return { connected, why };
}

/** @param {boolean} open */
function established(open) {
  check(open, { 'WebSocket connection established': (is) => is });
  connectedOk.add(open ? 1 : 0);
}

/** @param {Reply} reply */
function recordTimes({ sentAt, firstAt, doneAt }) {
  // The clock may be set back meanwhile.
  if (firstAt !== undefined) {
    firstChunkTime.add(Math.max(firstAt - sentAt, 0));
  }
  if (doneAt !== undefined) {
    responseTime.add(Math.max(doneAt - sentAt, 0));
  }
}

/**
 * Why an attempt failed, in words.
 *
 * @param {Reason} reason
 * @param {{ why?: string, code?: unknown }} details
 */
export function failureText(reason, { why, code }) {
  const detail = why || (code === undefined ? '' : String(code));
  return `${reason}: ${REASONS[reason]}${detail === '' ? '' : ` (${detail})`}`;
}
