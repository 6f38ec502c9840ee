// The floor of a spread release: users that sleep until the same instants. Nothing but k6.
import { Clock, Notes, ROUNDS, SPREAD_MS, USERS, options as all, summary, userNumber } from './lib/rounds.js';

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'last', 'off', 'ended');
  const place = userNumber() - 1;
  for (let round = 0; round < ROUNDS; round++) {
    const opens = clock.opens(round) + round * SPREAD_MS;
    const due = clock.instant(round) + round * SPREAD_MS + (place * SPREAD_MS) / USERS;
    clock.sleepUntil(opens);
    notes.ready[round] = clock.now();
    if (place === 0) {
      notes.last[round] = due; // all have to be asleep by then
    }
    clock.sleepUntil(due);
    notes.ended[round] = clock.now();
    notes.off[round] = notes.ended[round] - due;
  }
  clock.sleepUntil(clock.opens(ROUNDS) + ROUNDS * SPREAD_MS);
  notes.report(clock);
}

export const handleSummary = summary;
