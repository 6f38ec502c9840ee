// Everybody who is running meets, however many that are: while a ramp adds users and takes them away again.
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { Barrier } from 'k6/x/barrier';

const MOST = 6;

export const options = {
  scenarios: {
    users: {
      executor: 'ramping-vus',
      startVUs: 2,
      stages: [
        { duration: '3s', target: MOST },
        { duration: '2s', target: MOST },
        { duration: '3s', target: 1 },
      ],
    },
  },
  thresholds: {
    checks: ['rate==1'],
    meetings_of_all: ['count>0'],
    barrier_timeouts: ['count==0'],
  },
};

const barrier = new Barrier('crowd', { parties: { running: ['users'], atLeast: 2 }, cyclic: true, timeout: '60s' });
const meetingsOfAll = new Counter('meetings_of_all');

export default function () {
  const { arrived, parties, reason } = barrier.arriveAndWait();
  check(null, {
    'all who ran have met': () => arrived === parties && parties <= MOST && reason === 'all',
  });
  if (arrived === MOST) {
    meetingsOfAll.add(1);
  }
  sleep(0.1);
}
