// @ts-check
/**
 * The settings of a gate: every environment variable that it reads, in one object. Needs nothing of k6.
 *
 * An empty variable counts as unset. A value that is not of the right kind ends the run before it starts.
 */

/**
 * @typedef {object} Config
 * @property {string} baseUrl without a slash at the end
 * @property {boolean} quick whether loads are short and what is counted is small, so that nothing follows from it: QUICK=1
 * @property {number} seconds that the load of the gate lasts; GATE_MS has it in ms
 * @property {number} views that are open at once, phase 6
 * @property {number} sockets that are open at once, phase 6
 * @property {number} rows of the database, phase 5
 * @property {number} rate calls of nodes to begin in a second, phase 9
 * @property {number} requests whose share of good ones says something, phase 10
 * @property {number} kills of nodes, phase 9
 * @property {boolean} judged elsewhere: the runner says the verdict, which has more to go by. VERDICT_BY names it
 * @property {string} results what the tools of phases 0 and 11 left: a file, from the repository's root on
 */

/**
 * @param {Record<string, string | undefined>} env
 * @param {{ seconds?: number }} [usual] what a gate does not share with the others
 * @returns {Config}
 * @throws {Error} that names the variable, what it holds and what is allowed
 */
export function readConfig(env, { seconds = 60 } = {}) {
  const text = (/** @type {string} */ name, fallback = '') => (env[name] ?? '').trim() || fallback;
  const refuse = (/** @type {string} */ name, /** @type {string} */ allowed) => {
    throw new Error(`${name} must be ${allowed}, got "${env[name]}"`);
  };
  for (const name of ['K6_DURATION', 'K6_VUS', 'K6_ITERATIONS', 'K6_STAGES']) {
    if (text(name) !== '') {
      throw new Error(`${name} would replace all loads of a gate by one that measures nothing, got "${env[name]}"; QUICK=1 makes them short and small`);
    }
  }
  const wanted = text('QUICK', '0');
  if (wanted !== '0' && wanted !== '1') {
    refuse('QUICK', '0 or 1');
  }
  const whole = (/** @type {string} */ name, /** @type {number} */ usually) => {
    const value = Number(text(name, String(usually)));
    return Number.isSafeInteger(value) && value >= 1 ? value : refuse(name, 'a whole number of at least 1');
  };
  const quick = wanted === '1';
  // A smaller load would be a lower bar with the same verdict.
  const sized = (/** @type {string} */ name, /** @type {number} */ full, /** @type {number} */ small) => {
    const value = whole(name, quick ? small : full);
    return quick || value >= full ? value : refuse(name, `at least ${full} where QUICK is not 1`);
  };
  const baseUrl = text('BASE_URL', 'http://localhost:4000').replace(/\/+$/, '');
  if (!/^https?:\/\/./.test(baseUrl)) {
    refuse('BASE_URL', 'an address that begins with http:// or https://');
  }
  return {
    baseUrl,
    quick,
    seconds: Math.ceil(sized('GATE_MS', 1000 * seconds, 1000 * Math.min(seconds, 8)) / 1000),
    views: sized('VIEWS', 1000, 100),
    sockets: sized('SOCKETS', 5000, 500),
    rows: sized('ROWS', 1000000, 100000),
    rate: sized('RPC_RATE', 1000, 1000),
    requests: sized('REQUESTS', 10000, 1000),
    kills: sized('KILLS', 5, 1),
    judged: text('VERDICT_BY') !== '',
    results: text('RESULTS', '.cache/phase-results.json'),
  };
}
