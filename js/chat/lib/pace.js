// @ts-check
/** Samples in the text of a /metrics. Needs nothing of k6. */

/** What counts the loop's ticks; a stall is seen by it alone. */
export const TICKS = 'backend_loop_ticks_total';

/**
 * The value of a sample, with labels or without; the first one where there are several. Undefined where there is none, or
 * no number.
 *
 * @param {unknown} text
 * @param {string} name
 * @returns {number | undefined}
 */
export function sampleOf(text, name) {
  for (const line of linesOf(text)) {
    if (line.startsWith(name)) {
      const found = /^(?:\{.*\})?\s+(\S+)/.exec(line.slice(name.length));
      const value = Number(found?.[1]);
      if (found && Number.isFinite(value)) {
        return value;
      }
    }
  }
  return undefined;
}

/**
 * The names of samples that hold a word, in whatever case.
 *
 * @param {unknown} text
 * @param {string} word
 */
export function namesWith(text, word) {
  const names = linesOf(text).map((line) => line.split(/[\s{]/, 1)[0]);
  return [...new Set(names)].filter((name) => name.toLowerCase().includes(word));
}

/** @param {unknown} text */
function linesOf(text) {
  return String(text ?? '')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}
