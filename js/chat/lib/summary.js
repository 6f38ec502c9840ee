// @ts-check
/** The text that closes a run of the streaming test. Needs nothing of k6. */

import { REASONS } from './replies.js';

/** @typedef {import('../../lib/summary.js').SummaryData} SummaryData */

/** Parts of metrics that the summary tells, as k6 names them. */
export const PARTS = [
  ...Object.keys(REASONS).map((reason) => `message_errors{reason:${reason}}`),
  'ws_sessions{status:401}',
  'ws_sessions{status:403}',
];

/**
 * Adds the counter `cut_off_messages`: those that were under way when k6 ended their iteration. They failed of the end of the
 * test, and not of the service, so that no rate has them.
 *
 * @param {SummaryData} data
 */
export function addCutOff({ metrics }) {
  const { passes = 0, fails = 0 } = metrics.error_rate?.values ?? {};
  const count = (metrics.attempted_messages?.values.count ?? 0) - passes - fails;
  metrics.cut_off_messages = { type: 'counter', contains: 'default', values: { count } };
}

/**
 * @param {SummaryData} data after `addCutOff`
 * @param {import('./settings.js').Config} config
 * @param {{ arrived: number, failed: Record<string, number>, failedTotal: number, missing: number, parties: number, releasedAt: number | null }} [meeting]
 * @returns {string}
 */
export function summaryText({ metrics }, config, meeting) {
  const value = (/** @type {string} */ name, /** @type {string} */ statistic) => metrics[name]?.values[statistic];
  const count = (/** @type {string} */ name) => value(name, 'count') ?? 0;
  const judged = (value('error_rate', 'passes') ?? 0) + (value('error_rate', 'fails') ?? 0);
  // A trend with a threshold reads 0 where nothing was ever recorded.
  const trend = (/** @type {string} */ name, /** @type {string} */ statistic, /** @type {string} */ unit) =>
    count(name) > 0 ? `${value(name, statistic)?.toFixed(unit === 'Hz' ? 2 : 0)} ${unit}` : 'n/a';
  const failures = Object.entries(REASONS)
    .map(([reason, words]) => ({ reason, words, times: count(`message_errors{reason:${reason}}`) }))
    .filter(({ times }) => times > 0);
  const denied = count('ws_sessions{status:401}') + count('ws_sessions{status:403}');

  /** @type {[what: string, is: string, limit?: string][]} */
  const lines = [
    ['Failed messages', judged === 0 ? 'n/a' : percent(value('error_rate', 'rate')), `below ${percent(config.errorRateLimit)}`],
    ['Connections made', percent(value('ws_connected_ok', 'rate')), '100.00%'],
    ['Time to connect, p95', trend('ws_connection_time', 'p(95)', 'ms'), `below ${config.connectLimitMs} ms`],
    ['Time to reply, p90', trend('message_response_time', 'p(90)', 'ms'), `below ${config.replyP90LimitMs} ms`],
  ];
  if (metrics.hz_avg !== undefined) {
    lines.push(['Pace of the loop, average', trend('hz_avg', 'avg', 'Hz'), `above ${config.hzLimit} Hz`]);
    lines.push(['Missing samples of it', String(count('hz_missing')), '0']);
  }
  const width = Math.max(...lines.map(([what]) => what.length));
  const texts = lines.map(([what, is, limit]) => `  ${what.padEnd(width)}  ${is.padStart(10)}  limit: ${limit}`);

  texts.unshift(`Chat streaming, VUS=${config.vus}, ${config.wsUrl}`);
  texts.push(`Messages: ${judged} judged, ${value('error_rate', 'passes') ?? 0} failed, ${count('cut_off_messages')} cut off by the end of the test`);
  failures.forEach(({ reason, words, times }) => texts.push(`  ${times} ${reason}: ${words}`));
  if (count('stray_frames') > 0) {
    texts.push(`Frames that nobody waited for: ${count('stray_frames')}`);
  }
  if (denied > 0) {
    const mend = config.tokensFile === '' ? 'no token was sent: TOKENS names a file of them' : 'the tokens in TOKENS were not accepted';
    texts.push(`Refused access (401 or 403): ${denied} connections; ${mend}`);
  }
  if (meeting !== undefined) {
    const { arrived, failed, failedTotal, missing, parties, releasedAt } = meeting;
    const why = Object.entries(failed).filter(([, times]) => times > 0).map(([reason, times]) => `${reason} ${times}`);
    const skew = value('barrier_skew_duration', 'max');
    const began = skew === undefined ? 'nobody began' : `first messages within ${skew.toFixed(1)} ms of the release`;
    const when = releasedAt === null ? 'never released' : began;
    texts.push(`Start together: ${arrived} of ${parties} connected, ${failedTotal} failed${why.length > 0 ? ` (${why.join(', ')})` : ''}, ${missing} missing; ${when}`);
  }
  return ['', ...texts, ''].join('\n');
}

/**
 * A line for each metric that has thresholds: its statistics, and which of them do not hold.
 *
 * @param {string} title
 * @param {{ metrics: Record<string, { values: Record<string, number>, thresholds?: Record<string, { ok: boolean }> }> }} data
 */
export function thresholdsText(title, { metrics }) {
  const lines = Object.entries(metrics).flatMap(([name, { values, thresholds = {} }]) => {
    const given = Object.entries(thresholds);
    const statistics = Object.entries(values).map(([statistic, value]) => `${statistic} ${Number(value.toFixed(4))}`);
    const broken = given.filter(([, { ok }]) => !ok).map(([threshold]) => threshold);
    const verdict = broken.length === 0 ? 'holds' : `DOES NOT HOLD: ${broken.join(', ')}`;
    return given.length === 0 ? [] : [`  ${name}: ${verdict} (limit ${given.map(([threshold]) => threshold).join(', ')}; ${statistics.join(', ')})`];
  });
  return ['', title, ...lines, ''].join('\n');
}

/** @param {number | undefined} share 0..1 */
function percent(share) {
  return share === undefined ? 'n/a' : `${(share * 100).toFixed(2)}%`;
}
