// @ts-check
/** Where all users meet, with their connections open, before the first of them sends. Needs a k6 with k6/x/barrier. */

import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { Barrier } from 'k6/x/barrier';

/** Users who were let go with a connection that stood. Their arrival was before: a connection can be lost while all wait. */
const usersMet = new Counter('users_met');

/**
 * @param {import('./settings.js').Config} config
 * @param {string[]} scenarios whose users take part
 */
export function openMeeting({ vus, barrierTimeoutMs }, scenarios) {
  // k6 stands in for a module that it does not have with one that exports nothing.
  if (typeof Barrier !== 'function') {
    throw new Error('START=together needs a k6 with k6/x/barrier: `make k6` builds one');
  }
  const barrier = new Barrier('first-message', {
    parties: vus,
    reasons: ['refused'],
    failUnaccounted: scenarios,
    timeout: barrierTimeoutMs,
  });

  /** A meeting that cannot come about ends the run: it would measure something else. @param {() => unknown} step */
  const orEnd = (step) => {
    try {
      step();
    } catch (error) {
      exec.test.abort(`START=together: ${/** @type {any} */ (error)?.message ?? error}`);
    }
  };

  return {
    /** Returns when all are connected, or known to have failed. */
    meet: () => orEnd(() => barrier.arriveAndWait()),
    /** Nobody waits for this user: there is no connection. */
    miss: () => {
      usersMet.add(0);
      orEnd(() => barrier.fail('refused'));
    },
    /**
     * What became of the first message after all have met. While a user waits, k6 does not listen to the connection: that it was
     * lost shows when it is used, before anything of the reply has come.
     *
     * @param {import('./replies.js').Reply} reply
     */
    began: ({ failed, firstAt }) => usersMet.add(failed === 'broken' && firstAt === undefined ? 0 : 1),
    /** How it went, also in the summary. */
    status: () => barrier.status(),
  };
}
