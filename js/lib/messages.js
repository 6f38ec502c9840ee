// @ts-check
/** Messages of a waiting stream. */

/** Value of `status`: the user is in the queue. */
export const IN_ENTRY = 'IN_ENTRY';
/** Value of `status`: the user has been promoted. */
export const IN_PROGRESS = 'IN_PROGRESS';

/**
 * The JSON in an event's data, or undefined where there is none (greeting, heartbeat).
 *
 * The data may come as plain JSON, as JSON inside a JSON string, and with a `data:` of its own in front of either.
 *
 * @param {unknown} data
 * @returns {{ status?: unknown } | undefined}
 */
export function decodeMessage(data) {
  let text = String(data ?? '').trim();
  if (text.startsWith('data:')) {
    text = text.slice('data:'.length).trim();
  }
  // First as it stands: the steps below would spoil plain JSON that has a quote inside a text.
  return parseObject(text) ?? parseObject(unquoted(text).replaceAll('\\"', '"'));
}

/** @param {string} text */
function unquoted(text) {
  return text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

/** @param {string} text */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
