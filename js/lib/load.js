// @ts-check
/** The load of a run: that of whoever starts it, else the harness's own. */

/**
 * The scenarios of k6 that the variable LOAD holds as JSON, in k6's own words, or else the defaults.
 *
 * @param {Record<string, any>} defaults k6's `scenarios`
 * @returns {Record<string, any>}
 * @throws {Error} where LOAD is no JSON object with at least one scenario
 */
export function declared(defaults) {
  const given = (__ENV.LOAD ?? '').trim();
  if (given === '') {
    return defaults;
  }
  let scenarios;
  try {
    scenarios = JSON.parse(given);
  } catch {
    // Told below, with what is no object either.
  }
  if (scenarios === null || typeof scenarios !== 'object' || Array.isArray(scenarios) || Object.keys(scenarios).length === 0) {
    const example = '{"main":{"executor":"constant-vus","vus":10,"duration":"1m"}}';
    throw new Error(`LOAD must be a JSON object of k6 scenarios such as ${example}, got "${given}"`);
  }
  return scenarios;
}
