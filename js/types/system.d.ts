/**
 * What the harness asks of the system under test. A file with the first four of these functions is all that it knows of it: `SYSTEM`
 * names the file. They run in k6, and import what they need of it. They are synchronous.
 *
 * A function that fails throws an `Error` whose message says what came instead. The harness logs the first few, on one line,
 * shortened, and without passwords and tokens.
 */

/** Settings of the harness, by which the calls are made; the environment variables behind them are in its reference. */
export interface Settings {
  /** `BASE_URL` and `BROKER_BASE_URL`, without a slash at the end; the second is the first unless it is given. */
  readonly baseUrl: string;
  readonly brokerBaseUrl: string;
  /** `LOGIN_TIMEOUT_MS`, `SSE_IDLE_TIMEOUT_MS` and `DISCONNECT_TIMEOUT_MS`. */
  readonly loginTimeoutMs: number;
  readonly sseIdleTimeoutMs: number;
  readonly disconnectTimeoutMs: number;
  /** How long one change of an event's status may take, ms. */
  readonly eventTimeoutMs: number;
  /** `POLL_INTERVAL_MS`. */
  readonly pollIntervalMs: number;
  /** `GATEWAY_USER_ID_HEADER`, `GATEWAY_ROLE_HEADER` and `GATEWAY_EMAIL_HEADER`. */
  readonly gatewayHeaders: { readonly userId: string; readonly role: string; readonly email: string };
}

/** Who logs in. */
export interface Account {
  readonly email: string;
  readonly password: string;
}

/** A user's place in a queue: by it the harness hears what the user is told. Repeats do no harm. */
export interface Place {
  /** How long the user may wait from now on, ms: of `SSE_TIMEOUT_MS` what the scenario's time limit leaves. */
  readonly limitMs: number;
  /** The user is in the queue, so meets the others at the barrier. */
  joined(): void;
  /** The user was told a position: `joined`, and one message. */
  position(): void;
  /** The user was told something else: one message. */
  message(): void;
  /** The user was let in: `joined`, and one message. What follows does not count. */
  promoted(): void;
}

/** The system under test. `Session` is whatever `logIn` returns; the harness only hands it on. */
export interface System<Session = any> {
  /** Logs in, in one attempt: the harness repeats it. The manager of the events logs in by the same call. */
  logIn(settings: Settings, account: Account): Session;
  /** Opens or closes an event. The session is the manager's. */
  setEventStatus(settings: Settings, session: Session, eventId: string, status: 'OPEN' | 'CLOSED'): void;
  /**
   * Joins the queue of an event, and returns when the user is promoted. It throws when the user was refused or lost, and
   * after `place.limitMs` at the latest.
   */
  wait(settings: Settings, session: Session, eventId: string, place: Place): void;
  /** Gives back what the promoted user holds, so that another one can be promoted. */
  leave(settings: Settings, session: Session, eventId: string): void;
  /**
   * How many users an event lets in at once. It, and what follows, may be left out: they are called by
   * `js/sse-throughput-probe.js` alone, which compares it with `SEATS` before a run. The session is the manager's, or missing where
   * that one cannot log in.
   */
  seats?(settings: Settings, session: Session | undefined, eventId: string): number;
  /**
   * Whether an event is open, now. Without it, or where it returns anything but these two texts, the trial before a run changes no
   * event, since it could not change it back. The session is as with `seats`.
   */
  eventStatus?(settings: Settings, session: Session | undefined, eventId: string): 'OPEN' | 'CLOSED';
  /**
   * Takes a user who has not been let in out of the queue again. Without it the trial calls `leave`. Where that is refused, the user
   * stays in the queue until the system notices that nobody waits there any more, and is let in where the event is open.
   */
  withdraw?(settings: Settings, session: Session, eventId: string): void;
}
