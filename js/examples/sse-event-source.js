// The EventSource of browsers: it connects again after the connection was lost, and resumes where it was.
//
//   k6 run -e SSE_URL=http://localhost:8080/stream js/examples/sse-event-source.js
import { EventSource } from 'k6/x/sse';

const url = __ENV.SSE_URL || 'http://localhost:8080/stream';

export default function () {
  // The iteration ends when the source is closed, here after ten seconds at the latest.
  const source = new EventSource(url, { timeout: '10s', reconnectDelay: '1s' });
  let left = 5;

  source.onopen = () => console.log('connected');

  source.onmessage = (event) => {
    console.log(`${event.lastEventId}: ${event.data}`);
    left -= 1;
    if (left === 0) {
      source.close();
    }
  };

  source.addEventListener('news', (event) => console.log(`news: ${event.data}`));

  source.onerror = (event) => {
    const next = source.readyState === EventSource.CLOSED ? 'closed' : 'connecting again';
    console.warn(`${event.message || 'the server ended the stream'}: ${next}`);
  };
}
