// Matchmaking: users pair up as they come, and each tells the other where to find it.
import { check } from 'k6';
import { Group } from 'k6/x/barrier';

const PAIRS = 20;

export const options = {
  scenarios: { players: { executor: 'shared-iterations', vus: 8, iterations: 2 * PAIRS } },
  thresholds: { checks: ['rate==1'], barrier_groups: [`count==${PAIRS}`], barrier_group_timeouts: ['count==0'] },
};

const lobby = new Group('lobby', { size: 2, timeout: '30s' });

export default function () {
  const { group, index, members, reason } = lobby.join({ payload: `room-of-${__VU}` });
  const [host, guest] = members;
  const other = index === 1 ? guest : host;
  check(other, {
    'two are a pair': () => members.length === 2 && reason === 'all',
    'the other is another': () => other.participant !== `${__VU}`,
    'the other says where it is': () => other.payload === `room-of-${other.participant}`,
    'pairs are numbered': () => group >= 1 && group <= PAIRS,
  });
  // Whoever came first opens the room of the pair; the other goes there: host.payload.
}
