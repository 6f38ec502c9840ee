// Users that meet at a barrier, in memory or over Redis. All wait when the last one comes.
import { Barrier } from 'k6/x/barrier';

// The same names as in release-plain.js: each costs every user memory, and what is measured is the barrier.
import { Clock, Notes, ROUNDS, USERS, letLook, options as all, quiet, summary, userNumber } from './lib/rounds.js';

const barrier = new Barrier('release', { parties: USERS, cyclic: true, store: __ENV.REDIS_URL || 'memory' });

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('began', 'last', 'ended');
  const participant = userNumber();
  const isLast = participant === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    clock.sleepUntil(isLast ? clock.instant(round) : clock.opens(round));
    if (isLast) {
      while (barrier.status().arrived < USERS - 1) {
        clock.sleepUntil(clock.now() + 50);
      }
      letLook(round);
      quiet();
    }
    notes[isLast ? 'last' : 'began'][round] = clock.now();
    barrier.arriveAndWait({ participant });
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
