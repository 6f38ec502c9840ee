// The same box office, for people who hear of their place on a stream.
import sse from 'k6/x/sse';

export { leave, logIn, setEventStatus } from './shows.js';

export function wait(settings, session, eventId, place) {
  let failure = '';
  const { status, body } = sse.open(
    `${settings.baseUrl}/shows/${eventId}/numbers`,
    { headers: session, timeout: place.limitMs, idleTimeout: settings.sseIdleTimeoutMs },
    (client) => {
      client.on('event', ({ name }) => {
        if (name === 'ahead') {
          place.position(); // the first time, the user arrives at the barrier
        } else if (name === 'called') {
          place.promoted();
          client.close();
        }
      });
      client.on('error', (error) => (failure = error.error()));
    },
  );
  if (status !== 200 || failure !== '') {
    throw new Error(`status ${status} ${failure} ${body}`); // `body`: what came instead of a stream
  }
}
