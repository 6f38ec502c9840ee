// All come at once and are put into groups of four: from the first call to the last user's next statement. Beside meet-barrier.js.
import { Group } from 'k6/x/barrier';

import { Clock, Notes, REDIS_URL, ROUNDS, options as all, summary, userNumber } from './lib/rounds.js';

const lobby = new Group('meet', { size: 4, store: REDIS_URL || 'memory' });

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'ended');
  const participant = userNumber();
  for (let round = 0; round < ROUNDS; round++) {
    notes.ready[round] = clock.now();
    clock.sleepUntil(clock.opens(round));
    notes.began[round] = clock.now();
    lobby.join({ participant });
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
