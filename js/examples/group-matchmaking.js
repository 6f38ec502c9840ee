// Matchmaking: users pair up as they come, and each tells the other where to find it.
import exec from 'k6/execution';
import { check } from 'k6';
import { Group } from 'k6/x/barrier';

const PAIRS = 20;

export const options = {
  scenarios: { players: { executor: 'shared-iterations', vus: 8, iterations: 2 * PAIRS } },
  // Of several processes each counts the pairs whose first member is its own.
  thresholds: { checks: ['rate==1'], barrier_groups: ['count>0'], barrier_group_timeouts: ['count==0'] },
};

const lobby = new Group('lobby', { size: 2, store: __ENV.REDIS_URL || 'memory', timeout: '30s' });

export default function () {
  const me = `${exec.vu.idInTest}`; // the participant by default; __VU begins with 1 in each process
  const { group, index, members, reason } = lobby.join({ payload: `room-of-${me}` });
  const [host, guest] = members;
  const other = index === 1 ? guest : host;
  check(other, {
    'two are a pair': () => members.length === 2 && reason === 'all',
    'the other is another': () => other.participant !== me,
    'the other says where it is': () => other.payload === `room-of-${other.participant}`,
    'pairs are numbered': () => group >= 1 && group <= PAIRS,
  });
  // Whoever came first opens the room of the pair; the other goes there: host.payload.
}
