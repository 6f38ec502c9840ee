/** A small waiting room without Redis, whose users ask again and again. How it is spoken to is the test's. */

import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * @typedef {object} Request
 * @property {string} call method and path, with `*` for the id of an event
 * @property {string} event
 * @property {any} body
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {URL} url
 */

/** @typedef {{ status?: number, headers?: Record<string, string>, body?: any, stream?: () => string, silent?: boolean }} Answer `stream`: what comes next; `silent`: nothing ever does */

/**
 * @param {{ after: (stop: () => Promise<unknown>) => void }} t
 * @param {(room: Queues) => Record<string, (request: Request) => Answer>} callsOf answers by call, such as `GET /shows/*`
 */
export async function startRoom(t, callsOf) {
  const calls = callsOf(new Queues());
  /** @type {Request[]} */
  const requests = [];
  const server = createServer(async (incoming, outgoing) => {
    let text = '';
    for await (const chunk of incoming) {
      text += chunk;
    }
    const url = new URL(incoming.url, 'http://room');
    const event = /event-[a-z]/.exec(url.pathname)?.[0] ?? '';
    const call = `${incoming.method} ${url.pathname.replace(event || '*', '*')}`;
    const request = { call, event, url, body: text === '' ? undefined : JSON.parse(text), headers: incoming.headers };
    requests.push(request);
    const { status = 200, headers = {}, body = {}, stream, silent } = calls[call]?.(request) ?? { status: 404, body: { unknown: call } };
    if (silent) {
      return;
    }
    if (stream) {
      outgoing.writeHead(status, { 'Content-Type': 'text/event-stream' });
      const rounds = setInterval(() => outgoing.write(stream()), 50);
      outgoing.on('close', () => clearInterval(rounds));
      return;
    }
    outgoing.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    outgoing.end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  return { port: server.address().port, baseUrl: `http://127.0.0.1:${server.address().port}`, requests };
}

/** A box office with paths and JSON of its own. */
export const boxOffice = (queues) => {
  const userOf = ({ headers }) => headers['x-token'].replace('token of ', '');
  const json = (act) => (request) => (request.headers['content-type'] === 'application/json' ? act(request) : { status: 415 });
  return {
    'POST /session': json(({ body: { user, secret } }) =>
      secret === 'password123' ? { status: 201, body: { token: `token of ${user}` } } : { status: 403, body: { why: 'no such pair' } },
    ),
    'PUT /shows/*': json(({ event, body }) => queues.setOpen(event, body.open) ?? {}),
    'GET /shows/*/number': (request) => {
      const ahead = queues.placeOf(request.event, userOf(request));
      return { body: ahead === 0 ? { state: 'called' } : { state: 'waiting', ahead } };
    },
    'GET /shows/*/numbers': (request) => ({
      stream: () => {
        const ahead = queues.placeOf(request.event, userOf(request));
        return ahead === 0 ? 'event: called\n\n' : `event: ahead\ndata: ${ahead}\n\n`;
      },
    }),
    'DELETE /shows/*/number': (request) => ({ status: queues.leave(request.event, userOf(request)) ? 204 : 404 }),
  };
};

/** One whose people are known by a cookie alone, which k6's jar holds, and who may not log in while they have one. */
export const turnstile = (queues) => {
  const whoIs = ({ headers }) => /\bsid=([^;]+)/.exec(headers.cookie ?? '')?.[1] ?? '';
  const only = (isGood, act) => (request) => {
    const who = whoIs(request);
    return isGood(who) ? act(request, who) : { status: 403, body: { why: `${who || 'nobody'} may not do this` } };
  };
  const isAdmin = (who) => who.startsWith('admin@');
  const isUser = (who) => who.startsWith('user');
  return {
    'POST /session': only((who) => who === '', ({ body: { user } }) => ({ headers: { 'Set-Cookie': `sid=${user}; Path=/; HttpOnly` } })),
    'GET /shows/*': only(isAdmin, ({ event }) => ({ body: { open: queues.isOpen(event) } })),
    'PUT /shows/*': only(isAdmin, ({ event, body }) => queues.setOpen(event, body.open) ?? {}),
    'GET /shows/*/number': only(isUser, ({ event }, who) => ({ body: { ahead: queues.placeOf(event, who) } })),
    'DELETE /shows/*/number': only(isUser, ({ event }, who) => ({ status: queues.leave(event, who) ? 200 : 404 })),
  };
};

/** The file of a port to it. */
export const TURNSTILE_PORT = `
import http from 'k6/http';
import { sleep } from 'k6';
function ask(settings, method, path, body) {
  const answer = http.request(method, settings.baseUrl + path, body && JSON.stringify(body), { timeout: 5000 });
  if (answer.status !== 200) {
    throw new Error('status ' + answer.status + ' ' + answer.body);
  }
  return answer.json();
}
export function logIn(settings, { email }) {
  ask(settings, 'POST', '/session', { user: email });
}
export function setEventStatus(settings, session, eventId, status) {
  ask(settings, 'PUT', '/shows/' + eventId, { open: status === 'OPEN' });
}
export function eventStatus(settings, session, eventId) {
  return ask(settings, 'GET', '/shows/' + eventId).open ? 'OPEN' : 'CLOSED';
}
export function wait(settings, session, eventId, place) {
  while (ask(settings, 'GET', '/shows/' + eventId + '/number').ahead > 0) {
    place.position();
    sleep(0.05);
  }
  place.promoted();
}
export function leave(settings, session, eventId) {
  ask(settings, 'DELETE', '/shows/' + eventId + '/number');
}
`;

/** Who waits for which event, and who has been let in: two at a time. */
class Queues {
  /** Whether somebody is let in only when `promote` is called, and not whenever anybody asks. */
  byRounds = false;
  #open = new Set();
  #waiting = new Map();
  #inside = new Map();

  setOpen(event, open) {
    this.#open[open ? 'add' : 'delete'](event);
  }

  isOpen(event) {
    return this.#open.has(event);
  }

  /** The user's place, from 1; 0 once let in. Whoever is not known yet joins at the end. */
  placeOf(event, user) {
    const waiting = this.#usersOf(this.#waiting, event);
    const inside = this.#usersOf(this.#inside, event);
    if (!inside.has(user)) {
      waiting.add(user);
    }
    if (!this.byRounds) {
      this.promote(event);
    }
    return [...waiting].indexOf(user) + 1;
  }

  /** Lets in as many as may be inside; returns who is. */
  promote(event) {
    const waiting = this.#usersOf(this.#waiting, event);
    const inside = this.#usersOf(this.#inside, event);
    for (const first of waiting) {
      if (!this.#open.has(event) || inside.size >= 2) {
        break;
      }
      waiting.delete(first);
      inside.add(first);
    }
    return [...inside];
  }

  leave(event, user) {
    return [this.#inside, this.#waiting].some((queues) => this.#usersOf(queues, event).delete(user));
  }

  #usersOf(queues, event) {
    return queues.get(event) ?? queues.set(event, new Set()).get(event);
  }
}
