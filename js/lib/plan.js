// @ts-check
/**
 * Who does what when. Nothing here is random, so that two runs with the same settings do the same.
 *
 * @typedef {import('./config.js').Config} Config
 */

/**
 * From the first user's planned login to the last one's, ms.
 *
 * @param {Config} config
 */
export function loginSkewMs({ vus, loginBatchSize, loginBatchIntervalMs, loginBatchJitterMs }) {
  return Math.floor((vus - 1) / loginBatchSize) * loginBatchIntervalMs + loginBatchJitterMs;
}

/**
 * From the start of the burst to a user's login, ms.
 *
 * @param {Config} config
 * @param {number} userId
 */
export function loginOffsetMs({ loginBatchSize, loginBatchIntervalMs, loginBatchJitterMs }, userId) {
  const batch = Math.floor((userId - 1) / loginBatchSize);
  const jitter = loginBatchJitterMs > 0 ? (userId * 1103515245 + 12345) % loginBatchJitterMs : 0;
  return batch * loginBatchIntervalMs + jitter;
}

/**
 * The event a user waits for: in turn, unless a hot event takes its share of the users first.
 *
 * @param {Config} config
 * @param {number} userId
 */
export function eventOf({ eventIds, hotEventId, hotRatio }, userId) {
  if (hotEventId === '') {
    return eventIds[(userId - 1) % eventIds.length];
  }
  const others = eventIds.filter((eventId) => eventId !== hotEventId);
  // In millionths, because a sum of binary fractions may fall short of the whole number that it stands for.
  const millionths = Math.round(hotRatio * 1e6);
  const hotAmong = (/** @type {number} */ users) => Math.floor((users * millionths) / 1e6);
  const hotBefore = hotAmong(userId - 1);
  if (others.length === 0 || hotAmong(userId) > hotBefore) {
    return hotEventId;
  }
  return others[(userId - 1 - hotBefore) % others.length];
}

/**
 * Limit of the main scenario, s.
 *
 * @param {Config} config
 */
export function mainMaxDurationS(config) {
  return Math.max(Math.ceil((config.holdMs + config.burstOffsetMs + loginSkewMs(config)) / 1000), 60);
}

/**
 * Limit of the controller's scenario, s. A safety net: the barrier has a limit of its own.
 *
 * @param {Config} config
 */
export function controllerMaxDurationS({ barrierTimeoutMs }) {
  return Math.max(Math.ceil((barrierTimeoutMs + 60000) / 1000), 60);
}

/**
 * Why a run with these settings cannot succeed, or an empty text.
 *
 * @param {Config} config
 */
export function whyImpossible(config) {
  const skew = loginSkewMs(config);
  const lastLogin = config.burstOffsetMs + skew;
  if (config.eventIds.length === 0) {
    return 'EVENT_IDS is empty: give the ids of the events as a comma list, for example EVENT_IDS=id1,id2';
  }
  if (config.hotEventId !== '' && !config.eventIds.includes(config.hotEventId)) {
    return `HOT_EVENT_ID must be one of EVENT_IDS (${config.eventIds.join(', ')}), got "${config.hotEventId}"`;
  }
  if (lastLogin >= config.barrierTimeoutMs) {
    return (
      `the barrier cannot be met: the last of ${config.vus} users logs in ${lastLogin} ms after setup, and ` +
      `BARRIER_TIMEOUT_MS is ${config.barrierTimeoutMs}; raise it, or log in faster by LOGIN_BATCH_SIZE`
    );
  }
  if (skew >= config.sseTimeoutMs) {
    return (
      `the first streams end before the last user logs in: the logins of ${config.vus} users take ${skew} ms, and ` +
      `SSE_TIMEOUT_MS is ${config.sseTimeoutMs}; raise it, or log in faster by LOGIN_BATCH_SIZE`
    );
  }
  return '';
}
