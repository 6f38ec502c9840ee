// The calls of a box office: who wants to see a show takes a number, and asks when it is called.
import http from 'k6/http';
import { sleep } from 'k6';

const json = { 'Content-Type': 'application/json' }; // which k6 does not send by itself

export function logIn(settings, { email, password }) {
  const answer = http.post(`${settings.baseUrl}/session`, JSON.stringify({ user: email, secret: password }), {
    headers: json,
    timeout: settings.loginTimeoutMs,
  });
  return { 'X-Token': wanted(answer, 201).json('token') }; // what the other calls get as `session`
}

export function setEventStatus(settings, session, eventId, status) {
  const params = { headers: { ...session, ...json }, timeout: settings.eventTimeoutMs };
  wanted(http.put(`${settings.baseUrl}/shows/${eventId}`, JSON.stringify({ open: status === 'OPEN' }), params));
}

export function wait(settings, session, eventId, place) {
  const end = Date.now() + place.limitMs;
  for (let leftMs = place.limitMs; leftMs > 0; leftMs = end - Date.now()) {
    const { state } = asked(settings, session, eventId, Math.min(settings.sseIdleTimeoutMs, leftMs));
    if (state === 'called') {
      place.promoted();
      return;
    }
    place.position(); // the first time, the user arrives at the barrier
    sleep(Math.max(Math.min(settings.pollIntervalMs, end - Date.now()), 0) / 1000);
  }
  giveUp(settings, session, eventId);
  throw new Error(`the number was not called within ${place.limitMs} ms`);
}

export function leave(settings, session, eventId) {
  const params = { headers: session, timeout: settings.disconnectTimeoutMs };
  wanted(http.del(`${settings.baseUrl}/shows/${eventId}/number`, null, params), 204);
}

function asked(settings, session, eventId, timeout) {
  try {
    return wanted(http.get(`${settings.baseUrl}/shows/${eventId}/number`, { headers: session, timeout })).json();
  } catch (error) {
    giveUp(settings, session, eventId);
    throw error;
  }
}

function giveUp(settings, session, eventId) {
  try {
    leave(settings, session, eventId); // else the number is called later, for nobody
  } catch {
    // it is the wait that has failed
  }
}

function wanted(answer, status = 200) {
  if (answer.status !== status) {
    throw new Error(`status ${answer.status} ${answer.error} ${answer.body}`);
  }
  return answer;
}
