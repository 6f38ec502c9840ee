// All but one arrive at once and do not wait. When all is quiet the last one arrives, and a controller that waits wakes.
import { sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';

import { Clock, Notes, REDIS_URL, ROUNDS, USERS, options as all, quiet, summary, userNumber } from './lib/rounds.js';

const barriers = Array.from({ length: ROUNDS }, (_, round) =>
  new Barrier(`arrive-${round}`, { parties: USERS, store: REDIS_URL || 'memory' }));

export const options = all({ controller: { exec: 'controller', vus: 1 } });

export default function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'last', 'ended');
  const participant = userNumber();
  const isLast = participant === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    notes.ready[round] = clock.now();
    clock.sleepUntil(isLast ? clock.instant(round) : clock.opens(round));
    if (isLast) {
      while (barriers[round].status().arrived < USERS - 1) {
        sleep(0.05);
      }
      quiet();
    }
    notes[isLast ? 'last' : 'began'][round] = clock.now();
    barriers[round].arrive({ participant });
    if (!isLast) {
      notes.ended[round] = clock.now();
    }
  }
  notes.report(clock);
}

export function controller() {
  const clock = new Clock();
  const notes = new Notes('woke');
  for (let round = 0; round < ROUNDS; round++) {
    barriers[round].wait();
    notes.woke[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
