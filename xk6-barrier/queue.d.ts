/// <reference path="./index.d.ts" />

/** The counter of queues in Redis: the part of the module that `index.d.ts` takes from here. */
declare module 'k6/x/barrier' {
  /** Options of a queue counter. */
  export interface QueueCounterOptions {
    /** `redis[s][+cluster]://[[user]:password@]host[:port][/database]`, as the option `store` of a barrier. */
    redis: string;
    /** As the option `tls` of a barrier. */
    tls?: TlsOptions;
    /** The queues' keys: at least one. */
    keys: string[];
    /**
     * How long one count may take.
     * @default '10s'
     */
    timeout?: Duration;
  }

  /**
   * Counts queues in Redis, of whatever type they are: a sorted set by ZCARD, a hash by HLEN, a missing key as 0. All
   * keys are counted in one round trip, of a cluster in one for each node.
   *
   * @example
   * ```js
   * import { QueueCounter } from 'k6/x/barrier';
   *
   * const queues = new QueueCounter({ redis: 'redis://127.0.0.1:6379', keys: ['WAITING:e1', 'WAITING:e2'] });
   *
   * export default function () {
   *   queues.waitFor(100, { timeout: '60s' });
   *   console.log(queues.counts()['WAITING:e1']);
   * }
   * ```
   */
  export class QueueCounter {
    /**
     * Checks the options, and connects to nothing: the first call does.
     * @throws {@link BarrierOptionError} names the option, what it got and what is allowed
     */
    constructor(options: QueueCounterOptions);

    /**
     * The length of each queue.
     * @throws {@link QueueTypeError} a key holds another type
     * @throws {@link BarrierStoreError} the server did not answer
     */
    counts(): Record<string, number>;
    /** {@link QueueCounter.counts} with a promise, which also rejects for wrong arguments. */
    asyncCounts(): Promise<Record<string, number>>;

    /** The length of all queues together. */
    total(): number;
    /** {@link QueueCounter.total} with a promise, which also rejects for wrong arguments. */
    asyncTotal(): Promise<number>;

    /**
     * Waits until the queues hold at least `n` together. It asks again every `interval`.
     * @throws {@link QueueTimeoutError} they did not in time
     */
    waitFor(n: number, options?: QueueWaitOptions): QueueWaitResult;
    /** {@link QueueCounter.waitFor} with a promise, which also rejects for wrong arguments. */
    asyncWaitFor(n: number, options?: QueueWaitOptions): Promise<QueueWaitResult>;

    /**
     * Sends one command about a key that stands beside the queues, such as an index in a hash: over the same connection,
     * with the same user and TLS, on a cluster to the node of the key.
     *
     * @example
     * ```js
     * const last = Number(queues.command('HGET', 'WAITING_QUEUE_IDX', 'e1')); // null, so 0, where there is no such field
     * ```
     * @throws {@link BarrierStoreError} the server refused or did not answer
     */
    command(name: QueueCommand, key: string, ...args: (string | number)[]): string | number | null;
    /** {@link QueueCounter.command} with a promise, which also rejects for wrong arguments. */
    asyncCommand(name: QueueCommand, key: string, ...args: (string | number)[]): Promise<string | number | null>;
  }

  /** Commands of {@link QueueCounter.command}: about one key, and none that blocks or changes the connection. */
  export type QueueCommand =
    | 'DEL'
    | 'EXISTS'
    | 'GET'
    | 'HDEL'
    | 'HEXISTS'
    | 'HGET'
    | 'HLEN'
    | 'HSET'
    | 'LLEN'
    | 'PEXPIRE'
    | 'PTTL'
    | 'SCARD'
    | 'SET'
    | 'STRLEN'
    | 'TTL'
    | 'TYPE'
    | 'XLEN'
    | 'ZCARD';

  /** Options of `waitFor`. */
  export interface QueueWaitOptions {
    /**
     * How long to wait at most; kept below the limit that k6 sets.
     * @default '60s'
     */
    timeout?: Duration;
    /**
     * The time between two counts: at least 10 ms.
     * @default '250ms'
     */
    interval?: Duration;
  }

  /** What `waitFor` returns. */
  export interface QueueWaitResult {
    /** The length of all queues together. */
    total: number;
    /** The length of each. */
    counts: Record<string, number>;
    /** From the call to its return, in milliseconds. */
    waitedMs: number;
  }

  /** A queue's key holds a type that is not counted. */
  export interface QueueTypeError extends BarrierErrorBase {
    name: 'QueueTypeError';
    /** The key. */
    key: string;
    /** What the server's TYPE says it is. */
    type: string;
  }

  /** The queues did not fill in time. */
  export interface QueueTimeoutError extends BarrierErrorBase {
    name: 'QueueTimeoutError';
  }
}
