// @ts-check
/** When a reply is complete, and whether it was right. Needs nothing of k6. */

/** @typedef {import('./dialects.js').Frame} Frame */

/**
 * Why an attempted message failed; the first thing that went wrong. These are values of the tag `reason`.
 *
 * @typedef {'refused' | 'broken' | 'timeout' | 'error_frame' | 'sequence_gap' | 'wrong_count' | 'too_few_chunks' | 'bad_frame' | 'stray_frame'} Reason
 */

/** @type {Record<Reason, string>} what they mean, in the order in which summaries tell them */
export const REASONS = {
  refused: 'no connection',
  broken: 'the connection was lost',
  timeout: 'the reply was not complete in time',
  error_frame: 'the service answered with an error',
  sequence_gap: 'chunks were missing or out of order',
  wrong_count: 'the end of the reply told another number of chunks',
  too_few_chunks: 'the reply had fewer than two chunks',
  bad_frame: 'a frame was none of the dialect',
  stray_frame: 'a frame was about another message',
};

/**
 * @typedef {object} Reply
 * @property {string} id of the message
 * @property {number} sentAt ms since the epoch
 * @property {number} chunks so far
 * @property {number} nextSeq what the next chunk's number must be
 * @property {number} [firstAt] when the first chunk came, ms since the epoch
 * @property {number} [doneAt] when the end came
 * @property {Reason} [failed] what went wrong first
 * @property {unknown} [code] of an error frame
 */

/**
 * The reply to a message that is sent now.
 *
 * @param {string} id
 * @param {number} sentAt
 * @returns {Reply}
 */
export function expectReply(id, sentAt) {
  return { id, sentAt, chunks: 0, nextSeq: 0 };
}

/**
 * Takes a frame into account.
 *
 * @param {Reply} reply
 * @param {Frame | undefined} frame undefined where it is none of the dialect
 * @param {number} at when it came, ms since the epoch
 * @returns {boolean} whether the reply is over
 */
export function take(reply, frame, at) {
  const fail = (/** @type {Reason} */ reason) => {
    reply.failed ??= reason;
  };
  if (frame === undefined) {
    fail('bad_frame');
    return false;
  }
  if (frame.kind === 'other') {
    return false;
  }
  // An error that is about no message of its own may say so by null.
  if (frame.id !== undefined && frame.id !== null && frame.id !== reply.id) {
    fail('stray_frame');
    return false;
  }
  switch (frame.kind) {
    case 'chunk':
      reply.firstAt ??= at;
      if (frame.seq !== undefined && frame.seq !== reply.nextSeq) {
        fail('sequence_gap');
      }
      reply.nextSeq = (frame.seq ?? reply.nextSeq) + 1;
      reply.chunks += 1;
      return false;
    case 'done':
      reply.doneAt = at;
      if (frame.chunks !== undefined && frame.chunks !== reply.chunks) {
        fail('wrong_count');
      }
      if (reply.chunks < 2) {
        fail('too_few_chunks');
      }
      return true;
    default:
      reply.code = frame.code;
      fail('error_frame');
      return true;
  }
}
