// @ts-check
/**
 * What looks like chance, made of the number of an iteration: two runs do the same. Needs nothing of k6.
 */

const KEY = 0x6d32;
/** Statistics that events tell of, each as often as the others. */
export const STATISTICS = ['enemy_kills', 'login_count', 'games_played', 'headshots', 'wins'];
/** Share of events that are logins. */
const LOGINS = 0.2;
/** Values are below this. */
const VALUES = 1000;

/**
 * A number from 0 up to 1, the same for the same numbers.
 *
 * @param {number[]} of
 */
export function draw(...of) {
  let state = KEY;
  for (const number of of) {
    state = Math.imul(state ^ number, 0x9e3779b1);
    state ^= state >>> 15;
    state = Math.imul(state, 0x85ebca77);
    state ^= state >>> 13;
  }
  return (state >>> 0) / 2 ** 32;
}

/**
 * The id of a user.
 *
 * @param {number} number from 1
 */
export function userId(number) {
  return `user-${String(number).padStart(6, '0')}`;
}

/**
 * One of the users.
 *
 * @param {number} iteration
 * @param {number} users
 */
export function someUser(iteration, users) {
  return userId(1 + Math.floor(draw(iteration, 1) * users));
}

/**
 * The event of an iteration: a login, or a new value of a statistic.
 *
 * @param {number} iteration
 * @param {number} users
 * @returns {{ userId: string, statistic?: { statCode: string, latestValue: number } }}
 */
export function eventOf(iteration, users) {
  const user = someUser(iteration, users);
  if (draw(iteration, 2) < LOGINS) {
    return { userId: user };
  }
  const statCode = STATISTICS[Math.floor(draw(iteration, 3) * STATISTICS.length)];
  return { userId: user, statistic: { statCode, latestValue: Math.floor(draw(iteration, 4) * VALUES) } };
}

/**
 * How many changes of goals' progress an event asks for. Logins count themselves: a value of `login_count` changes nothing.
 *
 * @param {string | undefined} statCode of a login none
 * @param {number} goals that ask for the same
 */
export function goalUpdates(statCode, goals) {
  return statCode === 'login_count' ? 0 : goals;
}
