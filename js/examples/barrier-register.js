// A participant with a name of its own: the users of two scenarios have ids that say who they are, and those who are
// missing can be told.
import { check } from 'k6';
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const BUYERS = 3;
const SELLERS = 2;

const barrier = new Barrier('market', { parties: BUYERS + SELLERS, timeout: '20s', failUnaccounted: ['sellers'] });
const closing = new Barrier('closing', { parties: BUYERS, timeout: '20s' });

export const options = {
  scenarios: {
    buyers: { executor: 'per-vu-iterations', vus: BUYERS, iterations: 1, exec: 'buyer' },
    sellers: { executor: 'per-vu-iterations', vus: SELLERS, iterations: 1, exec: 'seller' },
  },
  thresholds: {
    checks: ['rate==1'],
    'barrier_arrivals{barrier:market}': [`count==${BUYERS + SELLERS - 1}`],
    'barrier_failures{reason:iteration-ended}': ['count==1'],
    'barrier_arrivals{barrier:closing}': [`count==${BUYERS}`],
  },
};

export function buyer() {
  const number = exec.scenario.iterationInTest + 1;
  barrier.register({ participant: number }); // the default of all calls from here on

  check(barrier.arriveAndWait(), {
    'the market opens': (r) => r.arrived === BUYERS + SELLERS - 1,
    'a repeated arrival is the same participant': () => barrier.arrive().outcome === 'arrived',
  });

  closing.register({ participant: number });
  if (number === 1) {
    let error;
    try {
      closing.wait({ timeout: '300ms' });
    } catch (e) {
      error = e;
    }
    check(error, { 'it is told who is missing': (e) => e.message.includes('missing 1') });
  }
  check(closing.arriveAndWait(), { 'the market closes': (r) => r.arrived === BUYERS });
}

export function seller() {
  const number = BUYERS + exec.scenario.iterationInTest + 1;
  barrier.register({ participant: number });
  if (number === BUYERS + SELLERS) {
    return; // dies, and is accounted for under its own id
  }
  barrier.arriveAndWait();
}
