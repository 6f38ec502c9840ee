// @ts-check
/**
 * The loads of a harness: those that the suite declares, or its own.
 */

/**
 * What goes to `options.scenarios`. `barrier-bench` hands the loads that a suite declares on as `LOAD`, k6's own `scenarios`
 * in JSON; under bare `k6 run` there is no such variable, and the harness's own loads count.
 *
 * @template T
 * @param {T} own the harness's own loads, as k6's `scenarios` has them
 * @returns {T} k6's `scenarios`
 * @throws {Error} where `LOAD` is no JSON object
 */
export function declared(own) {
  const text = (__ENV.LOAD ?? '').trim();
  if (text === '') {
    return own;
  }
  let loads;
  try {
    loads = JSON.parse(text);
  } catch (error) {
    throw new Error(`LOAD is not JSON (${error}); received \`${text}\`; allowed: k6's scenarios as a JSON object`);
  }
  if (loads === null || typeof loads !== 'object' || Array.isArray(loads)) {
    throw new Error(`LOAD is no object; received \`${text}\`; allowed: k6's scenarios as a JSON object`);
  }
  return loads;
}
