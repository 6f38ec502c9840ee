// @ts-check
/** The text that closes a gate, and its verdict. Needs nothing of k6. */

/** @typedef {import('./targets.js').Target} Target */
/** @typedef {{ metrics: Record<string, { type?: string, values: Record<string, number> } | undefined> }} Data */

/** Counts what was recorded of each metric, in its tag `of`: k6 takes a percentile of nothing for 0, which is below any limit. */
export const SAMPLES = 'gate_samples';

/** Metrics that k6 itself records. */
const BUILT_IN = ['checks', 'http_req_duration'];

/** @param {Target} target */
export const isOwn = ({ metric }) => !BUILT_IN.includes(metric);

/** The name under which k6 tells how many samples a metric has. @param {string} metric */
export const samplesOf = (metric) => `${SAMPLES}{of:${metric}}`;

/**
 * Whether a target is reached.
 *
 * @param {Target} target
 * @param {Data} data
 * @returns {{ value: number | undefined, holds: boolean }} no value where there are too few samples
 */
export function judged(target, { metrics }) {
  const values = metrics[target.metric]?.values;
  let samples = metrics[samplesOf(target.metric)]?.values.count ?? 0;
  if (!isOwn(target)) {
    samples = target.metric === 'checks' ? (values?.passes ?? 0) + (values?.fails ?? 0) : (metrics.http_reqs?.values.count ?? 0);
  }
  // What k6 did not take for a value was counted above and not here.
  if (isOwn(target) && target.type === 'trend') {
    samples = Math.min(samples, values?.count ?? 0);
  }
  const value = values?.[target.stat];
  if (value === undefined || !Number.isFinite(value) || samples < (target.samples ?? 1)) {
    return { value: undefined, holds: false };
  }
  const { limit } = target;
  const holds = { '<': value < limit, '<=': value <= limit, '>': value > limit, '>=': value >= limit, '==': value === limit };
  return { value, holds: holds[target.op] };
}

/**
 * k6's summary, then a line for each target, then the verdict; or, where somebody else says it, how many targets are reached.
 *
 * @param {number} phase
 * @param {string} title
 * @param {Target[]} targets
 * @param {Data} data
 * @param {boolean} [elsewhere] the verdict is said
 */
export function gateText(phase, title, targets, data, elsewhere = false) {
  const rows = targets.map((target) => {
    const { value, holds } = judged(target, data);
    const told = value === undefined ? (target.missing ?? 'too few samples') : number(target, value);
    const mark = target.watched ? (holds ? '·' : '!') : holds ? '✓' : '✗';
    const limit = `${target.watched ? 'watched ' : ''}${target.op} ${number(target, target.limit)}`;
    return { mark, what: `${target.what}, ${target.stat === 'count' ? 'a second' : target.stat}`, told, limit, holds: holds || target.watched };
  });
  const passed = rows.every(({ holds }) => holds);
  const width = (/** @type {'what' | 'told'} */ part) => Math.max(...rows.map((row) => row[part].length));
  const [whats, tolds] = [width('what'), width('told')];
  const lines = rows.map(({ mark, what, told, limit }) => `  ${mark} ${what.padEnd(whats)}  ${told.padStart(tolds)}  ${limit}`);
  const judging = targets.flatMap(({ watched }, at) => (watched ? [] : [rows[at].holds]));
  const verdict = elsewhere
    ? `${judging.filter((holds) => holds).length} of ${judging.length} targets are reached; the verdict is the runner's`
    : `Phase ${phase} Gate: ${passed ? 'PASSED ✓' : 'FAILED ✗'}`;
  return { passed, text: ['', metricsText(data), '', `Phase ${phase}: ${title}`, ...lines, '', verdict, ''].join('\n') };
}

/** @param {Target} target @param {number} value */
function number({ seconds = 1, unit }, value) {
  return `${rounded(value / seconds)}${unit === '' || unit.startsWith('/') ? unit : ` ${unit}`}`;
}

/** @param {number} value */
function rounded(value) {
  return String(Number(value.toPrecision(Math.abs(value) >= 1000 ? 7 : 4)));
}

/** The order in which statistics are told. */
const ORDER = ['count', 'rate', 'passes', 'fails', 'value', 'avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)'];

/** What k6 prints where no script has a summary of its own. @param {Data} data */
function metricsText({ metrics }) {
  const names = Object.keys(metrics).filter((name) => !name.startsWith(`${SAMPLES}{`)).sort();
  const width = Math.max(...names.map((name) => name.length)) + 3;
  const lines = names.map((name) => {
    const values = Object.entries(metrics[name]?.values ?? {});
    const place = (/** @type {string} */ stat) => ORDER.indexOf(stat) + 1 || ORDER.length + 1;
    values.sort(([one], [other]) => place(one) - place(other));
    const texts = values.map(([stat, value]) => `${stat}=${rounded(value)}`);
    return `  ${name.padEnd(width, '.')}: ${texts.join(' ')}`;
  });
  return lines.join('\n');
}
