// @ts-check
/** The text that closes a run. Users have no part in it, so their VUs do not load it. */

/** @typedef {import('./settings.js').Config} Config */

/**
 * @typedef {{ metrics: Record<string, { type?: string, contains?: string, values: Record<string, number> }> }} SummaryData
 */

/**
 * Adds what was seen when the run was over, where no metric records anything any more.
 *
 * @param {SummaryData} data
 * @param {{ slots: number[], failed: number }} seen slots of each event when all users had left, and looks that failed
 */
export function addEnd({ metrics }, { slots, failed }) {
  const add = (/** @type {string} */ name, /** @type {string} */ type, /** @type {Record<string, number>} */ values) => {
    metrics[name] = { type, contains: 'default', ...metrics[name], values: { ...metrics[name]?.values, ...values } };
  };
  if (slots.length > 0) {
    const max = Math.max(...slots);
    // With their number: slots that are all 0 would else look like none.
    add('slots_at_end', 'trend', { min: Math.min(...slots), max, count: slots.length });
    add('slots_most', 'trend', { max: Math.max(metrics.slots_most?.values.max ?? 0, max) });
    const least = metrics.slots_least?.values;
    add('slots_least', 'trend', { min: Math.min(least?.min ?? max, ...slots), count: (least?.count ?? 0) + slots.length });
  }
  if (failed > 0) {
    add('failed_looks', 'counter', { count: (metrics.failed_looks?.values.count ?? 0) + failed });
  }
}

/**
 * The text that closes a run.
 *
 * @param {SummaryData} data
 * @param {Config} config
 * @returns {string}
 */
export function summaryText({ metrics }, config) {
  const count = (/** @type {string} */ name) => metrics[name]?.values.count ?? 0;
  const cutOff = count('cut_off_users');
  const ms = (/** @type {string} */ name, /** @type {string} */ statistic, /** @type {number} */ decimals) => {
    const values = metrics[name]?.values;
    // A metric with a threshold reads 0 where nothing was ever recorded.
    return values && values.max > 0 ? `${values[statistic].toFixed(decimals)} ms` : 'n/a';
  };
  const slots = (/** @type {string} */ name, /** @type {string} */ statistic) => metrics[name]?.values[statistic] ?? 'n/a';
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
    'Promoted before release': count('promoted_before_release'),
    'Longest pause of promotion': ms('promotion_pause_ms', 'max', 0),
    'Slots at join, most, at end':
      `${slots('slots_at_join', 'min')}, ${slots('slots_most', 'max')}, ${slots('slots_at_end', 'min')}` +
      (config.slots > 0 ? ` (${config.slotsFrom}=${config.slots})` : ''),
    'Cut off users': cutOff === 0 ? 0 : `${cutOff}: ${config.cutOff.mend}`,
  };
  // Whatever ended the run before the controller or teardown opened them.
  const closed = metrics.closed_events?.values.value > 0 && !metrics.promotion_pause_ms;
  const warning = closed ? [`events may be CLOSED: ${config.eventIds.join(', ')}; open those that are to be open`] : [];
  return [...warning, 'SSE Throughput Test Summary', ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`), ''].join('\n');
}
