/** What the scripts of this folder share: how existing ones put things on the wire, and how long a session takes here. */

import { sleep } from 'k6';
import ws from 'k6/ws';

/** All pauses are this share of what existing scripts take: 1 for theirs. */
export const PACE = Number(__ENV.PACE || 1);

const between = (fromS, toS) => (fromS + Math.random() * (toS - fromS)) * PACE;

export const rest = (fromS, toS) => sleep(between(fromS, toS));

/** How long a session lasts by whose end its reply has come: where pauses are shorter, a reply still takes its time. */
export const stay = (fromS, toS) => between(fromS, toS) + (PACE < 1 ? fromS : 0);

/** A machine that does other things as well does not always give the loop its time. */
export const HZ_LIMIT = Number(__ENV.HZ_LIMIT || 95);

/** An object is sent as a form all the same: k6 goes by the body and not by the label. */
export const FORM_LABELLED_JSON = { headers: { 'Content-Type': 'application/json' } };

export const bearer = (token, params = {}) => ({ headers: { ...params.headers, Authorization: `Bearer ${token}` } });

export const jsonOf = ({ body }) => {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
};

/**
 * A session over the older of k6's WebSocket modules, which blocks until it is closed.
 *
 * @param {string} url
 * @param {{ headers?: Record<string, string>, idleS?: number, openS: number, first?: () => object | object[], frame: (frame: any, socket: any) => void }} how
 *   silent for `idleS` before the first frame, which may be several in a row, or for good without one; closed after `openS`
 *   unless `frame` has closed it
 */
export function session(url, { headers, idleS = 0, openS, first, frame }) {
  return ws.connect(url, { headers }, (socket) => {
    const begin = () => [first()].flat().forEach((sent) => socket.send(JSON.stringify(sent)));
    if (first) {
      socket.on('open', () => (idleS > 0 ? socket.setTimeout(begin, idleS * PACE * 1000) : begin()));
    }
    socket.on('message', (text) => frame(JSON.parse(text), socket));
    socket.setTimeout(() => socket.close(), openS * 1000);
  });
}

/** For the tests: existing scripts have none. */
export function handleSummary(data) {
  return { 'summary.json': JSON.stringify(data) };
}
