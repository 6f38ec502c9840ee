// @ts-check
/**
 * What users write, and what else would be left to chance. All of it follows from a fixed key, the user and the iteration,
 * so that two runs with the same settings ask the same. Needs nothing of k6.
 */

/** A change of the key is a change of the fixture: earlier runs cannot be compared with it. */
const KEY = 0x5eed;

/** Different prompts: ten of each length. */
const PROMPTS = 30;

/** Words of a prompt: a question, a paragraph, a page. */
const LENGTHS = [8, 40, 200];

const WORDS = (
  'the a of which how why where under before between light river signal engine market harbour winter letter table copper ' +
  'morning pattern garden question bridge number silver travel answer window measure compare explain list name change'
).split(' ');

/**
 * A number from 0 up to, but not including, 1: always the same for the same arguments.
 *
 * @param {...number} of whole numbers
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
 * A number of milliseconds within a span, by a draw.
 *
 * @param {import('./settings.js').Span} span
 * @param {number} drawn 0..1
 */
export function within({ from, to }, drawn) {
  return from + Math.round((to - from) * drawn);
}

/** The fixed list of prompts of three lengths, as many of each. Made once for all VUs: it takes some milliseconds. */
export function allPrompts() {
  return Array.from({ length: PROMPTS }, (_, number) => {
    const length = LENGTHS[number % LENGTHS.length];
    return Array.from({ length }, (_, word) => WORDS[Math.floor(draw(number, word, length) * WORDS.length)]).join(' ');
  });
}

/**
 * What a user asks in an iteration.
 *
 * @param {readonly string[]} prompts
 * @param {number} user from 1
 * @param {number} iteration of that user, from 0
 */
export function promptOf(prompts, user, iteration) {
  return prompts[Math.floor(draw(user, iteration) * prompts.length)];
}
