// @ts-check
/** What happens before and after the users. k6 has it done by a VU that is no user's, so theirs do not load this file. */

import exec from 'k6/execution';
import { sleep } from 'k6';
import { Gauge } from 'k6/metrics';

import { optionsOf, timesOf, whyImpossible } from './plan.js';
import { errorText } from './pure.js';
import { addEnd, summaryText } from './summary.js';

/** Events that setup has closed and nobody has opened since. */
const closedEvents = new Gauge('closed_events');

/** Pause after a status change, s. */
const PAUSE = 0.5;

/**
 * @typedef {object} SetupData
 * @property {number} burstStartMs epoch ms from which on users log in
 * @property {number} limitMs of the users' scenario; here, because a VU keeps each function of `Math` that it has used
 * @property {string} runId
 */

/**
 * @typedef {object} Harness what this part shares with the users' part
 * @property {import('./settings.js').Config} config
 * @property {any} system the calls of the system under test
 * @property {ReturnType<typeof import('./queues.js').queuesOf>} openQueues
 * @property {(runId: string) => import('k6/x/barrier').Barrier} barrierOf
 * @property {(attempts?: number) => { session?: any, why: string }} logInAsAdmin
 * @property {(session: any, eventId: string, status: 'OPEN' | 'CLOSED') => string} setEventStatus gives what went wrong
 * @property {(text: string) => never} endRun
 */

/**
 * What k6 asks of a script beside its iterations.
 *
 * @param {Harness} harness
 */
export function around({ config, system, openQueues, barrierOf, logInAsAdmin, setEventStatus, endRun }) {
  /** @returns {SetupData} */
  function setup() {
    config.warnings.forEach((warning) => console.warn(warning));

    const whyNoBarrier = () => {
      try {
        barrierOf(runId);
        return '';
      } catch (error) {
        return errorText(error);
      }
    };

    const runId = config.runId || `${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
    const refusal = whyImpossible(config, system, segment()) || whyNoBarrier() || openQueues(config).whyNotEmpty();
    if (refusal !== '') {
      endRun(`setup: ${refusal}`);
    }
    const { session, why } = logInAsAdmin();
    if (why !== '') {
      endRun(`setup: ${why}, so event status cannot be controlled`);
    }
    config.eventIds.forEach((eventId, before) => {
      // Before the request: an interrupt while it is on its way leaves the event closed, too.
      closedEvents.add(before + 1);
      const failure = setEventStatus(session, eventId, 'CLOSED');
      if (failure !== '') {
        // Without an answer, or with one of a target in trouble, this event may be CLOSED all the same.
        const isRefused = /\bstatus 4(?!08)\d\d\b/.test(failure);
        const closed = config.eventIds.slice(0, isRefused ? before : before + 1);
        const left = closed.map((closedId) => setEventStatus(session, closedId, 'OPEN')).filter((why) => why !== '');
        closedEvents.add(left.length);
        const again = `${isRefused ? 'closed before' : 'closed, or perhaps so'}, and OPEN again: ${closed.length - left.length}`;
        endRun([`setup: ${failure}`, ...left, ...(closed.length > left.length ? [again] : [])].join('; '));
      }
      sleep(PAUSE);
    });
    return { burstStartMs: Date.now() + config.burstOffsetMs, limitMs: timesOf(config).mainS * 1000, runId };
  }

  /** Not called where setup has failed or was interrupted. @param {SetupData | undefined} data nothing under `--no-setup` */
  function teardown(data) {
    const meeting = () => {
      try {
        return data === undefined ? undefined : barrierOf(data.runId).status();
      } catch {
        return undefined;
      }
    };
    const seen = meeting();
    // What cannot be known is no reason to leave the events closed.
    if (seen?.connected && seen.arrived === 0) {
      console.log('teardown: nobody has joined a queue; the events stay CLOSED');
      return;
    }
    console.log('teardown: the events go OPEN');
    // One attempt: a target that has stopped answering should not hold up the end of the run for each of them.
    const { session, why } = logInAsAdmin(1);
    if (why !== '') {
      console.error(`teardown: ${why}; the events stay as they are`);
      return;
    }
    let closed = config.eventIds.length;
    for (const eventId of config.eventIds) {
      const failure = setEventStatus(session, eventId, 'OPEN');
      if (failure !== '') {
        console.error(`teardown: ${failure}`);
      } else {
        closedEvents.add(--closed);
      }
      sleep(PAUSE);
    }
    console.log('teardown: done');
  }

  /** @param {any} data */
  function handleSummary(data) {
    // Not before the run is over: slots are waited for, which must not lengthen it. Only a controller that has seen the drain to
    // its end has a pause; of several processes, others may still have users.
    if (data.metrics.promotion_pause_ms && segment() === '') {
      addEnd(data, openQueues(config).seeEnd());
    }
    return {
      stdout: summaryText(data, config),
      'summary.json': JSON.stringify(data, null, 2),
    };
  }

  return { options: optionsOf(config), setup, teardown, handleSummary };
}

/** The part of the run that this process is, empty for the whole. */
function segment() {
  const { executionSegment } = exec.test.options;
  return !executionSegment || executionSegment === '0:1' ? '' : executionSegment;
}
