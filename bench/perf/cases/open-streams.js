/**
 * USERS streams of the waiting room, each with one event a second, all open at the same time for SECONDS: how many events
 * are lost, and how late the others come.
 *
 *   waiting-room --ticks        prints its address
 *   k6 run -e BASE_URL=http://127.0.0.1:43121 -e USERS=10000 bench/perf/cases/open-streams.js
 *
 * An event's id is the full second of the wall clock at which it was sent. A server that does not keep up leaves seconds
 * out, so what a stream misses is what it got less than it lasted. Passes when no event is lost and no stream fails.
 */

import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';

const USERS = Number(__ENV.USERS ?? 10000);
/** How long all streams are open together, s. */
const SECONDS = Number(__ENV.SECONDS ?? 60);
/** Streams opened in a second. */
const RATE = Number(__ENV.RATE ?? 500);

/** The time in which streams are opened, s. */
const RAMP = Math.ceil(USERS / RATE);

const received = new Counter('stream_events_received');
const lost = new Counter('stream_events_lost');
const failed = new Counter('streams_failed');
/** From the second an event was sent at to its handler, ms; server and client share a clock. */
const delay = new Trend('stream_event_delay', true);

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: `${RAMP + SECONDS + 120}s` },
  },
  // Where a tool reads the result, the tool judges.
  thresholds: __ENV.RESULT
    ? {}
    : {
        stream_events_received: [`count>=${USERS * SECONDS}`],
        stream_events_lost: ['count==0'],
        streams_failed: ['count==0'],
      },
  summaryTrendStats: ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'],
  noVUConnectionReuse: true,
};

export default function () {
  const turn = Math.floor(exec.scenario.iterationInTest / RATE);
  sleep(turn);
  const seconds = SECONDS + RAMP - turn;

  let count = 0;
  const response = sse.open(`${__ENV.BASE_URL}/ticks?seconds=${seconds}`, { idleTimeout: '60s', tags: { name: 'ticks' } }, (client) => {
    client.on('event', (event) => {
      count++;
      delay.add(Date.now() - Number(event.data) * 1000);
    });
    client.on('error', () => {});
  });
  received.add(count);
  lost.add(Math.max(seconds - count, 0));
  failed.add(response.status === 200 && response.error === '' ? 0 : 1);
}

export function handleSummary({ metrics }) {
  const count = (name) => metrics[name]?.values.count ?? 0;
  const result = {
    received: count('stream_events_received'),
    lost: count('stream_events_lost'),
    failed: count('streams_failed'),
    delay: metrics.stream_event_delay?.values ?? {},
  };
  return { [__ENV.RESULT ?? 'stdout']: `${JSON.stringify(result)}\n` };
}
