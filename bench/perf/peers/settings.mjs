/** What `run.mjs` is asked for: its options, and what they are where nothing is said. */
import { parseArgs } from 'node:util';

/** How many users meet and how often, where nothing else is said. */
export const DEFAULTS = {
  jmeter: { users: [10, 100, 500], rounds: 50 },
  redis: { users: [100, 1000], rounds: 5 },
  locust: { users: [100, 1000], rounds: 10 },
  gatling: { users: [100, 1000], rounds: 10 },
};
const NAMES = Object.keys(DEFAULTS);
/** More users than this are no question of a desk: each of JMeter's is a thread, each of k6/x/redis a connection. */
const MOST = { users: 5000, rounds: 1000, cycles: 100 };

export const HELP = `Lets users meet in other tools and in k6-barrier, and counts how they fared.

  node bench/perf/peers/run.mjs [--only NAMES] [--users LIST] [--rounds N] [--cycles N]

  --only NAMES    which peers, with commas; all where nothing is said:
                    jmeter    its Synchronizing Timer; needs java and mvn
                    redis     a barrier by hand: k6/x/redis, a counter that everybody polls; needs redis-server
                    locust    a barrier by hand: in one process, and by messages between two workers;
                              needs python3 and redis-server
                    gatling   its rendezVous; needs javac and mvn
  --users LIST    how many users meet, 2 to ${MOST.users}, with commas
  --rounds N      how often they meet in a run, 1 to ${MOST.rounds}
                  Where nothing is said: ${NAMES.map((name) => `${name} ${DEFAULTS[name].users.join(',')} and ${DEFAULTS[name].rounds}`).join('; ')}
  --cycles N      how often each is run, 1 to ${MOST.cycles}; 3 where nothing is said. What happens where one user fails is run once
  --help          this text

JMeter, Gatling and Locust are fetched below .cache/ where they are not there. All runs on this machine, over loopback.
Writes peers.md and peers.json to evidence/peers/<time>, and the tables to the terminal.

Exit code 0: none of ours let anybody go early, all came through, and nobody waited for one who had failed; 2: not so;
1: something could not be run, or an option is wrong.`;

function whole(name, text, least) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > MOST[name]) {
    throw new Error(`--${name}: got ${JSON.stringify(text)}, allowed is a whole number from ${least} to ${MOST[name]}`);
  }
  return value;
}

function peers(text) {
  if (text === undefined) return NAMES;
  const asked = text.split(',');
  const wrong = asked.find((name) => !NAMES.includes(name));
  if (wrong !== undefined) throw new Error(`--only: got ${JSON.stringify(wrong)}, allowed are ${NAMES.join(', ')}, with commas between them`);
  return NAMES.filter((name) => asked.includes(name));
}

/**
 * Reads the words of a command line.
 *
 * @param {string[]} words
 * @returns {{ help: true } | { help: false, cycles: number, peers: Record<string, { users: number[], rounds: number }> }}
 * @throws where an option is wrong: its message says which, what was got and what is allowed
 */
export function settings(words) {
  const text = { type: /** @type {const} */ ('string') };
  const { values } = parseArgs({
    args: words, options: { only: text, users: text, rounds: text, cycles: text, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return { help: true };
  const users = values.users?.split(',').map((one) => whole('users', one, 2));
  const rounds = values.rounds === undefined ? undefined : whole('rounds', values.rounds, 1);
  return {
    help: false,
    cycles: whole('cycles', values.cycles ?? '3', 1),
    peers: Object.fromEntries(peers(values.only).map((name) => [name, {
      users: users ?? DEFAULTS[name].users, rounds: rounds ?? DEFAULTS[name].rounds,
    }])),
  };
}
