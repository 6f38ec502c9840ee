// Reads one stream to its end. sse.open() blocks the virtual user meanwhile; see sse-async.js for streams that do not.
//
//   k6 run -e SSE_URL=http://localhost:8080/stream js/examples/sse-open.js
import { check } from 'k6';
import sse from 'k6/x/sse';

const url = __ENV.SSE_URL || 'http://localhost:8080/stream';

export default function () {
  let events = 0;

  const result = sse.open(url, { idleTimeout: '15s', tags: { name: 'stream' } }, (client) => {
    client.on('open', () => {
      console.log(`status ${client.status}, ${client.headers['Content-Type']}`);
    });

    client.on('event', (event) => {
      if (event.data === '') {
        return; // a heartbeat: a comment without data
      }
      events += 1;
      console.log(`id=${event.id} name=${event.name} data=${event.data}`);
      if (events === 3) {
        client.close();
      }
    });

    client.on('error', (error) => {
      console.error(`${error.name}: ${error.message}`);
    });
  });

  check(result, {
    'status is 200': (r) => r.status === 200,
    'ended without an error': (r) => r.error === '',
  });
}
