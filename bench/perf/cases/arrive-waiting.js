// All arrive at once and wait: from the first call to the decision to release, as the store records it.
import { Barrier } from 'k6/x/barrier';

import { Clock, Notes, REDIS_URL, ROUNDS, USERS, options as all, summary, userNumber } from './lib/rounds.js';

const barrier = new Barrier('arrive-waiting', { parties: USERS, cyclic: true, store: REDIS_URL || 'memory' });

export const options = all();

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'decided', 'ended');
  const participant = userNumber();
  for (let round = 0; round < ROUNDS; round++) {
    let wall = 0;
    if (participant === 1) {
      clock.sleepUntil(clock.opens(round) - 100); // all is quiet
      wall = clock.wallAtStart();
    }
    notes.ready[round] = clock.now();
    clock.sleepUntil(clock.opens(round));
    notes.began[round] = clock.now();
    const { serverReleasedAt } = barrier.arriveAndWait({ participant });
    notes.ended[round] = clock.now();
    if (participant === 1) {
      notes.decided[round] = serverReleasedAt - wall; // one process shares the barrier with nobody: nothing lies between decision and instant
    }
  }
  notes.report(clock);
}

export const handleSummary = summary;
