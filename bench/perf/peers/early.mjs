/**
 * Counts who went on before all had come.
 *
 * A user notes when it comes, before it asks to wait, and when it goes on. In a round that keeps its promise nobody goes on
 * before the last of all has come, by whichever clock they share.
 */

/**
 * @typedef {{ came: (number | null)[], went: (number | null)[] }} Notes one user's instants of each round, on a clock that
 *   all users share; null where it did not get there
 * @typedef {{ waits: number, early: number, stuck: number }} Count waits that were begun; of these, those that ended before
 *   all had come, and those that never ended
 */

/**
 * Counts over all rounds.
 *
 * @param {Notes[]} users
 * @param {number} rounds
 * @returns {Count}
 */
export function count(users, rounds) {
  let [waits, early, stuck] = [0, 0, 0];
  for (let round = 0; round < rounds; round += 1) {
    const last = Math.max(...users.map((user) => user.came[round] ?? Infinity));
    for (const { came, went } of users) {
      if (came[round] == null) continue;
      waits += 1;
      if (went[round] == null) stuck += 1;
      else if (went[round] < last) early += 1;
    }
  }
  return { waits, early, stuck };
}

/**
 * Reads the lines that the users of a run wrote.
 *
 * @param {string} text
 * @param {number} users how many have to have written one
 * @returns {Notes[]}
 * @throws where there are more or fewer, or one is no line of a user
 */
export function read(text, users) {
  const lines = text.split('\n').filter((line) => line !== '');
  const notes = lines.filter((line) => line.startsWith('{"came"')).map((line) => JSON.parse(line));
  if (notes.length !== users) {
    const other = lines.find((line) => !line.startsWith('{"came"')); // what went wrong, where the tool says so
    throw new Error(`${notes.length} of ${users} users wrote what they noted${other ? `; the first other line: ${other.slice(0, 500)}` : ''}`);
  }
  return notes;
}

/**
 * How far apart those of a round were let go: from the first to the last, the median of the rounds. It says something only
 * of rounds in which nobody was early.
 *
 * @param {Notes[]} users
 * @param {number} rounds
 * @returns {number | null} in the unit of the notes; null where in no round everybody was let go
 */
export function apart(users, rounds) {
  const distances = [];
  for (let round = 0; round < rounds; round += 1) {
    const went = users.map((user) => user.went[round]);
    if (went.some((instant) => instant == null)) continue;
    distances.push(Math.max(.../** @type {number[]} */ (went)) - Math.min(.../** @type {number[]} */ (went)));
  }
  distances.sort((a, b) => a - b);
  return distances[Math.floor(distances.length / 2)] ?? null;
}
