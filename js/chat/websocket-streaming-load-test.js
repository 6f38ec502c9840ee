// @ts-check
/**
 * Does a chat service stream its replies to many users at once, while its own loop keeps its pace?
 *
 * Each iteration is a session of one user: one connection, messages one after another for 5 to 15 s, each reply awaited and
 * checked frame by frame, the connection closed, a pause. One more VU reads the loop's pace once a second.
 *
 *   k6 run -e VUS=50 -e DURATION=1m js/chat/websocket-streaming-load-test.js
 *
 * All settings are environment variables: README.md has them, lib/settings.js reads them. How the service is spoken to stands
 * in lib/dialects.js.
 */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

import { declared } from '../lib/load.js';
import { addressOf } from './lib/dialects.js';
import { namesWith, sampleOf } from './lib/pace.js';
import { draw, promptOf, within } from './lib/prompts.js';
import { attempt, failureText, judge, SYSTEM_TAGS, talk } from './lib/session.js';
import { lengthOf, readConfig, stagesOf } from './lib/settings.js';
import { dialectOf, enoughTokens, prompts, settled, tokensOf } from './lib/start.js';
import { addCutOff, PARTS, summaryText } from './lib/summary.js';

/** The loop's pace, Hz, as read once a second. */
const hzAverage = new Trend('hz_avg');
/** Reads of it that gave none. */
const hzMissing = new Counter('hz_missing');

/** In two minutes to all users, by way of a quarter and a half of them; five minutes with all; half a minute to none. */
const COURSE = /** @type {import('./lib/settings.js').Course} */ ({
  holdS: 300,
  stages: [[30, 0.25], [30, 0.5], [60, 1], [300, 1], [30, 0]],
});
/** All connect within 30 s and meet; then as above. */
const MEETING = /** @type {import('./lib/settings.js').Course} */ ({ holdS: 300, stages: [[30, 1], [300, 1], [30, 0]] });
/** The longest session is over by then: 15 s and the limit of a reply. */
const GRACE = '45s';

const config = settled(() => readConfig(__ENV));
const dialect = dialectOf(config);
const tokens = tokensOf(config.tokensFile);
const scenarios = settled(() => declared(usualLoad()));
// Only then: a k6 without k6/x/barrier runs everything else.
const meeting = config.together ? settled(() => require('./lib/meeting.js').openMeeting(config, streaming())) : undefined;

export const options = {
  scenarios,
  systemTags: SYSTEM_TAGS,
  summaryTrendStats: ['count', 'avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)'],
  thresholds: {
    error_rate: [`rate<${config.errorRateLimit}`],
    ws_connected_ok: ['rate==1'],
    // Users who meet all connect at once: how long that takes is no objective then.
    ws_connection_time: config.together ? [] : [`p(95)<${config.connectLimitMs}`],
    message_response_time: [`p(90)<${config.replyP90LimitMs}`],
    ...(scenarios.hz ? { hz_avg: [`avg>${config.hzLimit}`], hz_missing: ['count==0'], 'checks{type:hz}': [] } : {}),
    // Nothing is asked of these: so they appear in the summary.
    ...Object.fromEntries(PARTS.map((part) => [part, []])),
  },
};

export function setup() {
  settled(() => enoughTokens(tokens, exec.instance.vusInitialized));
}

/** A session. */
export default function () {
  const user = exec.vu.idInTest;
  const session = exec.vu.iterationInScenario;
  const token = tokens?.[(user - 1) % tokens.length];

  attempt();
  const options = { dialect, token, replyLimitMs: config.replyLimitMs, silenceMs: config.silenceMs };
  const { connected, why } = talk(addressOf(config.wsUrl, dialect, token), options, function* (connection) {
    if (session === 0) {
      meeting?.meet();
    }
    yield* converse(connection, user, session);
  });
  if (!connected) {
    conclude(user, 'refused', { why });
    if (session === 0) {
      meeting?.miss();
    }
  }
  sleep(within(config.pause, draw(user, session, 2)) / 1000);
}

/**
 * Sends messages one after another, each after the reply to the one before. The first is attempted already.
 *
 * @param {import('./lib/session.js').Connection} connection
 * @param {number} user
 * @param {number} session
 * @returns {Generator<import('./lib/session.js').Wait<any>, void, any>}
 */
function* converse(connection, user, session) {
  const content = promptOf(prompts, user, session);
  const endsAt = Date.now() + within(config.session, draw(user, session, 1));
  for (let number = 1; ; number++) {
    const reply = yield connection.ask({ id: `${user}-${session}-${number}`, content, user });
    const { failed, code } = reply;
    if (session === 0 && number === 1) {
      meeting?.began(reply);
    }
    conclude(user, failed, { why: connection.why(), code });
    // What still comes of a reply that is late could be taken for the next one.
    if (!connection.isOpen() || failed === 'timeout' || number === config.messages) {
      return;
    }
    yield connection.pause(config.thinkMs);
    // A connection that was lost meanwhile fails a message, also where none was due.
    if (config.messages === 0 && Date.now() >= endsAt && connection.isOpen()) {
      return;
    }
    attempt();
  }
}

let told = 0;

/**
 * Counts what became of an attempt. The first failures of the first users are told: thousands of lines would bury them.
 *
 * @param {number} user
 * @param {import('./lib/replies.js').Reason | undefined} failed
 * @param {{ why?: string, code?: unknown }} details
 */
function conclude(user, failed, details) {
  judge(failed);
  if (failed !== undefined && (config.verbose || (user <= 10 && told < 3))) {
    told += 1;
    console.warn(`user ${user}: ${failureText(failed, details)}`);
  }
}

/** Reads the loop's pace: one reader, once a second, however many users there are. */
export function readPace() {
  const answer = http.get(config.metricsUrl, { timeout: '5s', tags: { name: 'metrics' } });
  const hz = sampleOf(answer.body, config.hzMetric);
  check(hz, { 'Hz metric validation passed': (pace) => pace !== undefined && pace > config.hzLimit }, { type: 'hz' });
  if (hz !== undefined) {
    hzAverage.add(hz);
    return;
  }
  hzMissing.add(1);
  if (told === 0) {
    told += 1;
    const names = namesWith(answer.body, 'hz').join(', ') || 'none with hz in its name';
    console.warn(`no sample ${config.hzMetric} at ${config.metricsUrl}: status ${answer.status} ${answer.error}; samples: ${names}`);
  }
}

/** @param {any} data */
export function handleSummary(data) {
  addCutOff(data);
  return {
    stdout: summaryText(data, config, meeting?.status()),
    'summary.json': JSON.stringify(data, null, 2),
  };
}

/**
 * The load where LOAD does not say another: the users, and the reader of the loop's pace beside them.
 *
 * @returns {Record<string, any>}
 */
function usualLoad() {
  const stages = stagesOf(config.together ? MEETING : COURSE, config);
  const users = { executor: 'ramping-vus', stages, gracefulRampDown: GRACE, gracefulStop: GRACE };
  const duration = `${lengthOf(stages)}ms`;
  const reader = { executor: 'constant-arrival-rate', rate: 1, duration, preAllocatedVUs: 1, exec: 'readPace', gracefulStop: '5s' };
  return { streaming: users, ...(config.hz ? { hz: reader } : {}) };
}

/** The scenarios in which users have sessions. */
function streaming() {
  return Object.keys(scenarios).filter((name) => scenarios[name].exec === undefined || scenarios[name].exec === 'default');
}
