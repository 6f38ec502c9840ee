/**
 * How those fared who waited for a user that had failed before it came.
 *
 * A run writes a line for each thing that happens to a user: `came 7`, before it asks to wait; then `went 7`, where it goes
 * on, or `told 7: …`, where an error says why not. What comes after the number is the tool's own. Who has come and neither
 * went nor was told still waited when the run was ended.
 */

/**
 * @typedef {{ came: number, went: number, told: number, named: number, waiting: number }} Outcomes named: who went on or
 *   was told, and could read who was missing or how many had failed
 */

/**
 * @param {string} text what a run wrote; other lines are passed over
 * @param {{ came: number, named: RegExp }} expected how many have to have come, and what a line has in it that says who is
 *   missing or that somebody has failed
 * @returns {Outcomes}
 * @throws where another number of users came, or one came twice or went on without having come
 */
export function outcomes(text, expected) {
  const came = new Set();
  const over = new Map();
  let named = 0;
  for (const [line, what, user] of text.matchAll(/^(came|went|told) (\S+?)(?::.*)?$/gm)) {
    const [seen, add] = what === 'came' ? [came.has(user), () => came.add(user)] : [over.has(user) || !came.has(user), () => over.set(user, what)];
    if (seen) throw new Error(`${JSON.stringify(line)} does not follow from what came before`);
    add();
    if (what !== 'came' && expected.named.test(line)) named += 1;
  }
  if (came.size !== expected.came) throw new Error(`${came.size} of ${expected.came} users came`);
  const went = [...over.values()].filter((what) => what === 'went').length;
  return { came: came.size, went, told: over.size - went, named, waiting: came.size - over.size };
}
