// The same rendezvous by hand: a set in Redis that everybody polls.
import { sleep } from 'k6';
import redis from 'k6/x/redis';

import {
  Clock, INTERVAL, Notes, REDIS_URL, ROUNDS, USERS, letLook, options as all, quiet, summary, userNumber,
} from './lib/rounds.js';

const client = new redis.Client(REDIS_URL);

export const options = all();

export default async function () {
  const clock = new Clock();
  const notes = new Notes('began', 'last', 'ended');
  const number = userNumber();
  const isLast = number === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    const key = `JOINED:${round}`;
    clock.sleepUntil(isLast ? clock.instant(round) : clock.opens(round));
    if (isLast) {
      while ((await client.sendCommand('SCARD', key)) < USERS - 1) {
        sleep(0.05);
      }
      letLook(round);
      quiet();
    }
    notes[isLast ? 'last' : 'began'][round] = clock.now();
    await client.sadd(key, number);
    while ((await client.sendCommand('SCARD', key)) < USERS) {
      sleep(INTERVAL);
    }
    notes.ended[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
