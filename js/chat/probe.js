// @ts-check
/**
 * Will a run against this chat service get anywhere? Tries once what the tests do all the time: both health addresses are asked, the
 * samples of the loop are looked for, one user connects and has a message answered.
 *
 * For each look it prints a line of JSON: `check` names it, `ok` says whether it is as it should be, `seen` what was seen, and `mend`
 * what to do about it. `barrier-bench doctor chat` prints them; by hand, with the settings of the streaming test:
 *
 *   k6 run --quiet --log-format raw --summary-mode disabled js/chat/probe.js
 */

import http from 'k6/http';

import { addressOf } from './lib/dialects.js';
import { namesWith, sampleOf, TICKS } from './lib/pace.js';
import { failureText, SYSTEM_TAGS, talk } from './lib/session.js';
import { readConfig } from './lib/settings.js';
import { dialectOf, prompts, settled, tokensOf } from './lib/start.js';

const config = settled(() => readConfig(__ENV));
const dialect = dialectOf(config);
const token = tokensOf(config.tokensFile)?.[0];

export const options = { vus: 1, iterations: 1, systemTags: SYSTEM_TAGS };

export default function () {
  const stream = config.wsUrl.replace(/^ws/, 'http');
  tryHealth('API', `${config.baseUrl}/health`, 'BASE_URL');
  tryHealth('streams', `${stream}/health`, 'WS_URL');
  tryPace();
  tryMessage();
}

/**
 * @param {string} what
 * @param {string} url
 * @param {string} variable that says where it is
 */
function tryHealth(what, url, variable) {
  const { status, error } = http.get(url, { timeout: '5s' });
  const well = status >= 200 && status < 300;
  const mend = `start the service, or say by ${variable} where it is; \`ss -ltn\` lists the ports that somebody listens on`;
  tell(`health of the ${what}`, `${url}: ${status === 0 ? `no answer: ${error}` : `status ${status}`}`, well ? undefined : mend);
}

/** Whether the loop tells its pace; the samples whose names come near it, where it does not. */
function tryPace() {
  const { status, error, body } = http.get(config.metricsUrl, { timeout: '5s' });
  const at = config.metricsUrl;
  if (status < 200 || status >= 300) {
    tell('pace', `${at}: ${status === 0 ? `no answer: ${error}` : `status ${status}`}`, 'without the loop\'s pace a run is INVALID: see whether the service has a /metrics');
    return;
  }
  const missing = [config.hzMetric, TICKS].filter((name) => sampleOf(body, name) === undefined);
  if (missing.length === 0) {
    tell('pace', `${at}: ${config.hzMetric} is ${sampleOf(body, config.hzMetric)}, ${TICKS} is ${sampleOf(body, TICKS)}`);
    return;
  }
  const near = ['hz', 'loop'].map((word) => `with ${word}: ${namesWith(body, word).join(', ') || 'none'}`);
  tell(
    'pace',
    `${at}: no sample ${missing.join(', no sample ')}; names ${near.join('; ')}`,
    'without it a run is INVALID: read the log of the loop (consciousness-service), and see what its exporter calls the sample',
  );
}

/** Whether a user is let in, and has a message answered. */
function tryMessage() {
  // The address itself may hold the token.
  const at = `${config.wsUrl}${dialect.path}`;
  const shown = token === undefined ? 'no token was sent' : 'a token was sent';
  const seen = /** @type {{ reply?: import('./lib/replies.js').Reply }} */ ({});
  const limits = { dialect, token, replyLimitMs: config.replyLimitMs };
  const { connected, why } = talk(addressOf(config.wsUrl, dialect, token), limits, function* (connection) {
    seen.reply = yield connection.ask({ id: 'probe', content: prompts[0], user: 1 });
  });
  if (!connected) {
    const refused = /status 40[13]/.test(why);
    const mend = refused
      ? token === undefined
        ? 'give the file of TOKENS, or see in the log of the service (chat-service) why it refuses'
        : 'see whether the first token of TOKENS is still good, and in the log of the service (chat-service) why it refuses'
      : 'see whether WS_URL and DIALECT are those of the service';
    tell('connection', `${at}: ${why}; ${shown}`, mend);
    return;
  }
  tell('connection', `${at}: status 101; ${shown}`);
  const { reply } = seen;
  if (reply?.failed !== undefined) {
    tell('reply', failureText(reply.failed, { code: reply.code }), 'see in the log of the service (chat-service) what became of the message, and whether DIALECT is its own');
  } else if (reply?.doneAt !== undefined) {
    tell('reply', `a message was answered in ${reply.doneAt - reply.sentAt} ms`);
  }
}

/**
 * @param {string} check
 * @param {string} seen
 * @param {string} [mend] what to do; without it all is well
 */
function tell(check, seen, mend) {
  console.log(JSON.stringify({ check, ok: mend === undefined, seen, mend }));
}
