// Users of a release that is spread over two seconds: how far from its own instant each makes its next statement.
import { Barrier } from 'k6/x/barrier';

import { Clock, Notes, REDIS_URL, ROUNDS, SPREAD_MS, USERS, letLook, options as all, quiet, summary, userNumber } from './lib/rounds.js';

const release = { spread: SPREAD_MS };
const barrier = new Barrier('turns', { parties: USERS, cyclic: true, release, store: REDIS_URL || 'memory' });

export const options = all();

/** Makes a small difference of two clocks, of which one began much earlier, positive: only such ones are reported. */
const AHEAD = 4e12;

export default function () {
  const clock = new Clock();
  const notes = new Notes('off', 'wall', 'ended');
  const participant = userNumber();
  const isLast = participant === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    const opens = clock.opens(round) + round * SPREAD_MS;
    clock.sleepUntil(opens);
    if (participant === 1) {
      notes.wall[round] = AHEAD - clock.wallAtStart(); // by one for all, since it keeps a processor busy
    }
    if (isLast) {
      while (barrier.status().arrived < USERS - 1) {
        clock.sleepUntil(clock.now() + 50);
      }
      letLook(round);
      quiet();
    }
    const { dueAt } = barrier.arriveAndWait({ participant });
    notes.ended[round] = clock.now();
    notes.off[round] = AHEAD + notes.ended[round] - dueAt; // less `wall`, it is how late the statement is
  }
  clock.sleepUntil(clock.opens(ROUNDS) + ROUNDS * SPREAD_MS);
  notes.report(clock);
}

export const handleSummary = summary;
