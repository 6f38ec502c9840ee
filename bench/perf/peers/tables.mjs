/** The figures of a run as tables of Markdown. */

/**
 * @typedef {{ waits: number, early: number, stuck: number, apart: number | null,
 *   seen?: { connections: number, reads: number, commands: number } }} Met one run in which all came
 * @typedef {{ name: string, users: number, runs: Met[] }} All a row of runs in which all came
 * @typedef {{ name: string, users: number, runs: import('./outcomes.mjs').Outcomes[] }} Fails a row in which one user failed
 */

const number = (value) => value.toLocaleString('en');
const sum = (runs, name) => runs.reduce((all, one) => all + one[name], 0);

function median(values) {
  const sorted = values.filter((value) => value !== null).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function table(heads, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(['', ...heads]).replace('|  |', '| |'), `|---|${heads.map(() => '---:|').join('')}`, ...rows.map(line)].join('\n');
}

/** Few digits, as nothing more is known. */
function short(value) {
  if (value === undefined) return '-';
  return value >= 100 ? number(Math.round(value)) : `${Number(value.toPrecision(2))}`;
}

/**
 * Who was let go too early, or never; with `distance` also how far apart, and what Redis saw where it was watched.
 *
 * @param {All[]} rows
 * @param {{ distance: boolean }} what
 */
export function all(rows, { distance }) {
  const watched = rows.some(({ runs }) => runs[0]?.seen);
  const heads = ['users of a round', 'waits', 'let go before all had come', 'never let go',
    ...(distance ? ['first to last let go, ms'] : []), ...(watched ? ['connections to Redis', 'reads from them, per user and round', 'commands in Redis, per user and round'] : [])];
  return table(heads, rows.map(({ name, users, runs }) => [
    name, `${users}`, ...['waits', 'early', 'stuck'].map((count) => number(sum(runs, count))),
    // Where somebody was early, the distance is that of two rounds.
    ...(distance ? [sum(runs, 'early') > 0 ? '-' : short(median(runs.map(({ apart }) => apart)))] : []),
    ...(watched ? [number(Math.max(...runs.map(({ seen }) => seen?.connections ?? 0))),
      ...['reads', 'commands'].map((what) => short(median(runs.map(({ seen }) => seen?.[what] ?? null))))] : []),
  ]));
}

/**
 * What became of those who waited for one that had failed.
 *
 * @param {Fails[]} rows
 */
export function fails(rows) {
  const columns = { came: 'others who came', went: 'let go', told: 'told by an error', named: 'learnt who is missing or how many failed', waiting: 'still waited at the end' };
  return table(['users', ...Object.values(columns)], rows.map(({ name, users, runs }) => [
    name, `${users}`, ...Object.keys(columns).map((column) => number(sum(runs, column))),
  ]));
}
