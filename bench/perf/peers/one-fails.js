// Users who are to meet at a Barrier once. The first one fails before it comes. k6 ends whoever waits when PATIENCE is over.
//
// Each other user writes `came N`, then `went N: why` or `told N: the error`.
import exec from 'k6/execution';
import { Barrier } from 'k6/x/barrier';

const USERS = Number(__ENV.USERS);

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: __ENV.PATIENCE, gracefulStop: '0s' },
  },
};

const barrier = new Barrier('peers', {
  parties: USERS,
  store: __ENV.STORE || 'memory',
  failUnaccounted: __ENV.MEET === 'barrier-accounts' ? ['users'] : undefined,
});

export default function () {
  const participant = exec.scenario.iterationInTest + 1;
  barrier.register({ participant });
  if (participant === 1) throw new Error('the login failed');
  console.log(`came ${participant}`);
  try {
    const { reason, failedTotal } = barrier.arriveAndWait({ participant });
    console.log(`went ${participant}: ${reason}, ${failedTotal} failed`);
  } catch (error) {
    console.log(`told ${participant}: ${error.message}`);
  }
}
