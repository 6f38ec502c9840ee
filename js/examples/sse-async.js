// Holds several streams at once in each virtual user, and goes on with other work meanwhile.
//
//   k6 run -e SSE_URL=http://localhost:8080/stream js/examples/sse-async.js
import { check } from 'k6';
import { clearInterval, setInterval } from 'k6/timers';
import { asyncOpen } from 'k6/x/sse';

const url = __ENV.SSE_URL || 'http://localhost:8080/stream';

// Reads a stream until it has seen a number of events.
function take(count) {
  let left = count;
  return asyncOpen(url, { timeout: '30s' }, (client) => {
    client.on('event', (event) => {
      if (event.data !== '') {
        left -= 1;
      }
      if (left === 0) {
        client.close();
      }
    });
  });
}

export default async function () {
  const timer = setInterval(() => console.log('the streams are open'), 1000);
  const results = await Promise.all([take(1), take(2), take(3)]);
  clearInterval(timer);

  check(results, {
    'all were streams': (all) => all.every((r) => r.status === 200),
    'none failed': (all) => all.every((r) => r.error === ''),
  });
}
