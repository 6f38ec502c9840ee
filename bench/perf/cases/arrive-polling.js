// The same by hand: arrivals go into a set in Redis, which the controller polls.
import { sleep } from 'k6';
import redis from 'k6/x/redis';

import { Clock, INTERVAL, Notes, REDIS_URL, ROUNDS, USERS, options as all, quiet, summary, userNumber } from './lib/rounds.js';

const client = new redis.Client(REDIS_URL);

export const options = all({ controller: { exec: 'controller', vus: 1 } });

export default async function () {
  const clock = new Clock();
  const notes = new Notes('ready', 'began', 'last', 'ended');
  const number = userNumber();
  const isLast = number === USERS;
  for (let round = 0; round < ROUNDS; round++) {
    const key = `JOINED:${round}`;
    notes.ready[round] = clock.now();
    clock.sleepUntil(isLast ? clock.instant(round) : clock.opens(round));
    if (isLast) {
      while ((await client.sendCommand('SCARD', key)) < USERS - 1) {
        sleep(0.05);
      }
      quiet();
    }
    notes[isLast ? 'last' : 'began'][round] = clock.now();
    await client.sadd(key, number);
    if (!isLast) {
      notes.ended[round] = clock.now();
    }
  }
  notes.report(clock);
}

export async function controller() {
  const clock = new Clock();
  const notes = new Notes('woke');
  for (let round = 0; round < ROUNDS; round++) {
    while ((await client.sendCommand('SCARD', `JOINED:${round}`)) < USERS) {
      sleep(INTERVAL);
    }
    notes.woke[round] = clock.now();
  }
  notes.report(clock);
}

export const handleSummary = summary;
