/**
 * Server-Sent Events for k6.
 *
 * **`open` blocks the virtual user until the stream has ended.** Promises and timers that its handlers start go on only after
 * it returned. `asyncOpen`, `openAsync` and `EventSource` do not block.
 *
 * Durations are a number of milliseconds or a string with a unit (`"15s"`, `"1m30s"`); `0` means no limit. An option that is
 * `null` or `undefined` has its default. An option that does not exist is an error.
 *
 * @example
 * ```js
 * import sse from 'k6/x/sse';
 *
 * export default function () {
 *   const result = sse.open('http://localhost:8080/stream', { idleTimeout: '15s' }, (client) => {
 *     client.on('event', (event) => {
 *       if (event.data === 'done') client.close();
 *     });
 *     client.on('error', (error) => console.error(error.error()));
 *   });
 *   console.log(result.status, result.error);
 * }
 * ```
 */
declare module "k6/x/sse" {
  /** A number of milliseconds, or a string with a unit such as `"15s"`. `0` means no limit. */
  export type Duration = number | string;

  /** An `http.CookieJar`. The type is spelt out here so that these typings stand alone. */
  export interface CookieJar {
    cookiesForURL(url: string): Record<string, string[]>;
    set(url: string, name: string, value: string, options?: object | null): boolean | void;
  }

  /** What all calls have in common. */
  export interface CommonParams {
    /** Request headers. `Accept` is `text/event-stream` unless it is given. A value may be an array. */
    headers?: Record<string, string | number | string[] | null | undefined> | null;

    /** Cookies for this request, besides those of the jar; `replace` sends this one in place of the jar's. */
    cookies?: Record<string, string | { value: string; replace?: boolean } | null> | null;

    /** The cookie jar. Default: that of the virtual user. */
    jar?: CookieJar | null;

    /** Tags for all samples of the request and its stream. */
    tags?: Record<string, string | number | boolean> | null;

    /** How many redirects are followed. Default: the option `maxRedirects` of k6, which is 10. */
    redirects?: number | null;

    /** Time until the response headers. Default: `"60s"`. */
    connectTimeout?: Duration | null;

    /**
     * Time without a single byte from the server, comments included. The clock stands still while a handler works.
     * Default: `"5m"`.
     */
    idleTimeout?: Duration | null;

    /** Time of the whole stream; for an `EventSource`, of all its connections together. Default: `0`. */
    timeout?: Duration | null;

    /** Greatest size of an event in bytes: its longest line and the data before it. Default: `1048576`. */
    maxEventSize?: number | null;
  }

  /** The options of `open` and `asyncOpen`. */
  export interface OpenParams extends CommonParams {
    /** The HTTP method. Default: `"GET"`. */
    method?: string | null;

    /** The request body: bytes as they are, anything else as `String()` makes it. Default: none. */
    body?: string | ArrayBuffer | Uint8Array | number | boolean | object | null;

    /** Throw when the stream fails, after the error handlers were called. Default: the option `throw` of k6. */
    throw?: boolean | null;
  }

  /** The options of `openAsync`. */
  export interface OpenAsyncParams extends CommonParams {
    /** The HTTP method. Default: `"GET"`. */
    method?: string | null;

    /** The request body: bytes as they are, anything else as `String()` makes it. Default: none. */
    body?: string | ArrayBuffer | Uint8Array | number | boolean | object | null;

    /** How often connecting is tried again where there is no connection, or a status other than 200. Default: `0`. */
    maxRetries?: number | null;

    /** Time before the first of these; before each further one twice as long, and up to a fifth longer. Default: `"1s"`. */
    baseDelay?: Duration | null;

    /** The longest of these times. Default: `"30s"`. */
    maxDelay?: Duration | null;
  }

  /** The options of `EventSource`. */
  export interface EventSourceParams extends CommonParams {
    /** Time before the source connects again, until the server sends a `retry` field. Default: `"3s"`. */
    reconnectDelay?: Duration | null;

    /** Accepted because the standard has it. Cookies of the jar are always sent. */
    withCredentials?: boolean | null;
  }

  /** One block of the stream. */
  export interface SSEEvent {
    /** The last event ID of the stream so far: it lasts from one event to the next until the server sends another. */
    id: string;
    /** The value of the `event` field, empty without one. */
    name: string;
    /** The values of the `data` fields, joined by line feeds. Empty for a block without any. */
    data: string;
    /** The last comment of the block, empty without one. */
    comment: string;
  }

  /** What went wrong. */
  export type ErrorName =
    | "SSEOptionError"
    | "SSEInvalidURLError"
    | "SSEConnectError"
    | "SSEConnectTimeoutError"
    | "SSEConnectionError"
    | "SSETimeoutError"
    | "SSEIdleTimeoutError"
    | "SSEContentTypeError"
    | "SSEDecodingError"
    | "SSEEventTooLargeError"
    | "SSEStatusError"
    | "SSEClosedError";

  /** The kind of error that the name tells, as in `k6/x/barrier`. */
  export type ErrorCode =
    | "OPTION"
    | "INVALID_URL"
    | "CONNECT"
    | "CONNECT_TIMEOUT"
    | "CONNECTION"
    | "TIMEOUT"
    | "IDLE_TIMEOUT"
    | "CONTENT_TYPE"
    | "DECODING"
    | "EVENT_TOO_LARGE"
    | "STATUS"
    | "CLOSED";

  /** The error that handlers receive and that is thrown. */
  export interface SSEError extends Error {
    name: ErrorName;
    /** What kind of error it is: stable, where a message may change. */
    code: ErrorCode;
    /** k6's code for the kind of error, the same as in the tag `error_code`. */
    errorCode: number;
    /** The message, as scripts for earlier modules read it. */
    error(): string;
    /** With `SSEStatusError` and `SSEContentTypeError`: what the answer says, as in `Result`. */
    body?: string;
    /** With `SSEOptionError`: which option or argument, what it was and what it may be. */
    option?: string;
    got?: string;
    allowed?: string;
  }

  /** The open stream, for the setup function and the handlers. */
  export interface Client {
    /** The response arrived, whatever its status: see `status`. */
    on(event: "open", handler: () => void): void;
    /** A block of the stream arrived. Blocks that hold no data, but a comment, a name or an id, are included. */
    on(event: "event", handler: (event: SSEEvent) => void): void;
    /** The stream failed, or could not be opened. Called once, after the connection was closed. */
    on(event: "error", handler: (error: SSEError) => void): void;
    /** Closes the connection before it returns. No event follows. */
    close(): void;
    /** The URL, after redirects. */
    readonly url: string;
    /** The status of the response, 0 without one. */
    readonly status: number;
    /** The headers of the response; the values of repeated ones are joined by `", "`. */
    readonly headers: Record<string, string>;
  }

  /** What remains of a stream that has ended. */
  export interface Result {
    /** The URL, after redirects. Empty if it was malformed. */
    url: string;
    /** The status of the response, 0 without one. Only a 200 is read as a stream. */
    status: number;
    /** The headers of the response; the values of repeated ones are joined by `", "`. */
    headers: Record<string, string>;
    /** What went wrong; empty if nothing did, the script closed the stream, or the status alone tells it. */
    error: string;
    /** What an answer that is no event stream says: its first 8 KiB, decompressed, as text. Else empty. */
    body: string;
  }

  /**
   * Opens a stream and **blocks the virtual user until it has ended**: by the server, by `client.close()`, by an error or a
   * limit. Connects first, then calls `setup`, then the handlers one after another. An exception in any of them closes the
   * stream and passes on. Not available in the init context.
   */
  export function open(url: string, setup: (client: Client) => void): Result;
  export function open(url: string, params: OpenParams | null | undefined, setup: (client: Client) => void): Result;

  /**
   * `open` without blocking: handlers run on the event loop, beside promises, timers and other streams. The promise is
   * rejected by an exception of a handler, by wrong arguments, and with the option `throw` by a failure.
   */
  export function asyncOpen(url: string, setup: (client: Client) => void): Promise<Result>;
  export function asyncOpen(
    url: string,
    params: OpenParams | null | undefined,
    setup: (client: Client) => void,
  ): Promise<Result>;

  /**
   * Opens a stream and returns at once. It is read in the background, also while the script blocks, until the iteration ends:
   * the iteration does not wait for it. 100 events are held for a script that does not ask for them; then the server has to
   * wait. Events with neither a name nor data, such as comments, are left out.
   */
  export function openAsync(url: string, params?: OpenAsyncParams | null): PollClient;

  /** A stream that a script asks for its events. */
  export interface PollClient {
    /** The events received since the last call. Does not wait. */
    pollEvents(): SSEEvent[];
    /**
     * **Blocks the virtual user** until an event is received that the predicate returns true for, or any event without one.
     * Events before it are dropped.
     * @param timeout default: no limit
     */
    waitForEvent(predicate?: ((event: SSEEvent) => boolean) | null, timeout?: Duration | null): SSEEvent;
    /** `waitForEvent` with a promise, which also rejects for wrong arguments. */
    waitForEventAsync(predicate?: ((event: SSEEvent) => boolean) | null, timeout?: Duration | null): Promise<SSEEvent>;
    /** Whether the stream is being read. */
    isOpen(): boolean;
    /** The status of the last response, 0 without one. */
    getStatus(): number;
    /** What the stream failed with, or null. */
    getError(): SSEError | null;
    /** Closes the connection before it returns. What was not asked for is dropped. */
    close(): void;
  }

  /** An event of an `EventSource`. */
  export interface SourceEvent {
    readonly type: string;
    readonly target: EventSource;
    /** Epoch milliseconds. */
    readonly timestamp: number;
  }

  /** A message of the server. Comments are not delivered. */
  export interface MessageEvent extends SourceEvent {
    readonly data: string;
    readonly lastEventId: string;
    /** Scheme and host of the URL, after redirects. */
    readonly origin: string;
  }

  /** The connection is gone: for a while if `readyState` is `CONNECTING`, for good if it is `CLOSED`. */
  export interface ErrorEvent extends SourceEvent {
    /** What went wrong; absent if the server just ended the stream. */
    readonly error?: SSEError;
    readonly message?: string;
  }

  /**
   * The `EventSource` of browsers. It connects again after an end or a loss of the connection, and sends the last event ID
   * then; it is closed for good by `close()`, by a status other than 200 (a 204 is the server's way to say so), by another
   * content type, and by the option `timeout`. **An iteration does not end while one of its sources is open.**
   */
  export class EventSource {
    /** Throws for a URL or an option that cannot be used. Not available in the init context. */
    constructor(url: string, params?: EventSourceParams | null);

    static readonly CONNECTING: 0;
    static readonly OPEN: 1;
    static readonly CLOSED: 2;
    readonly CONNECTING: 0;
    readonly OPEN: 1;
    readonly CLOSED: 2;

    readonly url: string;
    readonly withCredentials: boolean;
    readonly readyState: 0 | 1 | 2;
    /** The last event ID of the events delivered. */
    readonly lastEventId: string;

    onopen: ((event: SourceEvent) => void) | null;
    /** For events without a name, or with the name `message`. */
    onmessage: ((event: MessageEvent) => void) | null;
    onerror: ((event: ErrorEvent) => void) | null;

    addEventListener(type: "open", listener: (event: SourceEvent) => void, options?: { once?: boolean }): void;
    addEventListener(type: "error", listener: (event: ErrorEvent) => void, options?: { once?: boolean }): void;
    /** `message`, or the name of events of the server. */
    addEventListener(type: string, listener: (event: MessageEvent) => void, options?: { once?: boolean }): void;
    removeEventListener(type: string, listener: (event: never) => void): void;

    /** Closes the source for good. No event follows. */
    close(): void;
  }

  const sse: {
    open: typeof open;
    asyncOpen: typeof asyncOpen;
    openAsync: typeof openAsync;
    EventSource: typeof EventSource;
  };
  export default sse;
}
