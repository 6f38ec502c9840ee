/// <reference path="./index.d.ts" />

/** Groups that form by themselves: the part of the module that `index.d.ts` takes from here. */
declare module 'k6/x/barrier' {
  /**
   * Options of groups. All who open them must agree on `size` and `onTimeout`. An option that is `null` or `undefined` has its
   * default; one that does not exist is an error.
   */
  export interface GroupOptions {
    /** How many members a group has: a whole number from 2 to 1,000. */
    size: number;
    /**
     * Where the record lives, as the option `store` of a barrier.
     * @default 'memory'
     */
    store?: string;
    /** As the option `tls` of a barrier. */
    tls?: TlsOptions;
    /** As the option `runId` of a barrier. */
    runId?: string;
    /**
     * How long a user waits for its group.
     * @default '300s'
     */
    timeout?: Duration;
    /**
     * What a wait that expires does: `'throw'` gives the place up, and the call fails; `'release'` makes a group of all who
     * wait, however few.
     * @default 'throw'
     */
    onTimeout?: 'throw' | 'release';
    /**
     * How long the key in Redis lives after the last write: at least 60 seconds.
     * @default '1h'
     */
    ttl?: Duration;
  }

  /** Options of {@link Group.join}. */
  export interface JoinOptions {
    /** Who comes. By default the id of the virtual user; required in `setup()` and `teardown()`. */
    participant?: Participant;
    /** What the other members are told: a string of at most 256 bytes of UTF-8. */
    payload?: string;
    /** Instead of the `timeout` of the groups. */
    timeout?: Duration;
  }

  /** A group that has formed, as one of its members sees it. */
  export interface JoinResult {
    /** Its number, from 1. Each number is given once. */
    group: number;
    /** The place of this member, from 1: the first who came has 1. */
    index: number;
    /** How many members it has: as many as the option `size` says, or fewer with the reason `'timeout'`. */
    size: number;
    /** All members in the order of their places, this one too. */
    members: GroupMember[];
    /** Why it formed: as many had come, or one had waited long enough. */
    reason: 'all' | 'timeout';
    /** From the call to its return, in milliseconds. */
    waitedMs: number;
    /** When it formed, in milliseconds since the epoch, by the clock of this process. */
    releasedAt: number;
    /** The same by the clock of the store's server; `null` with the memory store. */
    serverReleasedAt: number | null;
  }

  /** A member of a group. */
  export interface GroupMember {
    /** Who. */
    participant: string;
    /** What it told the others, or `null`. */
    payload: string | null;
  }

  /** Groups as this process knows them. */
  export interface GroupStatus {
    /** As opened. */
    name: string;
    /** As opened; empty with the memory store where none was given. */
    runId: string;
    /** `'memory'` or `'redis'`. */
    store: string;
    /** As opened. */
    size: number;
    /** How many groups have formed. */
    groups: number;
    /** How many users wait, in all processes. */
    waiting: number;
    /** How many processes there are. */
    processes: number;
    /** Whether the store can be reached. */
    connected: boolean;
  }

  /**
   * Groups that form by themselves: whoever comes waits until `size` have come, and these are a group. Then the next one begins.
   *
   * @example
   * ```js
   * import { Group } from 'k6/x/barrier';
   *
   * const lobby = new Group('lobby', { size: 2 });
   *
   * export default function () {
   *   const { group, index, members } = lobby.join({ payload: `player-${__VU}` });
   *   console.log(`match ${group}: I am ${members[index - 1].payload}, against ${members[2 - index].payload}`);
   * }
   * ```
   */
  export class Group {
    /**
     * Checks the options, and connects to nothing: the first call does.
     * @throws {@link BarrierOptionError} names the option, what it got and what is allowed
     */
    constructor(name: string, options: GroupOptions);

    /**
     * Comes, and waits for the group.
     * @throws {@link GroupTimeoutError} no group formed in time; the place is given up
     * @throws {@link GroupLeftError} the place was given up by `leave()` meanwhile
     * @throws {@link BarrierConflictError} the participant waits already, for another virtual user or process
     * @throws {@link BarrierStoreError} the store did not say in time whether a group had formed
     */
    join(options?: JoinOptions): JoinResult;
    /** {@link Group.join} with a promise, which also rejects for wrong arguments. */
    asyncJoin(options?: JoinOptions): Promise<JoinResult>;

    /** Gives up the place of a participant who waits. `left` is false where it had none, because its group has formed. */
    leave(options?: ParticipantOptions): { left: boolean };
    /** {@link Group.leave} with a promise, which also rejects for wrong arguments. */
    asyncLeave(options?: ParticipantOptions): Promise<{ left: boolean }>;

    /** What this process knows, without asking the store. */
    status(): GroupStatus;
  }

  /** No group formed in time. */
  export interface GroupTimeoutError extends BarrierErrorBase {
    name: 'GroupTimeoutError';
  }

  /** The place was given up by `leave()` while the call of `join` waited. */
  export interface GroupLeftError extends BarrierErrorBase {
    name: 'GroupLeftError';
  }
}
