// When one user never comes: the wait throws and says who is missing, releases the others, or breaks the barrier.
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';

const USERS = 3; // and one more is expected

const throws = new Barrier('throws', { parties: USERS + 1, timeout: '500ms' });
const releases = new Barrier('releases', { parties: USERS + 1, timeout: '500ms', onTimeout: 'release' });
const aborts = new Barrier('aborts', { parties: USERS + 1, timeout: '500ms', onTimeout: 'abort' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    'barrier_timeouts{barrier:throws}': [`count==${USERS}`],
    'barrier_timeouts{barrier:releases}': ['count==0'],
    'barrier_arrivals{barrier:aborts}': [`count==${USERS}`],
  },
};

function errorOf(call) {
  try {
    call();
  } catch (e) {
    return e;
  }
  return undefined;
}

export default function () {
  const participant = __VU;

  const timeout = errorOf(() => throws.arriveAndWait({ participant }));
  check(timeout, {
    'the wait throws': (e) => e instanceof Error && e.name === 'BarrierTimeoutError',
    'and says who is missing': (e) => e.message.includes('3 of 4 arrived') && e.message.includes('missing 4'),
  });

  const released = releases.arriveAndWait({ participant });
  check(released, { 'the first to expire releases all': (r) => r.reason === 'timeout' && r.arrived === USERS });

  const broken = errorOf(() => aborts.arriveAndWait({ participant }));
  check(broken, {
    'the first to expire breaks it for all': (e) => e.name === 'BarrierBrokenError',
    'for good': () => errorOf(() => aborts.arrive({ participant })).name === 'BarrierBrokenError',
  });
}
