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
  const further = occurred(others).map(([reason, count]) => `, ${reason}=${count}`);
  return `joined=${arrived}, loginFail=${login}, sseFail=${sse}${further.join('')}`;
}

/**
 * The same for people: `9 arrived, 1 failed (login 1)`.
 *
 * @param {Accounting} accounting
 */
export function accountingWords(accounting) {
  const reasons = occurred(accounting.failed).map(([reason, count]) => `${reason} ${count}`);
  const failed = reasons.length > 0 ? `, ${failedUsers(accounting)} failed (${reasons.join(', ')})` : '';
  return `${accounting.arrived} arrived${failed}`;
}

/** @param {Record<string, number>} failed */
function occurred(failed) {
  return Object.entries(failed).filter(([, count]) => count > 0);
}
