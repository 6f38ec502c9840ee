/// <reference path="./group.d.ts" />
/// <reference path="./queue.d.ts" />
/// <reference path="./sse/index.d.ts" />

/**
 * A barrier at which virtual users meet and at which every one of them is accounted for, groups that form by themselves, and a
 * counter of queues in Redis.
 *
 * Every call is synchronous and may be made inside a handler that blocks the virtual user's event loop, such as one of
 * `k6/x/sse`. A call parks the virtual user, no thread. Each call that may wait has a twin with the prefix `async` that
 * returns a promise; promises settle only while the event loop runs, so not inside such a handler.
 */
declare module 'k6/x/barrier' {
  /** A number of milliseconds, or a string with units such as `'500ms'`, `'30s'`, `'5m'` or `'1d12h'`. */
  export type Duration = number | string;

  /**
   * Who takes part: a string of 1 to 128 bytes of UTF-8, or a whole number from 0 to 2^53 - 1, which is the same as its
   * decimal text.
   */
  export type Participant = string | number;

  /** What a participant has in a phase. The first one stands; a repeated call returns the one that stands. */
  export type Outcome = 'arrived' | 'failed' | 'left' | 'late';

  /** Why a phase was released. */
  export type ReleaseReason = 'all' | 'quorum' | 'timeout' | 'operator';

  /** How many failed, by reason. */
  export type FailedByReason = Record<string, number>;

  /** Parties that are whoever runs, as an object. */
  export interface Running {
    /** Names of scenarios: a virtual user of one of them is expected from the start of its iteration to the end. */
    running: string[];
    /**
     * Who has ended an iteration and begins the next one within this time was never gone: 0 or more.
     * @default '1s'
     */
    grace?: Duration;
    /**
     * The first phase waits for so many outcomes, whoever runs: a whole number from 1 to 10,000,000. At the beginning of a test the
     * first virtual user may arrive before the others have begun.
     * @default 1
     */
    atLeast?: number;
  }

  /**
   * Options of a barrier. A process, and all processes that share a barrier, must agree on `parties`, `cyclic`,
   * `release`, `releaseAt`, `maxFailures`, `late`, `onTimeout` and `failUnaccounted`. An option that is `null` or `undefined` has its
   * default; one that does not exist is an error.
   */
  export interface BarrierOptions {
    /**
     * How many participants are expected: a whole number from 1 to 10,000,000. Or whoever runs: `'running'` in any scenario, or
     * an object that names scenarios. That follows executors that ramp; only for barriers made in the init context.
     */
    parties: number | 'running' | Running;

    /**
     * Where the barrier's record lives: `'memory'` for one k6 process, or for several processes and for readers outside k6
     * `redis[s][+cluster]://[[user]:password@]host[:port][/database]`: `rediss` for TLS, `+cluster` for a
     * Redis Cluster, whose nodes may be listed (`redis+cluster://a:7000,b:7000`) and which has no database but 0.
     * @default 'memory'
     */
    store?: string;

    /** How to speak TLS, with `rediss://` and `rediss+cluster://` alone. By default the system's authorities are trusted. */
    tls?: TlsOptions;

    /**
     * Tells one run from another in a shared store: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. The memory store
     * needs none. Without it a Redis store takes the environment variable `K6_BARRIER_RUN_ID`, else a random one, which
     * is logged and refused under execution segments.
     */
    runId?: string;

    /**
     * Reasons of `fail()` whose counters exist from the start with 0. Others may still be used.
     * Each is `[a-z][a-z0-9_-]{0,31}`.
     */
    reasons?: string[];

    /**
     * How long a wait may last. It is kept below the limit that k6 sets, such as `setupTimeout`, so that the error of
     * the wait, which has counts, comes first.
     * @default '300s'
     */
    timeout?: Duration;

    /**
     * How long the keys live in a shared store after the last write: at least `'60s'`.
     * @default '1h'
     */
    ttl?: Duration;

    /**
     * Whether the barrier has phases: once all are accounted for, it can be crossed again.
     * @default false
     */
    cyclic?: boolean;

    /**
     * Release before all are accounted for: at this many arrivals, or at this whole percentage of the participants that
     * have not left, such as `'90%'`. Unset: only when all are accounted for. An object says how users go as well: one after
     * the other, see {@link Release}.
     */
    release?: number | string | Release;

    /**
     * Not before this instant, by the clock of the store's server: milliseconds since the epoch, or a string such as
     * `'2027-01-01T00:00:00Z'`. All have to be accounted for, or a quorum to have arrived, as well. One that has passed holds nobody
     * up, and a release by a time-out or by an operator does not wait for it.
     */
    releaseAt?: number | string;

    /**
     * The barrier breaks for everyone when more than this many fail in a phase: a whole number from 0 to `parties`.
     * Unset: it never does.
     */
    maxFailures?: number;

    /**
     * What a participant gets that comes after the release: `'pass'` lets it go on and counts it as late, `'error'`
     * throws a {@link BarrierLateError}.
     * @default 'pass'
     */
    late?: 'pass' | 'error';

    /**
     * What the first wait that times out does: `'throw'` fails that wait only, `'release'` releases everyone who waits,
     * `'abort'` breaks the barrier for everyone.
     * @default 'throw'
     */
    onTimeout?: 'throw' | 'release' | 'abort';

    /**
     * Names of scenarios whose virtual users are participants. Where an iteration of one of them ends in which the
     * virtual user recorded no outcome, its participant (the registered one, else the id of the virtual user in the
     * test) has failed with the reason `iteration-ended`, unless it has an outcome in the open phase. The virtual user
     * need not have constructed the barrier, as long as another one of its process had by then. One that only called
     * `wait()` is no participant.
     */
    failUnaccounted?: string[];

    /**
     * Replaces the measured delay between the decision and the common instant of release with several processes.
     * 0 or more. Unset: measured.
     */
    releaseDelay?: Duration;

    /** The same as `register({ participant })` right after construction. */
    participant?: Participant;
  }

  /**
   * How a release comes about, and how its users go. With `spread` or `rate` each arrival has an instant of its own, in the order
   * of their indices, and `arriveAndWait` returns at that. Who waits without an arrival goes at the instant of release.
   */
  export interface Release {
    /** At how many arrivals, as the option `release`. */
    quorum?: number | string;
    /** They go within this time: above 0, at most 24 h. */
    spread?: Duration;
    /** So many go each second: a whole number from 1 to 1,000,000. Instead of `spread`. */
    rate?: number;
    /** One as far from the next as the other (the default), or at random, as independent users come. */
    shape?: 'even' | 'poisson';
    /**
     * The same seed gives the same random instants again: a whole number from 0 to 4,294,967,295.
     * @default 1
     */
    seed?: number;
  }

  /** Options of calls that are about a participant. */
  export interface ParticipantOptions {
    /**
     * Who. Required in setup() and teardown(), which have no virtual user.
     * @default the registered participant, else the id of the virtual user in the test (`exec.vu.idInTest`)
     */
    participant?: Participant;
  }

  /** Options of calls that wait. */
  export interface WaitOptions {
    /**
     * How long to wait at most.
     * @default the barrier's `timeout`
     */
    timeout?: Duration;
  }

  /** What `arrive`, `fail` and `leave` return. */
  export interface OutcomeResult {
    /** The outcome that stands, which need not be the one that was asked for. */
    outcome: Outcome;
    /** With `failed`: why. */
    reason?: string;
    /** With `arrived`: counts arrivals from 1 on through all phases; starts anew where the store lost its memory. */
    index?: number;
    /** The phase of the outcome; 0 unless the barrier is cyclic. */
    phase: number;
  }

  /** What `wait` and `arriveAndWait` return. */
  export interface WaitResult {
    /** Why the phase was released, or `late` for a participant that came afterwards. */
    reason: ReleaseReason | 'late';
    /** With `arriveAndWait`: the outcome that stands. */
    outcome?: Outcome;
    /** How many had arrived at the release; who comes later changes none of these counts. */
    arrived: number;
    /** How many had failed, by reason. */
    failed: FailedByReason;
    /** How many had failed for any reason. */
    failedTotal: number;
    /** How many have left the barrier. */
    left: number;
    /** How many were expected. */
    parties: number;
    /** The phase that was released; 0 unless the barrier is cyclic. */
    phase: number;
    /** From the call to its return, in milliseconds. */
    waitedMs: number;
    /** The instant of release by the clock of this process, in milliseconds since the epoch. */
    releasedAt: number;
    /** The same by the clock of the store's server; with the memory store that is this process. */
    serverReleasedAt: number;
    /** With `spread` or `rate`, for who arrived: its own instant as `releasedAt` is. Missing once the last one has gone. */
    dueAt?: number;
  }

  /** A barrier as this process knows it. */
  export interface BarrierStatus {
    /** As constructed. */
    name: string;
    /** The run; empty where the memory store needs none. */
    runId: string;
    /** Where the record lives. */
    store: 'memory' | 'redis';
    /** How many are expected. */
    parties: number;
    /** The open phase; a barrier that is not cyclic has 0 only. */
    phase: number;
    /** How many have arrived in the phase. */
    arrived: number;
    /** How many have failed in it, by reason. */
    failed: FailedByReason;
    /** How many have failed in it for any reason. */
    failedTotal: number;
    /** How many have left the barrier. */
    left: number;
    /** How many came after a release. */
    late: number;
    /** How many have no outcome yet. */
    missing: number;
    /** The newest released phases. */
    released: number[];
    /** When the newest phase was released, in milliseconds since the epoch by this process's clock. */
    releasedAt: number | null;
    /** The same by the clock of the store's server. */
    serverReleasedAt: number | null;
    /** How long after that instant this process heard of it, in milliseconds: below 0 where it did before. */
    receivedMs: number | null;
    /** How long after it the first of those woke who slept in this process, in milliseconds. */
    firstWakeMs: number | null;
    /** Why the barrier is broken for everyone, if it is. */
    broken: { reason: 'abort' | 'maxFailures' | 'timeout' | 'bug'; message: string; phase: number; at: number } | null;
    /** How many processes share the barrier. */
    processes: number;
    /** Whether the store can be reached. */
    connected: boolean;
    /** How far off the clocks of this process and the store's server may be, in milliseconds. */
    clockBoundMs: number | null;
    /** How long a message from the store takes, in milliseconds. */
    pushLatencyMs: number | null;
  }

  /**
   * A barrier. Two with the same store, run id and name are the same barrier. The class can be extended; its methods are not
   * bound to their barrier.
   *
   * @example
   * ```js
   * import { Barrier } from 'k6/x/barrier';
   *
   * const barrier = new Barrier('start', { parties: 10 });
   *
   * export const options = { vus: 10, iterations: 10 };
   *
   * export default function () {
   *   const { arrived } = barrier.arriveAndWait(); // nobody goes on before all ten are here
   * }
   * ```
   */
  export class Barrier {
    /**
     * Checks the options, and connects to nothing: the first call does. It may be constructed in the init context; the
     * calls need a running test.
     * @param name 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`
     * @throws {@link BarrierOptionError} names the option, what it got and what is allowed
     */
    constructor(name: string, options: BarrierOptions);

    /**
     * Records an arrival and does not wait for the others.
     * @throws {@link BarrierConflictError} the participant belongs to another virtual user or process
     * @throws {@link BarrierStoreError} the store did not answer; with `pending: true` the arrival stands all the same
     */
    arrive(options?: ParticipantOptions): OutcomeResult;
    /** {@link Barrier.arrive} with a promise, which also rejects for wrong arguments. */
    asyncArrive(options?: ParticipantOptions): Promise<OutcomeResult>;

    /**
     * Records that a participant will not arrive in this phase, so that nobody waits for it.
     * @param reason `[a-z][a-z0-9_-]{0,31}`, such as `'login'`
     */
    fail(reason: string, options?: ParticipantOptions): OutcomeResult;
    /** {@link Barrier.fail} with a promise, which also rejects for wrong arguments. */
    asyncFail(reason: string, options?: ParticipantOptions): Promise<OutcomeResult>;

    /**
     * Arrives and waits until the phase is released. With an outcome that stands from before it waits all the same.
     * After a time-out the arrival stands, and the next call waits for the same phase.
     * @throws {@link BarrierTimeoutError} not released in time; the message says who is missing
     * @throws {@link BarrierBrokenError} the barrier was broken by `abort`, `maxFailures` or `onTimeout`
     */
    arriveAndWait(options?: ParticipantOptions & WaitOptions): WaitResult;
    /** {@link Barrier.arriveAndWait} with a promise, which also rejects for wrong arguments. */
    asyncArriveAndWait(options?: ParticipantOptions & WaitOptions): Promise<WaitResult>;

    /**
     * Waits for a release without taking part. A virtual user that has arrived waits for the phase of its arrival, any
     * other for the phase after the last one that it waited for. A phase that is released already returns at once.
     * @throws {@link BarrierTimeoutError} not released in time; the message says who is missing
     * @throws {@link BarrierBrokenError} the barrier was broken
     */
    wait(options?: WaitOptions): WaitResult;
    /** {@link Barrier.wait} with a promise, which also rejects for wrong arguments. */
    asyncWait(options?: WaitOptions): Promise<WaitResult>;

    /** What this process knows, without any I/O: cheap enough for a handler that runs often. */
    status(): BarrierStatus;

    /**
     * How many participants have no outcome in the open phase. They are named only where all ids are numbers from 1 to
     * `parties` that scripts gave themselves; otherwise `ids` is empty.
     * @param limit at most this many ids, 0 to 1000
     * @default 10
     */
    missing(limit?: number): { count: number; ids: string[] };
    /** {@link Barrier.missing} with a promise, which also rejects for wrong arguments. */
    asyncMissing(limit?: number): Promise<{ count: number; ids: string[] }>;

    /**
     * Breaks the barrier for everyone, in all processes. After the release of a barrier that is not cyclic it does
     * nothing, and says so by `broken: false`.
     * @param why 1 to 1024 bytes
     */
    abort(why: string): { broken: boolean; phase: number };
    /** {@link Barrier.abort} with a promise, which also rejects for wrong arguments. */
    asyncAbort(why: string): Promise<{ broken: boolean; phase: number }>;

    /**
     * Lets go of the barrier in this process, for a soak that uses ever new ones. It delivers what is owed, and says goodbye
     * to the others. Whoever waits at it here gets a {@link BarrierError} with the code `CLOSED`. Whoever uses it again opens it
     * anew: over Redis as it stands there, in memory from its beginning. Barriers that are over need no `close()`: a process
     * lets go of them by itself, of the oldest first once there are more than 1,000.
     * @throws {@link BarrierStoreError} what is owed could not be delivered in time, and the barrier stays
     */
    close(): void;
    /** {@link Barrier.close} with a promise, which also rejects for wrong arguments. */
    asyncClose(): Promise<void>;

    /**
     * Takes a participant without an outcome in the open phase off the barrier, in a cyclic one for good, so that
     * nobody waits for it.
     */
    leave(options?: ParticipantOptions): OutcomeResult;
    /** {@link Barrier.leave} with a promise, which also rejects for wrong arguments. */
    asyncLeave(options?: ParticipantOptions): Promise<OutcomeResult>;

    /**
     * Says which participant this virtual user is from now on: it is the default of later calls, and the one that
     * `failUnaccounted` accounts for. It does no I/O and may be called in the init context.
     */
    register(options: Required<ParticipantOptions>): void;
  }

  /**
   * TLS to Redis, beside `rediss://` or `rediss+cluster://`. Texts are PEM, as `open()` reads them in the init context; no
   * message shows them. With k6's `insecureSkipTLSVerify` the server's certificate is not checked.
   */
  export interface TlsOptions {
    /** The authorities to trust instead of the system's. */
    ca?: string;
    /** The certificate to show to a server that asks for one, and those between it and its authority; needs `key`. */
    cert?: string;
    /** The private key of `cert`, not encrypted. */
    key?: string;
    /** The name that the server's certificate must have, where that is not the host of the URL. */
    serverName?: string;
  }

  /**
   * What calls throw, and promises reject with. Each is an `Error` with a stack; tell them apart by `name`. The message
   * starts with the call that failed: `wait() failed; reason: ...`.
   */
  export interface BarrierErrorBase extends Error {
    /** What kind of error it is: stable, where a message may change. */
    code: BarrierErrorCode;
    /** The outcome stands in this process and is delivered later. */
    pending: boolean;
    /** The barrier when the error was made, where it was open. */
    status?: BarrierStatus;
  }

  /** A wait was not released in time. The message has the counts and names who is missing. */
  export interface BarrierTimeoutError extends BarrierErrorBase {
    name: 'BarrierTimeoutError';
  }

  /** The barrier is broken for everyone, for good. */
  export interface BarrierBrokenError extends BarrierErrorBase {
    name: 'BarrierBrokenError';
  }

  /** An option or argument is wrong, or differs from that of another opener of the barrier. */
  export interface BarrierOptionError extends BarrierErrorBase {
    name: 'BarrierOptionError';
    /** Which option or argument. */
    option: string;
    /** What it was. */
    got: string;
    /** What it may be. */
    allowed: string;
  }

  /** The store did not answer, or refused. */
  export interface BarrierStoreError extends BarrierErrorBase {
    name: 'BarrierStoreError';
  }

  /** Two virtual users or processes claim the same participant. */
  export interface BarrierConflictError extends BarrierErrorBase {
    name: 'BarrierConflictError';
  }

  /** A participant came after the release, and `late` is `'error'`. */
  export interface BarrierLateError extends BarrierErrorBase {
    name: 'BarrierLateError';
  }

  /** Anything else: a closed engine, too many calls at once, or a bug of this extension. */
  export interface BarrierError extends BarrierErrorBase {
    name: 'BarrierError';
  }

  /**
   * The codes of errors: the kind of error that the name tells, or what a {@link BarrierError} met. A `TIMEOUT` is that of a
   * barrier, of a group or of queues, a `TYPE` that of a queue's key.
   */
  export type BarrierErrorCode =
    | 'TIMEOUT'
    | 'BROKEN'
    | 'OPTION'
    | 'STORE'
    | 'CONFLICT'
    | 'LATE'
    | 'LEFT'
    | 'TYPE'
    | 'CLOSED'
    | 'INVALID'
    | 'BUSY'
    | 'PANIC'
    | 'CANCELLED'
    | 'BUFFER'
    | 'EMPTY';

  /** All exports in one object: `import barrier from 'k6/x/barrier'`. */
  const barrier: {
    Barrier: typeof Barrier;
    Group: typeof Group;
    QueueCounter: typeof QueueCounter;
  };
  export default barrier;
}
