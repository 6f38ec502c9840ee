// @ts-check
/**
 * The target's queues and slots as they stand in Redis. Setup looks whether they are fit for a run, the controller how they
 * drain, and the summary whether all that users held has come back. Users never look, so all but the metrics, which are made in
 * the init context or never, is made when it is asked for.
 */

/** @typedef {import('./settings.js').Config} Config */

/**
 * @typedef {object} Kit of the script that looks. Handed over, because of an import each user's VU keeps a part of its own.
 * @property {typeof import('k6').sleep} sleep
 * @property {typeof import('k6/metrics').Counter} Counter
 * @property {typeof import('k6/metrics').Trend} Trend
 * @property {typeof import('k6/x/barrier').QueueCounter} QueueCounter
 * @property {(error: any) => string} errorText
 */

/**
 * Makes the metrics, for which this is called in the init context, and gives what opens the queues.
 *
 * @param {Kit} kit
 */
export function queuesOf({ sleep, Counter, Trend, QueueCounter, errorText }) {
  /** Slots of each event with users, once all of them had joined. */
  const addSlotsAtJoin = new Trend('slots_at_join').add;
  /** The most slots that any event had, by then and each second of the drain. */
  const addSlotsMost = new Trend('slots_most').add;
  /** The fewest, at the same times and at the end: below 0, more users were let in than there were slots. */
  const addSlotsLeast = new Trend('slots_least').add;
  /** Looks at queues and slots that failed: what they would have shown is not known. */
  const addFailedLooks = new Counter('failed_looks').add;
  /** The longest time in which nobody was let in although users waited, ms. Who gives up ends it, too: a queue does not tell. */
  const addPromotionPauseMs = new Trend('promotion_pause_ms', true).add;

  return (/** @type {Config} */ config) => {
    const INDEX_KEY = 'WAITING_QUEUE_IDX';
    const SLOTS_KEY = 'ENTRY_QUEUE_SLOTS';
    /** Between two looks at a queue that drains, and at whether there are still users, ms. */
    const LOOK_MS = 1000;
    const TICK_MS = 20;
    /** How long slots may take to come back after the last user has left, ms. */
    const BACK_MS = 10_000;
    /** How long users may still be there after their time, ms: k6 ends them after 30 s. */
    const OVERDUE_MS = 25_000;

    const waitingKey = (/** @type {string} */ eventId) => `WAITING:${eventId}`;
    const userIdsKey = (/** @type {string} */ eventId) => `WAITING_USER_IDS:${eventId}`;
    const open = () =>
      new QueueCounter({ redis: config.redisUrl, tls: config.redisTls, keys: config.eventIds.map(waitingKey) });

    /** The counts for a message, which must not fail over them: `WAITING:a=120, WAITING:b=80`. */
    const countsText = () => {
      try {
        const sizes = open().counts();
        return config.eventIds.map((eventId) => `${waitingKey(eventId)}=${sizes[waitingKey(eventId)]}`).join(', ');
      } catch (error) {
        return `queue sizes unknown (${errorText(error)})`;
      }
    };

    /** Why the queues are not fit for a run, or an empty text. */
    const whyNotEmpty = () => {
      try {
        const queues = open();
        const waiting = queues.counts();
        for (const eventId of config.eventIds) {
          const inQueue = waiting[waitingKey(eventId)];
          const users = Number(queues.command('HLEN', userIdsKey(eventId)));
          const index = Number(queues.command('HGET', INDEX_KEY, eventId)); // the last one given out, none is 0
          if (inQueue > 0 || users > 0 || index > 0) {
            return (
              `left-over queue state of event ${eventId}: ${waitingKey(eventId)}=${inQueue}, ` +
              `${userIdsKey(eventId)}=${users}, ${INDEX_KEY}[${eventId}]=${index}; clean these keys before the run`
            );
          }
        }
        return '';
      } catch (error) {
        return `Redis precondition check failed: ${errorText(error)}`;
      }
    };

    /** Stores the time of OPEN for outside readers. They are helped by it, the run does not need it: errors are ignored. */
    const storeOpenAt = async (/** @type {string} */ runId) => {
      try {
        await open().asyncCommand('SET', `K6_OPEN_AT_MS:${runId}`, Date.now(), 'EX', config.barrierTtlSeconds);
      } catch (error) {
        console.warn(`the time of OPEN was not stored: ${errorText(error)}`);
      }
    };

    /** Whether the system came with the harness, so has its queues where they are looked at: another may keep no slots, or not here. */
    const ownSystem = config.system.startsWith('./systems/');
    /** What slots are compared with, in words. */
    const expected = config.slotsFrom === '' ? '' : `${config.slotsFrom}=${config.slots}`;

    /** The slots of an event, nothing where the target keeps none. */
    const slotsOf = (/** @type {import('k6/x/barrier').QueueCounter} */ queues, /** @type {string} */ eventId) => {
      const slots = queues.command('HGET', SLOTS_KEY, eventId);
      return slots === null ? undefined : Number(slots);
    };

    /** Looks at the slots once all users have joined, before anybody is promoted. */
    const seeJoined = () => {
      try {
        const queues = open();
        const waiting = queues.counts();
        const neverUsed = (/** @type {string} */ eventId) =>
          waiting[waitingKey(eventId)] === 0 && Number(queues.command('HGET', INDEX_KEY, eventId)) === 0;
        if (ownSystem && config.eventIds.every(neverUsed)) {
          addFailedLooks(1);
          console.error(
            'REDIS_URL is not the Redis of this room: all users have joined, and there no queue holds anybody and no index was given ' +
              'out; slots and promotion are not known',
          );
          return;
        }
        for (const eventId of config.eventIds) {
          const slots = slotsOf(queues, eventId);
          if (waiting[waitingKey(eventId)] === 0 || (slots === undefined && !ownSystem)) {
            continue;
          }
          addSlotsAtJoin(slots ?? 0);
          addSlotsMost(slots ?? 0);
          addSlotsLeast(slots ?? 0);
          if (config.slots > 0 && slots !== config.slots) {
            console.error(
              `event ${eventId} has ${slots ?? 'no'} slots now that all users have joined, where ${expected}: that is not what its ` +
                'event has, or promoted users of an earlier run have left since the cleaning',
            );
          }
        }
      } catch (error) {
        addFailedLooks(1);
        console.warn(`the slots could not be read: ${errorText(error)}`);
      }
    };

    /**
     * Watches the drain until the last user is through, and says when promotion stands still.
     *
     * @param {() => number} users how many are left
     * @param {number} endsAt epoch ms at which they give up
     */
    const watchDrain = (users, endsAt) => {
      /** Made within a look, as it may fail like one. @type {import('k6/x/barrier').QueueCounter | undefined} */
      let opened;
      /** Who waits where, since when nobody of them has been let in, and whether that was told. */
      const seen = new Map([...config.eventIds, ''].map((place) => [place, { waiting: 0, since: 0, told: false }]));
      const over = new Set();
      const under = new Set();
      let longestMs = 0;
      let failed = 0;

      const look = () => {
        const queues = (opened ??= open());
        const counts = queues.counts();
        const now = Date.now();
        const total = config.eventIds.reduce((sum, eventId) => sum + counts[waitingKey(eventId)], 0);
        const stalled = [];
        for (const [place, state] of seen) {
          // Whoever is in no queue any more, and still here, is being promoted; or has been forgotten.
          const waiting = place === '' ? (total === 0 ? users() : 0) : counts[waitingKey(place)];
          if (waiting === 0 || state.waiting === 0 || waiting < state.waiting) {
            if (state.told) {
              // Promoted or given up: the queue does not say which.
              const shorter = place === '' ? 'fewer users still wait whom no queue holds' : `the queue of event ${place} has become shorter`;
              console.warn(`${shorter}, after ${Math.round((now - state.since) / 1000)} s`);
            }
            Object.assign(state, { since: now, told: false });
          }
          state.waiting = waiting;
          longestMs = Math.max(longestMs, now - state.since);
          if (now - state.since >= config.stallMs && !state.told) {
            state.told = true;
            stalled.push(
              place === ''
                ? `no queue holds the users who still wait: ${waiting}`
                : `event ${place}: ${waiting} waiting, slots ${slotsOf(queues, place) ?? 'none'}${expected && ` (${expected})`}`,
            );
          }
        }
        if (stalled.length > 0) {
          console.error(`promotion has stalled: nobody has been let in for ${config.stallMs / 1000} s; ${stalled.join('; ')}`);
        }
        for (const eventId of config.eventIds) {
          const slots = slotsOf(queues, eventId);
          if (slots === undefined) {
            continue;
          }
          addSlotsMost(slots);
          addSlotsLeast(slots);
          if (slots < 0 && !under.has(eventId)) {
            under.add(eventId);
            console.error(`event ${eventId} has ${slots} slots while it drains: more users were let in than it had slots for`);
          }
          if (config.slots > 0 && slots > config.slots && !over.has(eventId)) {
            over.add(eventId);
            console.error(`event ${eventId} has ${slots} slots while it drains, where ${expected}: somebody else has given some back`);
          }
        }
      };

      for (let lookedAt = 0; users() > 0 && Date.now() < endsAt; sleep(TICK_MS / 1000)) {
        if (Date.now() - lookedAt >= LOOK_MS) {
          lookedAt = Date.now();
          try {
            look();
          } catch (error) {
            addFailedLooks(1);
            if (failed++ === 0) {
              console.warn(`the queues could not be looked at while they drain: ${errorText(error)}`);
            }
          }
        }
      }
      addPromotionPauseMs(longestMs);
    };

    /** Waits for those who stay beyond their time, until k6 is about to end them: they themselves can count nothing then. */
    const watchOverdue = (/** @type {() => number} */ users, /** @type {number} */ endsAt) => {
      while (users() > 0 && Date.now() < endsAt + OVERDUE_MS) {
        sleep(TICK_MS / 1000);
      }
      const left = users();
      if (left > 0) {
        console.error(
          `${left === 1 ? '1 user is' : `${left} users are`} still there ${OVERDUE_MS / 1000} s after their time limit, and k6 ends them: they count as cut off. ` +
            `wait() of ${config.system} is to throw after place.limitMs at the latest, with the time-outs of its requests`,
        );
      }
      return left;
    };

    /**
     * Both; where they come to no end, that is a look that failed: the drain would else seem to have been sound.
     *
     * @param {() => number} users how many are left
     * @param {number} endsAt epoch ms at which they give up
     * @returns {number} how many did not
     */
    const seeDrain = (users, endsAt) => {
      try {
        watchDrain(users, endsAt);
        return watchOverdue(users, endsAt);
      } catch (error) {
        addFailedLooks(1);
        console.error(`the drain was not watched to its end: ${errorText(error)}`);
        return 0;
      }
    };

    /**
     * Looks at the slots when all users have left: what they held comes back, at the latest after some seconds.
     *
     * @returns {{ slots: number[], failed: number }} those of each event, and how many looks failed
     */
    const seeEnd = () => {
      const end = Date.now() + BACK_MS;
      const seen = { slots: /** @type {number[]} */ ([]), failed: 0 };
      for (const eventId of config.eventIds) {
        try {
          const queues = open();
          let slots = slotsOf(queues, eventId);
          while (slots !== undefined && slots < config.slots && Date.now() < end) {
            sleep(TICK_MS / 1000);
            slots = slotsOf(queues, eventId);
          }
          // Without users an event may never have had any.
          if (slots === undefined && !(ownSystem && Number(queues.command('HGET', INDEX_KEY, eventId)) > 0)) {
            continue;
          }
          seen.slots.push(slots ?? 0);
          if (config.slots > 0 && slots !== config.slots) {
            console.error(`event ${eventId} has ${slots ?? 'no'} slots after all users have left, where ${expected}`);
          }
        } catch (error) {
          seen.failed++;
          console.warn(`the slots of event ${eventId} could not be read: ${errorText(error)}`);
          break; // a Redis that is gone takes ten seconds for each, and k6 gives the summary two minutes
        }
      }
      return seen;
    };

    const keys = { waiting: waitingKey, userIds: userIdsKey, index: INDEX_KEY, slots: SLOTS_KEY };
    return { countsText, whyNotEmpty, storeOpenAt, seeJoined, seeDrain, seeEnd, keys, ownSystem };
  };
}
