// @ts-check
/** Texts: what the target's messages and errors say, and what this run says. */

/** Value of a message's `status`: the user is in the queue. */
export const IN_ENTRY = 'IN_ENTRY';
/** Value of a message's `status`: the user has been promoted. */
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
  const message = parseObject(text);
  if (message || text === '') {
    return message;
  }
  const inner = text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
  return parseObject(inner.replaceAll('\\"', '"'));
}

/** @param {string} text */
function parseObject(text) {
  // Most of what is none is known by its first letter, without the cost of an exception.
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The text of whatever was thrown, without the password of a URL in it, which some clients repeat in their errors.
 *
 * @param {any} error those of Go modules are no instances of Error and have no message
 * @returns {string}
 */
export function errorText(error) {
  return String(error?.message ?? error).replace(/(:\/\/[^\s/:@]*:)\S+@/g, '$1***@');
}

/**
 * @typedef {object} Accounting of a barrier
 * @property {number} arrived
 * @property {Record<string, number>} failed by reason
 */

/**
 * A barrier's accounting in words.
 *
 * @param {Accounting} accounting
 * @returns {{ failed: number, people: string, fields: string }} how many failed, `9 arrived, 1 failed (login 1)`, and
 *   `joined=9, loginFail=1, sseFail=0` with whatever else users failed of
 */
export function accountingTexts({ arrived, failed }) {
  const occurred = Object.entries(failed).filter(([, count]) => count > 0);
  const failures = occurred.reduce((sum, [, count]) => sum + count, 0);
  const reasons = occurred.map(([reason, count]) => `${reason} ${count}`).join(', ');
  const further = occurred
    .filter(([reason]) => reason !== 'login' && reason !== 'sse')
    .map(([reason, count]) => `, ${reason}=${count}`)
    .join('');
  return {
    failed: failures,
    people: `${arrived} arrived${failures > 0 ? `, ${failures} failed (${reasons})` : ''}`,
    fields: `joined=${arrived}, loginFail=${failed.login ?? 0}, sseFail=${failed.sse ?? 0}${further}`,
  };
}

/**
 * @typedef {{ metrics: Record<string, { values: Record<string, number> }> }} SummaryData
 * @typedef {import('./config.js').Config} Config
 */

/**
 * The text that closes a run.
 *
 * @param {SummaryData} data
 * @param {Config} config
 * @returns {string}
 */
export function summaryText({ metrics }, config) {
  const count = (/** @type {string} */ name) => metrics[name]?.values.count ?? 0;
  const ms = (/** @type {string} */ name, /** @type {string} */ statistic, /** @type {number} */ decimals) => {
    const values = metrics[name]?.values;
    // A metric with a threshold reads 0 where nothing was ever recorded.
    return values && values.max > 0 ? `${values[statistic].toFixed(decimals)} ms` : 'n/a';
  };
  const lines = {
    BASE_URL: config.baseUrl,
    Scenario: config.scenario || 'custom',
    'Event IDs': `${config.eventIds.length} (hot ratio ${Math.round(config.hotRatio * 100)}%)`,
    'Users (vus/iterations)': config.vus,
    'Success rate': `${((count('completed_users') / config.vus) * 100).toFixed(2)}%`,
    'P95 connection time': ms('sse_connection_time', 'p(95)', 2),
    'Completed users': count('completed_users'),
    'IN_ENTRY events': count('in_entry_events'),
    'SSE events': count('sse_events'),
    'Login failures': count('login_failures'),
    'Login final failures': count('login_final_failures'),
    'SSE failures': count('sse_failures'),
    'Disconnect failures': count('disconnect_failures'),
    'Barrier wait max': ms('barrier_wait_ms', 'max', 0),
    'P95 OPEN->IN_PROGRESS': ms('open_to_promote_ms', 'p(95)', 2),
    'P95 login batch delay': ms('login_batch_delay_ms', 'p(95)', 0),
  };
  return ['SSE Throughput Test Summary', ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`), ''].join('\n');
}
