// @ts-check
/** The harness's own metrics. Their names are a contract with the runner and with earlier results. */

import { Counter, Trend } from 'k6/metrics';

/** From opening a stream to its end, ms: the time in the queue, not that of connecting. */
export const sseConnectionTime = new Trend('sse_connection_time', true);
/** Failed login attempts, the admin's too. */
export const loginFailures = new Counter('login_failures');
/** Logins given up after all attempts, the admin's too. */
export const loginFinalFailures = new Counter('login_final_failures');
/** Users whose stream failed before promotion or was refused. */
export const sseFailures = new Counter('sse_failures');
/** Disconnects not answered by 200. */
export const disconnectFailures = new Counter('disconnect_failures');
/** Promoted users. */
export const completedUsers = new Counter('completed_users');
/** Users that were told a position in the queue. */
export const inEntryEvents = new Counter('in_entry_events');
/** Users promoted before they were told a position. */
export const inProgressBeforeEntryEvents = new Counter('in_progress_before_entry_events');
/** JSON messages up to the promotion. */
export const sseEvents = new Counter('sse_events');
/** How long the controller waited at the barrier, ms; recorded whatever the outcome. */
export const barrierWaitMs = new Trend('barrier_wait_ms', true);
/** From the barrier's release to a user's promotion, ms. */
export const openToPromoteMs = new Trend('open_to_promote_ms', true);
/** How long a user waited for the planned login, ms. */
export const loginBatchDelayMs = new Trend('login_batch_delay_ms', true);
