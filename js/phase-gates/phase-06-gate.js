// @ts-check
/** Phase 6, the web: pages and JSON; views and sockets that are held open, counted by the target; a room of messages. */

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { setTimeout } from 'k6/timers';
import { WebSocket } from 'k6/websockets';
import ws from 'k6/ws';

import { gate } from './lib/gate.js';

/** From the start of the last view until it is open, and before the first of them goes, s. */
const SETTLE = 1;

/** Users that hold sockets open; each has its share of them. */
const HOLDERS = 50;
/** While so many s they come, one after another. */
const rampOf = (/** @type {boolean} */ quick) => (quick ? 5 : 30);

const { config, options, feed, handleSummary, get } = gate(6, 'Phoenix web', ({ seconds, views, quick }) => {
  const ramp = rampOf(quick);
  const room = { from: 2 * seconds + ramp + (quick ? 9 : 25), lasts: Math.ceil(seconds / 2) };
  // When the last of the room has left.
  const sockets = room.from + room.lasts + 5;
  return {
    http_requests: {
      executor: 'ramping-vus', exec: 'browse', startVUs: 10,
      stages: [{ duration: `${Math.ceil(seconds / 2)}s`, target: quick ? 20 : 100 }, { duration: `${Math.ceil(seconds / 2)}s`, target: quick ? 20 : 100 }],
    },
    liveview_connections: {
      executor: 'ramping-vus', exec: 'look', startVUs: 0, startTime: `${seconds + 2}s`, gracefulStop: '1s', gracefulRampDown: '1s',
      stages: [{ duration: `${ramp}s`, target: views }, { duration: `${seconds}s`, target: views }, { duration: '5s', target: 0 }],
    },
    liveview_count: { executor: 'constant-vus', exec: 'count', vus: 1, startTime: `${seconds + 2 + ramp + SETTLE}s`, duration: `${Math.max(1, seconds - 2 * SETTLE)}s` },
    websocket_messaging: { executor: 'constant-vus', exec: 'talk', vus: 20, startTime: `${room.from}s`, duration: `${room.lasts}s` },
    websocket_connections: { executor: 'per-vu-iterations', exec: 'hold', vus: HOLDERS, iterations: 1, startTime: `${sockets}s`, maxDuration: `${seconds + ramp + 60}s` },
    websocket_count: { executor: 'constant-vus', exec: 'countSockets', vus: 1, startTime: `${sockets + ramp + 2 * SETTLE}s`, duration: `${Math.max(1, seconds - 4 * SETTLE)}s` },
  };
}, { seconds: 60 });

export { options, handleSummary };

const socket = (/** @type {string} */ path) => config.baseUrl.replace(/^http/, 'ws') + path;
/** A view looks at another category so often, ms. */
const LOOKS = 3000;

export function browse() {
  const page = http.get(`${config.baseUrl}/`, { tags: { name: 'page' } });
  check(page, { 'http status 200': ({ status }) => status === 200 });
  feed('http_request_duration', page.timings.duration);
  sleep(0.5);
  const list = http.get(`${config.baseUrl}/api/products`, { headers: { Accept: 'application/json' }, tags: { name: 'products' } });
  check(list, {
    'api status 200': ({ status }) => status === 200,
    'api returns json': ({ headers }) => String(headers['Content-Type']).includes('application/json'),
  });
  feed('json_api_duration', list.timings.duration);
  sleep(1);
}

/** A view stays open until the users of this load go. */
export function look() {
  const began = Date.now();
  let mounted = false;
  let asked = 0;
  const answer = ws.connect(socket('/phase/06/live'), { tags: { name: 'live' } }, (view) => {
    view.on('message', (text) => {
      const { event } = JSON.parse(text);
      if (event === 'mount') {
        mounted = true;
        feed('liveview_mount_duration', Date.now() - began);
      } else if (event === 'patch') {
        feed('liveview_patch_duration', Date.now() - asked);
      }
    });
    view.setInterval(() => {
      asked = Date.now();
      view.send('{"category":"electronics"}');
    }, LOOKS);
  });
  check(answer, { 'liveview mounted': ({ status }) => status === 101 && mounted });
}

/** What is open now, again and again while all are to be. */
export function count() {
  const told = get('/phase/06/views');
  if (told) {
    feed('concurrent_liveviews', told.open);
    feed('memory_per_liveview_kb', told.open > 0 ? told.kb_per_view : undefined);
  }
  sleep(0.25);
}

/** Somebody who says something each second, and hears it. */
export function talk() {
  const own = `${exec.vu.idInTest}-`;
  const said = new Map();
  let number = 0;
  let heard = 0;
  const answer = ws.connect(socket('/socket/websocket'), { tags: { name: 'room' } }, (room) => {
    const send = (/** @type {string} */ event, /** @type {object} */ payload) => room.send(JSON.stringify({ topic: 'room:lobby', event, payload, ref: '1' }));
    room.on('open', () => send('phx_join', {}));
    room.on('message', (text) => {
      const { event, payload } = JSON.parse(text);
      if (event !== 'new_msg' || !said.has(payload.body)) {
        return;
      }
      heard += 1;
      feed('websocket_msg_duration', Date.now() - said.get(payload.body));
      said.delete(payload.body);
    });
    room.setInterval(() => {
      number += 1;
      said.set(own + number, Date.now());
      send('new_msg', { body: own + number });
    }, 1000);
    // Before the load ends, so that the session is whole.
    room.setTimeout(() => room.close(), 3500);
  });
  check(answer, { 'websocket connected': ({ status }) => status === 101, 'all own messages are heard': () => heard === number && heard > 0 });
}

/** Sockets, each in a room of its own: in one room all would hear each other, and that would be another load. */
export function hold() {
  const ramp = 1000 * rampOf(config.quick);
  const first = exec.scenario.iterationInTest;
  let joined = 0;
  let own = 0;
  for (let number = first; number < config.sockets; number += HOLDERS) {
    own += 1;
    setTimeout(() => {
      const one = new WebSocket(socket('/socket/websocket'));
      one.onopen = () => one.send(JSON.stringify({ topic: `room:${number}`, event: 'phx_join', payload: {}, ref: '1' }));
      one.onmessage = () => {
        joined += 1;
      };
      const left = ramp * (1 - number / config.sockets) + 1000 * config.seconds;
      setTimeout(() => one.close(), left);
    }, (ramp * number) / config.sockets);
  }
  setTimeout(() => check(joined, { 'all sockets were let in': (all) => all === own }), ramp + 1000 * config.seconds - 500);
}

/** What is open now, again and again while all are to be. */
export function countSockets() {
  feed('concurrent_websockets', get('/phase/06/views')?.sockets);
  sleep(0.25);
}
