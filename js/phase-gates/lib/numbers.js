// @ts-check
/** What follows from measured values. Needs nothing of k6. */

/** The samples of a batch, in ms: a hundred that stand for all. @param {{ sample_us: number[] }} batch */
export function milliseconds({ sample_us }) {
  return sample_us.map((micros) => micros / 1000);
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
