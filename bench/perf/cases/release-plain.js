// The floor of a release: users that sleep until one instant. Nothing but k6.
import { Clock, LOOK, Notes, ROUNDS, USERS, letLook, options as all, quiet, summary, userNumber } from './lib/rounds.js';

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'last', 'ended');
  const isLast = userNumber() === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    const instant = clock.instant(round);
    clock.sleepUntil(clock.opens(round));
    notes.ready[round] = clock.now();
    if (isLast) {
      notes.last[round] = instant;
      clock.sleepUntil(instant - 500 - LOOK * 1000);
      letLook(round);
      quiet();
    }
    clock.sleepUntil(instant);
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
