// All come at once to one barrier: from the first call to the last user's next statement. Beside meet-groups.js.
import { Barrier } from 'k6/x/barrier';

import { Clock, Notes, REDIS_URL, ROUNDS, USERS, options as all, summary, userNumber } from './lib/rounds.js';

const barrier = new Barrier('meet', { parties: USERS, cyclic: true, store: REDIS_URL || 'memory' });

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'ended');
  const participant = userNumber();
  for (let round = 0; round < ROUNDS; round++) {
    notes.ready[round] = clock.now();
    clock.sleepUntil(clock.opens(round));
    notes.began[round] = clock.now();
    barrier.arriveAndWait({ participant });
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
