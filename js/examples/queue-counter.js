// Counts waiting queues in Redis whatever type they have: a sorted set, a hash, or none yet.
// It writes and deletes keys that begin with K6_EXAMPLE_QUEUE.
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import redis from 'k6/x/redis';
import { QueueCounter } from 'k6/x/barrier';

const REDIS_URL = __ENV.REDIS_URL || 'redis://127.0.0.1:6379';
const ZSET = 'K6_EXAMPLE_QUEUE:zset';
const HASH = 'K6_EXAMPLE_QUEUE:hash';
const NONE = 'K6_EXAMPLE_QUEUE:none';
const TEXT = 'K6_EXAMPLE_QUEUE:text';

const completed = new Counter('example_completed');
const client = new redis.Client(REDIS_URL);
const queues = new QueueCounter({ redis: REDIS_URL, keys: [ZSET, HASH, NONE], timeout: '5s' });
const wrong = new QueueCounter({ redis: REDIS_URL, keys: [ZSET, TEXT] });

export const options = {
  scenarios: { counter: { executor: 'per-vu-iterations', vus: 1, iterations: 1 } },
  thresholds: { checks: ['rate==1'], example_completed: ['count==1'] },
};

export async function setup() {
  await client.del(ZSET, HASH, NONE, TEXT);
  await client.sendCommand('ZADD', ZSET, '1', 'alice', '2', 'bob', '3', 'carol');
  await client.hset(HASH, 'dave', '4');
  await client.set(TEXT, 'not a queue');
}

export default async function () {
  check(queues.counts(), {
    'a sorted set counts': (c) => c[ZSET] === 3,
    'a hash counts': (c) => c[HASH] === 1,
    'a missing key is 0': (c) => c[NONE] === 0,
  });
  check(queues.total(), { 'all together': (n) => n === 4 });

  let error;
  try {
    wrong.counts();
  } catch (e) {
    error = e;
  }
  check(error, { 'any other type is an error': (e) => e.name === 'QueueTypeError' && e.key === TEXT && e.type === 'string' });

  const filled = queues.asyncWaitFor(5, { timeout: '5s', interval: '20ms' });
  await client.hset(HASH, 'erin', '5');
  check(await filled, { 'waitFor sees the fifth': (q) => q.total === 5 });
  completed.add(1); // a check that was never reached fails nothing
}

export async function teardown() {
  await client.del(ZSET, HASH, NONE, TEXT);
}
