// @ts-check
/** What follows from measured values. Needs nothing of k6. */

/**
 * The numbers of what was told. What is missing, no number or not finite is no measurement: k6 drops it with a warning, and then takes a
 * percentile of nothing for 0.
 *
 * @param {unknown} value or a list of them
 * @returns {number[]}
 */
export function finite(value) {
  return (Array.isArray(value) ? value : [value]).filter(Number.isFinite);
}

/** Whether all of them are numbers: two that are missing are not equal, and their difference is not 0. @param {unknown[]} values */
export function known(...values) {
  return values.every(Number.isFinite);
}

/** Microseconds as ms, where they were told. @param {unknown} micros or a list of them */
export function inMs(micros) {
  return finite(micros).map((one) => one / 1000);
}

/** The samples of a batch, in ms: a hundred that stand for all. One of no operations has none. @param {any} batch */
export function milliseconds(batch) {
  return batch?.n > 0 ? inMs(batch.sample_us) : [];
}

/**
 * Whether a switch does what it says: with it on each of the requests leaves a trace, with it off none does, but for a few of somebody
 * else that were under way.
 *
 * @param {boolean} on
 * @param {unknown} before how many traces there were
 * @param {unknown} after
 * @param {number} requests
 */
export function switched(on, before, after, requests) {
  const more = Number(after) - Number(before);
  return known(before, after) && (on ? more >= requests : more < requests / 10);
}

/**
 * Whether each node that was there has been started anew, and none is missing.
 *
 * @param {any} before what the cluster told of its nodes
 * @param {any} after
 */
export function replaced(before, after) {
  const [old, now] = [before?.nodes, after?.nodes];
  if (!Array.isArray(old) || !Array.isArray(now) || old.length === 0) {
    return false;
  }
  const life = new Map(now.map(({ name, incarnation }) => [name, incarnation]));
  return old.every(({ name, incarnation }) => known(incarnation, life.get(name)) && life.get(name) > incarnation);
}

/** The 95th percentile. @param {number[]} values at least one */
export function p95(values) {
  return [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1];
}

/**
 * The upper bound of the mean of differences, with 95 % certainty, by Student's distribution.
 *
 * @param {number[]} differences at least six
 */
export function upperBound(differences) {
  const count = differences.length;
  if (count < 6) {
    throw new Error(`differences: got ${count}; at least 6 are needed`);
  }
  const mean = differences.reduce((sum, value) => sum + value, 0) / count;
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  // One-sided, 5 to 20 degrees of freedom; beyond, the bound is a little too wide.
  const t = [2.015, 1.943, 1.895, 1.86, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746, 1.74, 1.734, 1.729, 1.725];
  return mean + t[Math.min(count - 6, t.length - 1)] * Math.sqrt(variance / count);
}
