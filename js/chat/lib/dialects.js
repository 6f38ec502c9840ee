// @ts-check
/**
 * How a chat service is spoken to: one object for each dialect. A service with another one needs a file that exports such an
 * object as `dialect`, named by DIALECT. Needs nothing of k6.
 */

/**
 * @typedef {object} Message that a user sends
 * @property {string} id unlike any other of the run
 * @property {string} content
 * @property {number} user from 1
 * @property {number} at when, ms since the epoch
 */

/**
 * @typedef {object} Frame what a frame of the service says
 * @property {'chunk' | 'done' | 'error' | 'other'} kind a part of a reply, its end, its failure, or what concerns no reply
 * @property {unknown} [id] of the message that it is about, where the dialect tells
 * @property {number} [seq] of a chunk, from 0, where the dialect tells
 * @property {number} [chunks] with the end: how many there were, where the dialect tells
 * @property {unknown} [code] of an error
 */

/**
 * @typedef {object} Dialect
 * @property {string} path added to WS_URL
 * @property {boolean} [tokenInQuery] whether the token is (also) part of the address
 * @property {(message: Message) => object} request the frame that asks, before it becomes JSON
 * @property {(frame: any) => Frame | undefined} read what a frame says, given its JSON; undefined where it is none of the dialect
 */

/** A number that a service may add to its frames. @param {unknown} value @returns {number | undefined} */
const whole = (value) => (Number.isInteger(value) ? /** @type {number} */ (value) : undefined);

/** @type {Dialect} */
const message = {
  path: '/api/chat',
  request: ({ id, content }) => ({ type: 'message', id, content }),
  read: ({ type, id, seq, chunks, code }) => {
    switch (type) {
      case 'chunk':
        return Number.isInteger(seq) ? { kind: 'chunk', id, seq } : undefined;
      case 'done':
        return Number.isInteger(chunks) ? { kind: 'done', id, chunks } : undefined;
      case 'error':
        return { kind: 'error', id, code };
      default:
        return undefined;
    }
  },
};

/** @type {Dialect} */
const streamEvent = {
  path: '/chat',
  request: ({ id, content, user, at }) => ({ type: 'chat', content, messageId: id, userId: `user_${user}`, timestamp: at }),
  read: ({ type, event, content }) => {
    if (type === 'error') {
      return { kind: 'error', code: content };
    }
    switch (type === 'stream_event' && event?.type) {
      case 'token':
        return event.data === undefined ? undefined : { kind: 'chunk', id: event.messageId, seq: whole(event.seq) };
      case 'complete':
        return { kind: 'done', id: event.messageId, chunks: whole(event.chunks) };
      default:
        // Greetings and the like: right where they say something.
        return type && (event || content) ? { kind: 'other' } : undefined;
    }
  },
};

/** @type {Dialect} */
const token = {
  path: '/',
  tokenInQuery: true,
  request: ({ id, content, at }) => ({ type: 'chat', message: content, timestamp: new Date(at).toISOString(), sessionId: id }),
  read: ({ type, message: code, seq, chunks }) => {
    switch (type) {
      case 'token':
      case 'stream':
        return { kind: 'chunk', seq: whole(seq) };
      case 'complete':
      case 'end':
        return { kind: 'done', chunks: whole(chunks) };
      case 'error':
        return { kind: 'error', code };
      default:
        return type ? { kind: 'other' } : undefined;
    }
  },
};

/** By the value of DIALECT. @type {Record<string, Dialect>} */
export const dialects = { message, stream_event: streamEvent, token };

/**
 * Where a user connects.
 *
 * @param {string} wsUrl without a slash at the end
 * @param {Dialect} dialect
 * @param {string} [token]
 */
export function addressOf(wsUrl, { path, tokenInQuery }, token) {
  return `${wsUrl}${path}${tokenInQuery && token !== undefined ? `?token=${encodeURIComponent(token)}` : ''}`;
}

/**
 * What a text of the service says; undefined where it is no JSON object, or none of the dialect.
 *
 * @param {Dialect} dialect
 * @param {unknown} text
 * @returns {Frame | undefined}
 */
export function readFrame(dialect, text) {
  try {
    const frame = JSON.parse(/** @type {string} */ (text));
    return frame !== null && typeof frame === 'object' ? dialect.read(frame) : undefined;
  } catch {
    return undefined;
  }
}
