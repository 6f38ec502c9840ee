// The floor of an arrival of all at once: users that do nothing there. Nothing but k6.
import { Clock, Notes, ROUNDS, options as all, summary } from './lib/rounds.js';

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'ended');
  for (let round = 0; round < ROUNDS; round++) {
    notes.ready[round] = clock.now();
    clock.sleepUntil(clock.opens(round));
    notes.began[round] = clock.now();
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
