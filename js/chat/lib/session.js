// @ts-check
/** A connection to a chat service over k6/websockets: messages one after another, and what became of each. */

import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';
import { clearTimeout, setTimeout } from 'k6/timers';
import { WebSocket } from 'k6/websockets';

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

/**
 * @typedef {object} Connection
 * @property {() => boolean} isOpen
 * @property {string} why there is none
 * @property {(message: { id: string, content: string, user: number }) => Promise<Reply>} ask sends a message; fulfilled when its
 *   reply is over, whatever became of it. One at a time
 * @property {(frame: object) => void} send sends a frame that is not answered
 * @property {() => Promise<void>} close fulfilled when the service has agreed
 */

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
 * Connects. Fulfilled when the connection is open or has failed.
 *
 * @param {string} url
 * @param {{ dialect: Dialect, token?: string, replyLimitMs: number }} options
 * @returns {Promise<Connection>}
 */
export function connect(url, { dialect, token, replyLimitMs }) {
  const began = Date.now();
  const socket = new WebSocket(url, null, {
    headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    tags: { name: 'chat' }, // k6 would take the address, and with it a token
  });
  let open = false;
  let why = '';
  /** What is awaited now. @type {{ reply: Reply, over: () => void } | undefined} */
  let awaited;
  const done = { opened: () => {}, closed: () => {} };
  const closed = new Promise((fulfil) => (done.closed = () => fulfil(undefined)));

  /** @type {Connection} */
  const connection = {
    isOpen: () => open,
    why,
    ask: ({ id, content, user }) =>
      new Promise((fulfil) => {
        const reply = expectReply(id, Date.now());
        if (!open) {
          reply.failed = 'broken';
          fulfil(reply);
          return;
        }
        const timer = setTimeout(() => {
          reply.failed ??= 'timeout';
          awaited?.over();
        }, replyLimitMs);
        const over = () => {
          clearTimeout(timer);
          awaited = undefined;
          recordTimes(reply);
          fulfil(reply);
        };
        awaited = { reply, over };
        socket.send(JSON.stringify(dialect.request({ id, content, user, at: reply.sentAt })));
      }),
    send: (frame) => socket.send(JSON.stringify(frame)),
    close: async () => {
      if (open) {
        open = false;
        socket.close();
        await closed;
      }
    },
  };

  socket.onmessage = (event) => {
    const { data, timestamp } = /** @type {import('k6/websockets').MessageEvent} */ (event);
    if (awaited === undefined) {
      strayFrames.add(1);
    } else if (take(awaited.reply, readFrame(dialect, data), timestamp)) {
      awaited.over();
    }
  };
  socket.onerror = (event) => {
    connection.why = event?.error ?? '';
  };
  socket.onclose = () => {
    open = false;
    if (awaited !== undefined) {
      awaited.reply.failed ??= 'broken';
      awaited.over();
    }
    done.opened();
    done.closed();
  };

  return new Promise((fulfil) => {
    done.opened = () => {
      done.opened = () => {};
      check(open, { 'WebSocket connection established': (established) => established });
      connectedOk.add(open ? 1 : 0);
      fulfil(connection);
    };
    socket.onopen = () => {
      open = true;
      connectionTime.add(Date.now() - began);
      done.opened();
    };
  });
}

/** @param {Reply} reply */
function recordTimes({ sentAt, firstAt, doneAt }) {
  // The clock of frames has fractions, that of sending has not: a reply within the same millisecond took 0.
  if (firstAt !== undefined) {
    firstChunkTime.add(Math.max(firstAt - sentAt, 0));
  }
  if (doneAt !== undefined) {
    responseTime.add(Math.max(doneAt - sentAt, 0));
  }
}

/**
 * Lets time pass in which the connection is listened to.
 *
 * @param {number} ms
 * @returns {Promise<void>}
 */
export function pause(ms) {
  return new Promise((fulfil) => setTimeout(() => fulfil(undefined), ms));
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
