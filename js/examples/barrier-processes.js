// One barrier for several k6 processes, over Redis. All of them need the same run id:
//
//   export REDIS_URL=redis://127.0.0.1:6379 K6_BARRIER_RUN_ID=$(date +%s)
//   k6 run --execution-segment 0:1/2 --execution-segment-sequence 0,1/2,1 js/examples/barrier-processes.js &
//   k6 run --execution-segment 1/2:1 --execution-segment-sequence 0,1/2,1 js/examples/barrier-processes.js
//
// Run as one process, all users are in it.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = 10;

const barrier = new Barrier('everywhere', {
  parties: USERS,
  store: __ENV.REDIS_URL || 'redis://127.0.0.1:6379',
  timeout: '30s',
});

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    barrier_timeouts: ['count==0'],
    'barrier_arrivals{barrier:everywhere}': ['count>0'],
    'barrier_wait_duration{barrier:everywhere}': ['max>0'],
  },
};

export default function () {
  // The number of the iteration has no gaps across processes; it makes good ids, and those who are missing can be named.
  const participant = exec.scenario.iterationInTest + 1;

  const released = barrier.arriveAndWait({ participant });

  check(released, {
    'the users of all processes were there': (r) => r.arrived === USERS,
    'all processes wake at one instant of the server': (r) => r.serverReleasedAt > 0,
  });
}
