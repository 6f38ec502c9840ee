// One user counts queues, in turn by a QueueCounter and as a script does it by hand: TYPE, then ZCARD or HLEN, key by key.
import { Trend } from 'k6/metrics';
import { QueueCounter } from 'k6/x/barrier';
import redis from 'k6/x/redis';

import { Clock, REDIS_URL, summary } from './lib/rounds.js';

const COUNTS = Number(__ENV.COUNTS); // the warm-up included
const SIZE = 20;
const client = new redis.Client(REDIS_URL);
const queues = [5, 100].map((length) => {
  const keys = Array.from({ length }, (_, at) => `WAITING:${length}:${at}`);
  return { keys, counter: new QueueCounter({ redis: REDIS_URL, keys }) };
});

const counted = new Trend('counted');
const byScript = new Trend('by_script');
const roundTrips = new Trend('round_trips');

const metrics = ['counted', 'by_script', 'round_trips'];
export const options = {
  vus: 1,
  iterations: 1,
  thresholds: Object.fromEntries(metrics.flatMap((name) => queues.map((_, at) => [`${name}{round:${at + 1}}`, ['max>=0']]))),
  summaryTrendStats: ['count', 'min', 'med', 'max'],
};

/** Sorted sets and hashes, half and half. */
export async function setup() {
  for (const { keys } of queues) {
    for (const [at, key] of keys.entries()) {
      for (let member = 0; member < SIZE; member++) {
        await client.sendCommand(...(at % 2 ? ['HSET', key, member, 'x'] : ['ZADD', key, member, `m${member}`]));
      }
    }
  }
}

async function byHand(keys) {
  const counts = {};
  for (const key of keys) {
    const type = await client.sendCommand('TYPE', key);
    counts[key] = type === 'zset' ? await client.sendCommand('ZCARD', key) : await client.sendCommand('HLEN', key);
  }
  return counts;
}

function check(counts, keys) {
  if (keys.some((key) => counts[key] !== SIZE)) {
    throw new Error(`counted ${JSON.stringify(counts)}, expected ${SIZE} each`);
  }
}

/** How often the server has read from its clients. */
async function reads() {
  return Number(/total_reads_processed:(\d+)/.exec(await client.sendCommand('INFO', 'stats'))[1]);
}

export default async function () {
  const clock = new Clock();
  for (const [at, { keys, counter }] of queues.entries()) {
    const tags = { round: String(at + 1) };
    for (let turn = 0; turn < COUNTS; turn++) {
      const began = clock.now();
      const ours = counter.counts();
      const between = clock.now();
      const theirs = await byHand(keys);
      const ended = clock.now();
      check(ours, keys);
      check(theirs, keys);
      if (turn > 0) {
        counted.add(between - began, tags);
        byScript.add(ended - between, tags);
      }
    }
    const before = await reads();
    counter.counts();
    roundTrips.add((await reads()) - before - 1, tags); // the question itself is one
  }
}

export const handleSummary = summary;
