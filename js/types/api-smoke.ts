/**
 * Uses every member of k6/x/barrier once, so that the type checker sees each with the types that its users expect. It is
 * never run; TestTypingsAreComplete holds it against the code.
 */
import both, {
  Barrier,
  Group,
  QueueCounter,
  type BarrierBrokenError,
  type BarrierConflictError,
  type BarrierError,
  type BarrierErrorBase,
  type BarrierErrorCode,
  type BarrierLateError,
  type BarrierOptionError,
  type BarrierOptions,
  type BarrierStatus,
  type BarrierStoreError,
  type BarrierTimeoutError,
  type Duration,
  type FailedByReason,
  type GroupLeftError,
  type GroupMember,
  type GroupOptions,
  type GroupStatus,
  type GroupTimeoutError,
  type JoinOptions,
  type JoinResult,
  type Outcome,
  type OutcomeResult,
  type Participant,
  type ParticipantOptions,
  type QueueCommand,
  type QueueCounterOptions,
  type QueueTimeoutError,
  type QueueTypeError,
  type QueueWaitOptions,
  type QueueWaitResult,
  type Release,
  type Running,
  type ReleaseReason,
  type TlsOptions,
  type WaitOptions,
  type WaitResult,
} from 'k6/x/barrier';

const timeout: Duration = '30s';
const participant: Participant = 7;

const tls: Required<TlsOptions> = { ca: 'PEM', cert: 'PEM', key: 'PEM', serverName: 'redis.test' };
const turns: Required<Omit<Release, 'rate'>> = { quorum: '90%', spread: '2s', shape: 'poisson', seed: 7 };
const pace: Release = { quorum: 90, rate: 500 };
new Barrier('turns', { parties: 100, release: turns, releaseAt: 1_800_000_000_000 });
new Barrier('pace', { parties: 100, release: pace });
const options: Required<BarrierOptions> = {
  parties: 10,
  store: 'rediss://127.0.0.1:6379',
  tls,
  runId: 'run-1',
  reasons: ['login'],
  timeout,
  ttl: 3_600_000,
  cyclic: true,
  release: '90%',
  releaseAt: '2027-01-01T00:00:00Z',
  maxFailures: 1,
  late: 'pass',
  onTimeout: 'throw',
  failUnaccounted: ['users'],
  releaseDelay: '20ms',
  participant,
};
const barrier = new Barrier('default', options);
new Barrier('smallest', { parties: 1 });
new Barrier('everybody', { parties: 'running' });
const crowd: Running = { running: ['users'], grace: '500ms', atLeast: 2 };
new Barrier('crowd', { parties: crowd, cyclic: true });
// @ts-expect-error there is no such word
new Barrier('wrong', { parties: 'all' });
// @ts-expect-error parties are required
new Barrier('wrong', {});
// @ts-expect-error there is no such option
new Barrier('wrong', { parties: 1, partys: 2 });

const { Barrier: same }: { Barrier: typeof Barrier } = both;
new both.QueueCounter({ redis: 'redis://127.0.0.1', keys: ['k'] });

export class Mine extends same {
  override wait(options?: WaitOptions): WaitResult {
    return Object.freeze(super.wait(options));
  }
}

const who: ParticipantOptions = { participant };
const howLong: WaitOptions = { timeout };

const outcomes: OutcomeResult[] = [barrier.arrive(), barrier.arrive(who), barrier.fail('login'), barrier.fail('login', who), barrier.leave(who)];
const released: WaitResult[] = [barrier.arriveAndWait({ ...who, ...howLong }), barrier.wait(howLong), barrier.wait()];
const missing: { count: number; ids: string[] } = barrier.missing(10);
const aborted: { broken: boolean; phase: number } = barrier.abort('why');
const closed: void = barrier.close();
console.log(closed);
barrier.register({ participant: 'me' });
// @ts-expect-error there is nothing to register
barrier.register({});
// @ts-expect-error a spectator has no participant
barrier.wait(who);

export async function twins(): Promise<void> {
  outcomes.push(await barrier.asyncArrive(who), await barrier.asyncFail('login', who), await barrier.asyncLeave(who));
  released.push(await barrier.asyncArriveAndWait(howLong), await barrier.asyncWait(howLong));
  const more: typeof missing = await barrier.asyncMissing();
  const done: typeof aborted = await barrier.asyncAbort('why');
  const gone: void = await barrier.asyncClose();
  console.log(more, done, gone);
}

const [{ outcome, reason, index, phase }] = outcomes;
const standing: Outcome = outcome;
const numbers: (number | undefined)[] = [index, phase];
const why: string | undefined = reason;

const [result] = released;
const failed: FailedByReason = result.failed;
const ended: ReleaseReason | 'late' = result.reason;
const of: Outcome | undefined = result.outcome;
numbers.push(result.arrived, result.failedTotal, result.left, result.parties, result.phase, result.waitedMs, result.releasedAt, result.serverReleasedAt);
numbers.push(result.dueAt ?? 0);

const status: Required<BarrierStatus> = barrier.status();
const texts: string[] = [status.name, status.runId, status.store];
const counts: number[] = [status.parties, status.phase, status.arrived, status.failedTotal, status.left, status.late, status.missing, status.processes];
const maybe: (number | null)[] = [status.releasedAt, status.serverReleasedAt, status.receivedMs, status.firstWakeMs, status.clockBoundMs, status.pushLatencyMs];
const phases: number[] = status.released;
const broken: { reason: 'abort' | 'maxFailures' | 'timeout' | 'bug'; message: string; phase: number; at: number } | null = status.broken;
console.log(status.failed.login, status.connected, standing, numbers, why, failed, ended, of, texts, counts, maybe, phases, broken, missing, aborted);

const groupOptions: Required<GroupOptions> = {
  size: 4,
  store: 'redis://127.0.0.1:6379',
  tls,
  runId: 'run-1',
  timeout,
  onTimeout: 'release',
  ttl: '1h',
};
const lobby = new Group('lobby', groupOptions);
new both.Group('smallest', { size: 2 });
// @ts-expect-error a size is required
new Group('none', {});
const joining: Required<JoinOptions> = { participant, payload: 'room 7', timeout };
const joined: JoinResult = lobby.join(joining);
const member: GroupMember = joined.members[joined.index - 1];
const because: 'all' | 'timeout' = joined.reason;
const place: [number, number, number, number, number | null] = [joined.group, joined.size, joined.waitedMs, joined.releasedAt, joined.serverReleasedAt];
const given: { left: boolean } = lobby.leave({ participant });
export const meeting: [Promise<JoinResult>, Promise<{ left: boolean }>] = [lobby.asyncJoin(), lobby.asyncLeave()];
const groups: GroupStatus = lobby.status();
console.log(member.participant, member.payload, because, place, given.left);
console.log(groups.name, groups.runId, groups.store, groups.size, groups.groups, groups.waiting, groups.processes, groups.connected);

const counterOptions: Required<QueueCounterOptions> = { redis: 'rediss://127.0.0.1:6379', tls, keys: ['k'], timeout };
const queues = new QueueCounter(counterOptions);
const patience: Required<QueueWaitOptions> = { timeout, interval: 250 };
const filled: QueueWaitResult = queues.waitFor(5, patience);
const lengths: Record<string, number> = queues.counts();
const total: number = queues.total();
export const later: [Promise<Record<string, number>>, Promise<number>, Promise<QueueWaitResult>] = [
  queues.asyncCounts(),
  queues.asyncTotal(),
  queues.asyncWaitFor(5),
];
const read: QueueCommand = 'HGET';
const last: string | number | null = queues.command(read, 'WAITING_QUEUE_IDX', 'e1');
export const stored: Promise<string | number | null> = queues.asyncCommand('SET', 'at', Date.now(), 'EX', 60);
console.log(last, filled.total, filled.counts.k, filled.waitedMs, lengths, total);

type Thrown =
  | BarrierTimeoutError
  | BarrierBrokenError
  | BarrierOptionError
  | BarrierStoreError
  | BarrierConflictError
  | BarrierLateError
  | QueueTypeError
  | QueueTimeoutError
  | GroupTimeoutError
  | GroupLeftError
  | BarrierError;

export function explain(error: Thrown): string {
  const base: BarrierErrorBase = error;
  const code: BarrierErrorCode = base.code;
  switch (error.name) {
    case 'BarrierOptionError':
      return `${error.option} ${error.got} ${error.allowed}`;
    case 'QueueTypeError':
      return `${error.key} ${error.type}`;
    case 'BarrierStoreError':
      return `${error.pending}`;
    default:
      return `${error.message} ${code} ${error.status?.arrived}`;
  }
}
