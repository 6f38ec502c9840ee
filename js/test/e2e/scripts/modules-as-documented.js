/** A script as users of these two modules have written it for years, which knows nothing of this project. */
import { check } from 'k6';
import redis from 'k6/x/redis';
import sse from 'k6/x/sse';

const client = new redis.Client(__ENV.REDIS_URL);

export const options = {
  vus: 3,
  iterations: 3,
  thresholds: { checks: ['rate==1'], sse_event: ['count>=12'] },
};

export async function setup() {
  await client.sendCommand('HSET', 'crocodiles', 'a', '1', 'b', '2');
  const answer = await client.set('greeting', 'hello', 60);
  check(await client.hlen('crocodiles'), { 'setup awaits': (length) => length === 2 });
  return { answer };
}

export default async function (data) {
  const url = `${__ENV.SSE_URL}`;
  const params = {
    method: 'GET',
    headers: { Authorization: 'Bearer XXXX' },
    tags: { my_k6s_tag: 'hello sse' },
  };

  const response = sse.open(url, params, function (client) {
    client.on('open', function open() {
      console.log('connected');
    });

    client.on('event', function (event) {
      console.log(`event id=${event.id}, name=${event.name}, data=${event.data}`);
      if (parseInt(event.id) === 4) {
        client.close();
      }
    });

    client.on('error', function (e) {
      console.log('An unexpected error occurred: ', e.error());
    });
  });

  check(response, { 'status is 200': (r) => r && r.status === 200 });

  check(data, { 'setup data': ({ answer }) => answer === 'OK' });
  check(await client.get('greeting'), { 'get awaits': (value) => value === 'hello' });
  await client
    .incr('visits')
    .then((visits) => client.set(`visit:${visits}`, 'seen', 0))
    .then((answer) => check(answer, { 'a chain of promises runs': (text) => text === 'OK' }))
    .finally(() => console.log('chain done'));
  await client.get('no such key').then(
    () => check(null, { 'a missing key rejects': () => false }),
    (error) => check(error, { 'a missing key rejects': (e) => `${e}`.includes('redis: nil') || `${e.message}`.includes('redis: nil') }),
  );
}

export async function teardown() {
  check(Number(await client.sendCommand('DEL', 'crocodiles')), { 'teardown awaits': (removed) => removed === 1 });
}
