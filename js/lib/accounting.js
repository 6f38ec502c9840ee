// @ts-check
/** The accounting of a barrier in words. */

/**
 * @typedef {object} Accounting
 * @property {number} arrived
 * @property {Record<string, number>} failed by reason
 */

/** @param {Accounting} accounting */
export function failedUsers({ failed }) {
  return Object.values(failed).reduce((sum, count) => sum + count, 0);
}

/**
 * `joined=9, loginFail=1, sseFail=0`, and whatever else users failed of.
 *
 * @param {Accounting} accounting
 */
export function accountingText({ arrived, failed }) {
  const { login = 0, sse = 0, ...others } = failed;
  const further = Object.entries(others)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `, ${reason}=${count}`);
  return `joined=${arrived}, loginFail=${login}, sseFail=${sse}${further.join('')}`;
}
