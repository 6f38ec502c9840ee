// Who comes after the release passes and is counted, or gets an error.
import { check } from 'k6';
import { Barrier } from 'k6/x/barrier';

const tolerant = new Barrier('tolerant', { parties: 2, release: 1 });
const strict = new Barrier('strict', { parties: 2, release: 1, late: 'error' });

export const options = {
  scenarios: { users: { executor: 'per-vu-iterations', vus: 1, iterations: 1 } },
  thresholds: {
    checks: ['rate==1'],
    'barrier_arrivals{barrier:tolerant}': ['count==1'],
    'barrier_arrivals{barrier:strict}': ['count==1'],
  },
};

export default function () {
  tolerant.arriveAndWait({ participant: 'first' });
  const second = tolerant.arriveAndWait({ participant: 'second' });
  check(second, {
    'the second one passes': (r) => r.reason === 'late' && r.outcome === 'late',
    'and changes no count of the release': (r) => r.arrived === 1,
    'but is counted': () => tolerant.status().late === 1,
  });

  strict.arriveAndWait({ participant: 'first' });
  let error;
  try {
    strict.arriveAndWait({ participant: 'second' });
  } catch (e) {
    error = e;
  }
  check(error, { 'the second one gets an error': (e) => e.name === 'BarrierLateError' });
}
