// @ts-check
/** The text that closes a run. Needs nothing of k6. */

/** @typedef {{ metrics: Record<string, { values: Record<string, number>, thresholds?: Record<string, { ok: boolean }> } | undefined> }} Data */

/**
 * What was offered, what was achieved, and which objectives hold.
 *
 * @param {string} title
 * @param {Data} data
 * @param {{ [load: string]: number }} offered by load, a second
 * @returns {string}
 */
export function summaryText(title, { metrics }, offered) {
  const value = (/** @type {string} */ name, /** @type {string} */ statistic) => metrics[name]?.values[statistic];
  const lines = [title];
  for (const [load, rate] of Object.entries(offered)) {
    const begun = value(`iterations{scenario:${load}}`, 'rate');
    lines.push(`  ${load}: ${rate} a second to begin, ${begun?.toFixed(1) ?? 'n/a'} a second done, as an average from start to end of the run`);
  }
  const dropped = value('dropped_iterations', 'count') ?? 0;
  if (dropped > 0) {
    lines.push(`  ${dropped} iterations were never begun, as all VUs were busy: this load was not offered`);
  }
  for (const [name, what] of [
    ['claims', 'rewards claimed'],
    ['claims_without_goal', 'times there was nothing to claim'],
    ['e2e_missing', 'events were not seen in time'],
  ]) {
    const count = value(name, 'count');
    if (count !== undefined) {
      lines.push(`  ${count} ${what}`);
    }
  }
  const seen = metrics.e2e_visibility_ms?.values;
  if (seen !== undefined) {
    lines.push(`  from an event to its visibility: median ${seen.med} ms, p95 ${seen['p(95)']} ms, longest ${seen.max} ms`);
  }
  for (const [name, metric] of Object.entries(metrics)) {
    for (const [threshold, { ok }] of Object.entries(metric?.thresholds ?? {})) {
      lines.push(`  ${ok ? 'holds' : 'FAILS'}  ${name}: ${threshold}`);
    }
  }
  return `\n${lines.join('\n')}\n`;
}
