/*
 * The C ABI of k6-barrier's core. Generated from rust-core/ffi/src by cbindgen: change it there, then run `make header`.
 *
 * Rules for every function
 * - Numbers are handles, never addresses. A handle is never used twice; a closed one is answered by KBAR_CLOSED.
 * - Bytes go in as pointer and length, are UTF-8, and are read before the call returns. Length 0 allows any pointer.
 * - Bytes come out by a copy into the caller's buffer; *needed says how many there are. Where they do not fit, nothing is
 *   copied and the answer is KBAR_BUFFER. There is nothing to free.
 * - A status of 0 is success, a positive one is accepted, a negative one is an error. No call blocks but kbar_close.
 * - A call with a token that answers KBAR_PENDING gets exactly one KBAR_FRAME_DONE with that token, unless it is cancelled, or
 *   waits (KBAR_WAIT, KBAR_AND_WAIT) and is ended by the news for all: see there.
 * - Completions are KbarFrames written to the pipe that kbar_start was given, in order, never torn by another writer.
 * - A host that may close the read end of that pipe must ignore SIGPIPE on its own threads; the core's block it.
 */

#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/**
 * Version of this ABI: compare with kbar_abi_version() before any other call.
 */
#define KBAR_ABI_VERSION 2

/**
 * Done.
 */
#define KBAR_OK 0

/**
 * Accepted: one completion with the call's token follows, or, for a call that waits, the news that ends it.
 */
#define KBAR_PENDING 1

/**
 * The handle is closed, or never was one.
 */
#define KBAR_CLOSED -1

/**
 * An argument is malformed: a null pointer, bad UTF-8, JSON that does not parse, an unknown number.
 */
#define KBAR_INVALID -2

/**
 * Too many calls are under way.
 */
#define KBAR_BUSY -3

/**
 * A bug in the core, caught.
 */
#define KBAR_PANIC -4

/**
 * A bad option, or options that differ from those of another opener.
 */
#define KBAR_OPTION -5

/**
 * The store did not answer or refused. With "pending":true in the text the outcome stands and is delivered later.
 */
#define KBAR_STORE -6

/**
 * Two callers claim one participant, or the run id holds left-overs of an earlier run.
 */
#define KBAR_CONFLICT -7

/**
 * The barrier is broken for everyone.
 */
#define KBAR_BROKEN -8

/**
 * The phase was not released in time.
 */
#define KBAR_TIMEOUT -9

/**
 * The call was cancelled.
 */
#define KBAR_CANCELLED -10

/**
 * The buffer is too small; *needed says how large it must be.
 */
#define KBAR_BUFFER -11

/**
 * A queue key holds a type that is not counted.
 */
#define KBAR_QUEUE_TYPE -12

/**
 * There is nothing: no such release, no text, no line.
 */
#define KBAR_EMPTY -13

/**
 * KbarRequest.kind: the participant arrives.
 */
#define KBAR_ARRIVE 1

/**
 * KbarRequest.kind: the participant failed; the bytes behind it are the reason.
 */
#define KBAR_FAIL 2

/**
 * KbarRequest.kind: the participant leaves.
 */
#define KBAR_LEAVE 3

/**
 * KbarRequest.kind: a wait for .phase has expired. One last bounded look at the store, then what the option onTimeout
 * says. Completes with KBAR_OK (the phase is released: its frame was or will be sent), KBAR_BROKEN, KBAR_TIMEOUT, KBAR_STORE.
 */
#define KBAR_EXPIRE 4

/**
 * KbarRequest.kind: break the barrier for everyone; the bytes are the message. Completes with KBAR_OK and the outcome
 * KBAR_OUTCOME_BROKEN, or KBAR_OUTCOME_NONE where a one-shot barrier was released before and nothing was done.
 */
#define KBAR_ABORT 5

/**
 * KbarRequest.kind: release .phase by hand.
 */
#define KBAR_RELEASE_NOW 6

/**
 * KbarRequest.kind: deliver what is owed, say goodbye to the store, and let go of the barrier in this process: whoever waits
 * there ends, and its handle names nothing any more. Completes with KBAR_OK, or KBAR_STORE where the store does not take it in
 * time and the barrier stays.
 */
#define KBAR_CLOSE 7

/**
 * KbarRequest.kind: wait for .phase. KBAR_OK where the news of its end is told already, an error where nothing can end it any
 * more. Else KBAR_PENDING, and a completion only where .wait_us are over before that news: KBAR_TIMEOUT, or where the engine
 * ends: KBAR_CLOSED. The news is KBAR_FRAME_RELEASE of this or a later phase, KBAR_FRAME_BROKEN or KBAR_FRAME_FORGOTTEN.
 * With a participant, which has arrived in .phase, and a release that is spread, it ends as KBAR_AND_WAIT does.
 */
#define KBAR_WAIT 8

/**
 * KbarRequest.kind: the participant runs from now on. A barrier whose parties are those who run waits for its outcome; any other
 * ignores it. KBAR_OK at once: the store is told in its own time.
 */
#define KBAR_BEGIN 9

/**
 * KbarRequest.kind: the participant does not run any more. An outcome that it has stands. KBAR_OK at once.
 */
#define KBAR_END 10

/**
 * KbarRequest.flags: the participant was given by the caller rather than derived from it.
 */
#define KBAR_EXPLICIT 1

/**
 * KbarRequest.flags, of KBAR_ARRIVE: and waits for the release. KBAR_PENDING with the outcome KBAR_OUTCOME_ARRIVED: the
 * news of the release is for this call too (see KBAR_FRAME_OWED for the exception). A completion comes only where the
 * outcome is another one after all, or an error ends the call: KBAR_TIMEOUT after .wait_us, or, with an outcome, .store_us
 * later if the store has not even acknowledged the arrival, which stands. Where the release is spread, a completion with
 * .time_us comes before its news or after, and tells when the call goes on.
 */
#define KBAR_AND_WAIT 2

/**
 * KbarRequest.flags: no completion is wanted. For barriers whose store is this process's memory, which answer at once, and
 * for calls that do not wait: others are refused.
 */
#define KBAR_AT_ONCE 4

/**
 * KbarFrame.outcome: none.
 */
#define KBAR_OUTCOME_NONE 0

/**
 * KbarFrame.outcome: arrived; .index counts from 1.
 */
#define KBAR_OUTCOME_ARRIVED 1

/**
 * KbarFrame.outcome: failed. Where it stood before the call, the text is {"reason":...} and .index its length.
 */
#define KBAR_OUTCOME_FAILED 2

/**
 * KbarFrame.outcome: left; .phase is the first one without the participant.
 */
#define KBAR_OUTCOME_LEFT 3

/**
 * KbarFrame.outcome: came after the release of .phase.
 */
#define KBAR_OUTCOME_LATE 4

/**
 * KbarFrame.outcome: the barrier is broken now, or was before.
 */
#define KBAR_OUTCOME_BROKEN 5

/**
 * KbarFrame.kind: the call with .token ended.
 */
#define KBAR_FRAME_DONE 1

/**
 * KbarFrame.kind: .phase and all before it of the barrier with handle .token are released now. One per phase, not per waiter;
 * it may overtake the completion of the arrival that caused it.
 */
#define KBAR_FRAME_RELEASE 2

/**
 * KbarFrame.kind: the barrier with handle .token is broken for good; comes after the releases decided before.
 */
#define KBAR_FRAME_BROKEN 3

/**
 * KbarFrame.kind: lines wait for kbar_next_log.
 */
#define KBAR_FRAME_LOG 4

/**
 * KbarFrame.kind: what address does a host stand for? kbar_take_text gives `host:port` (an IPv6 address in brackets) by
 * .token, which has the top bit set; kbar_resolved takes the answer. Only where kbar_start was told "hostResolves".
 */
#define KBAR_FRAME_RESOLVE 5

/**
 * KbarFrame.kind: the process has forgotten the barrier with handle .token, or let go of it: the handle names nothing any more.
 * Nothing of the barrier comes after it. Whoever opens it again gets another handle.
 */
#define KBAR_FRAME_FORGOTTEN 6

/**
 * KbarFrame.kind: the KBAR_FRAME_RELEASE that follows is that of the phase in which the call with .token waits, but the
 * store has not acknowledged its arrival: its own completion comes later.
 */
#define KBAR_FRAME_OWED 7

/**
 * KbarFrame.flags: this call made the outcome; count it. Unset: a repeat found it.
 */
#define KBAR_FIRST 1

/**
 * KbarFrame.flags, of KBAR_FRAME_RELEASE: other processes on this host let their users go at the same instant.
 */
#define KBAR_SHARED 2

/**
 * KbarFrame.flags, of the answer KBAR_PENDING to KBAR_AND_WAIT: the store has acknowledged the arrival.
 */
#define KBAR_ACKNOWLEDGED 4

/**
 * What kbar_arrivals says of a call with KBAR_AND_WAIT: the store has not answered yet.
 */
#define KBAR_ARRIVAL_OWED 0

/**
 * What kbar_arrivals says: it is acknowledged, and the call waits.
 */
#define KBAR_ARRIVAL_ACKNOWLEDGED 1

/**
 * What kbar_arrivals says: the call does not wait any more. A frame that says why is on its way or was read.
 */
#define KBAR_ARRIVAL_OVER 2

/**
 * One call of kbar_submit: 48 bytes without a pointer.
 */
typedef struct KbarRequest {
  /**
   * The barrier's handle.
   */
  uint64_t barrier;
  /**
   * The caller's number for the call: never 0 nor with the top bit set, and never one that was given before. (An answer to
   * a cancelled call may still be on its way.)
   */
  uint64_t token;
  /**
   * Who makes the call (the VU's id), so that two callers that share a participant are found out.
   */
  uint64_t owner;
  /**
   * How many of the bytes are the participant's id; the rest is the reason or the message.
   */
  uint32_t participant_len;
  /**
   * Of KBAR_EXPIRE, KBAR_RELEASE_NOW and KBAR_WAIT.
   */
  uint32_t phase;
  /**
   * KBAR_ARRIVE to KBAR_END.
   */
  uint16_t kind;
  /**
   * KBAR_EXPLICIT, KBAR_AND_WAIT, KBAR_AT_ONCE.
   */
  uint16_t flags;
  /**
   * Of KBAR_AND_WAIT: for how many microseconds after .wait_us the store may still acknowledge the arrival.
   */
  uint32_t store_us;
  /**
   * Of KBAR_AND_WAIT and KBAR_WAIT: for how many microseconds the call waits.
   */
  uint64_t wait_us;
} KbarRequest;

/**
 * One completion: 32 bytes in the host's byte order.
 */
typedef struct KbarFrame {
  /**
   * The token of the call (of KBAR_FRAME_OWED too), or of the question of KBAR_FRAME_RESOLVE; of KBAR_FRAME_RELEASE,
   * KBAR_FRAME_BROKEN and KBAR_FRAME_FORGOTTEN the barrier's handle; of KBAR_FRAME_LOG 0.
   */
  uint64_t token;
  /**
   * KBAR_FRAME_*.
   */
  uint16_t kind;
  /**
   * KBAR_OUTCOME_*.
   */
  uint8_t outcome;
  /**
   * KBAR_FIRST, KBAR_SHARED, KBAR_ACKNOWLEDGED.
   */
  uint8_t flags;
  /**
   * KBAR_OK or an error, whose text kbar_take_text gives.
   */
  int32_t status;
  /**
   * Phase of the outcome, of the release, or the one open when the barrier was opened.
   */
  uint32_t phase;
  /**
   * Arrival index (0 where the arrival is promised, or was acknowledged without a frame), or length of the text that
   * kbar_take_text gives.
   */
  uint32_t index;
  /**
   * Of KBAR_FRAME_RELEASE: the release's instant in microseconds since the epoch, on this process's clock. The same of a call
   * that waits with an arrival whose release is spread: its own instant, which may lie ahead and is the host's to wait for.
   */
  uint64_t time_us;
} KbarFrame;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Version of the ABI that this library speaks.
 *
 * Threads: any. Blocks: no. Ownership: none.
 */
uint32_t kbar_abi_version(void);

/**
 * Hash of all that this library was built from, as text that ends in a zero byte.
 *
 * Threads: any. Blocks: no. Ownership: static, never freed.
 */
const char *kbar_build_id(void);

/**
 * Checks the options of a barrier: KBAR_OK, or KBAR_OPTION with {"option","got","allowed","message"} in the buffer.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `json` is readable for `len` bytes, `buffer` writable for `capacity`, `needed` writable; each may be null where it is empty.
 */
int32_t kbar_check_options(const uint8_t *json,
                           size_t len,
                           uint8_t *buffer,
                           size_t capacity,
                           size_t *needed);

/**
 * Starts an engine: one per process is enough. Completions go to the pipe with the write end `write_fd`. Options:
 * {"hostResolves"?}; where true, the addresses of Redis servers are asked of the host by KBAR_FRAME_RESOLVE.
 *
 * Threads: any. Blocks: no. Ownership: `write_fd` is the core's from now on, also where the call fails.
 *
 * # Safety
 * `json` (at least `{}`) is readable for `len` bytes, `handle` writable, and `write_fd` an open descriptor that nobody else closes.
 */
int32_t kbar_start(const uint8_t *json,
                   size_t len,
                   int write_fd,
                   uint64_t *handle);

/**
 * Delivers what is owed, says goodbye to the stores and ends the engine, its barriers and counters, by the deadline.
 * A second call answers KBAR_CLOSED and does nothing.
 *
 * Threads: any. Blocks: up to `deadline_ms`. Ownership: closes the pipe's write end.
 */
int32_t kbar_close(uint64_t engine,
                   uint32_t deadline_ms);

/**
 * Opens a barrier, or finds the one that this process has. Its handle is in `*handle` at once; the completion says when
 * it is open, and which phase was open then.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `json` is readable for `len` bytes, `handle` writable.
 */
int32_t kbar_open(uint64_t engine,
                  uint64_t token,
                  const uint8_t *json,
                  size_t len,
                  uint64_t *handle);

/**
 * The hot call: a participant's outcome, an expired wait, an abort. KBAR_OK with `*out` filled where the answer is known
 * at once, KBAR_PENDING (with what the process holds until then in `*out`), or an error whose text is under the token.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `request` is readable, `text` readable for `len` bytes, `out` writable.
 */
int32_t kbar_submit(const struct KbarRequest *request,
                    const uint8_t *text,
                    size_t len,
                    struct KbarFrame *out);

/**
 * Answers a KBAR_FRAME_RESOLVE with its token: {"addr":"ip:port"}, or {"error":"why"} where there is none. An answer that
 * nobody waits for any more is ignored.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `json` is readable for `len` bytes.
 */
int32_t kbar_resolved(uint64_t engine,
                      uint64_t token,
                      const uint8_t *json,
                      size_t len);

/**
 * The caller does not wait for the token any more, at a gate neither; its completion is dropped. What it reported stands.
 *
 * Threads: any. Blocks: no. Ownership: none.
 */
int32_t kbar_cancel(uint64_t engine,
                    uint64_t token);

/**
 * What the process knows of a barrier, without asking the store, as JSON.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `buffer` is writable for `capacity` bytes, `needed` writable.
 */
int32_t kbar_status(uint64_t barrier, uint8_t *buffer, size_t capacity, size_t *needed);

/**
 * How a phase was released, as JSON; KBAR_EMPTY until its instant has come, or its users have been told theirs.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `buffer` is writable for `capacity` bytes, `needed` writable.
 */
int32_t kbar_release_info(uint64_t barrier,
                          uint32_t phase,
                          uint8_t *buffer,
                          size_t capacity,
                          size_t *needed);

/**
 * The text that belongs to a token: of an error, of an answer. It is gone once it was copied. After KBAR_PANIC token 0
 * gives what the calling thread's last panic said.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `buffer` is writable for `capacity` bytes, `needed` writable.
 */
int32_t kbar_take_text(uint64_t engine,
                       uint64_t token,
                       uint8_t *buffer,
                       size_t capacity,
                       size_t *needed);

/**
 * The oldest line that nobody has read, as JSON {"level","message"}; KBAR_EMPTY when there is none.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `buffer` is writable for `capacity` bytes, `needed` writable.
 */
int32_t kbar_next_log(uint64_t engine, uint8_t *buffer, size_t capacity, size_t *needed);

/**
 * What has become of the arrivals of calls with KBAR_AND_WAIT: writes one KBAR_ARRIVAL_* for each token. Nobody is woken
 * by an acknowledgement, so that whoever counts them asks.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `tokens` is readable and `arrivals` writable for `len` items each.
 */
int32_t kbar_arrivals(uint64_t barrier,
                      const uint64_t *tokens,
                      size_t len,
                      uint8_t *arrivals);

/**
 * Checks the options of groups: KBAR_OK, or KBAR_OPTION with {"option","got","allowed","message"} in the buffer.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * As [`crate::kbar_check_options`].
 */
int32_t kbar_check_group(const uint8_t *json,
                         size_t len,
                         uint8_t *buffer,
                         size_t capacity,
                         size_t *needed);

/**
 * Opens the groups of one name, or finds those that this process has; the store is asked at the first join. Options:
 * {"name","size","store"?,"runId"?,"onTimeout"?,"tls"?,"ttlMs"?,"connectTimeoutMs"?,"opTimeoutMs"?}. What is done with
 * them are questions: see kbar_query.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * As [`crate::kbar_open_counter`].
 */
int32_t kbar_open_group(uint64_t engine,
                        const uint8_t *json,
                        size_t len,
                        uint64_t *handle,
                        uint8_t *buffer,
                        size_t capacity,
                        size_t *needed);

/**
 * Makes a queue counter; it connects at its first question. Options: {"redis","keys","tls"?,"connectTimeoutMs"?,"opTimeoutMs"?}.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `json` is readable for `len` bytes, `handle` writable, `buffer` (for the text of an error) writable for `capacity`, `needed` writable.
 */
int32_t kbar_open_counter(uint64_t engine,
                          const uint8_t *json,
                          size_t len,
                          uint64_t *handle,
                          uint8_t *buffer,
                          size_t capacity,
                          size_t *needed);

/**
 * Makes an operator, who sees and ends the barriers of a Redis store from outside; it connects at its first question.
 * Options: {"redis","tls"?,"timeoutMs"?}.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * As [`kbar_open_counter`].
 */
int32_t kbar_open_operator(uint64_t engine,
                           const uint8_t *json,
                           size_t len,
                           uint64_t *handle,
                           uint8_t *buffer,
                           size_t capacity,
                           size_t *needed);

/**
 * A rare question, answered by a completion whose text is JSON. To an engine, which handle 0 names too, {"op":"tally"} gives
 * {"barriers":n,"retired":n,"retiredBytes":n,"handles":n}: how many barriers and handles there are. To a barrier {"op":"missing","limit":n} gives
 * {"count":n,"ids":[...]}; to a counter {"op":"counts"} gives {"counts":[n,...]} in the order of its keys, and {"op":"command","words":[name,key,...]}
 * gives {"answer":text|number|null}. To an operator
 * {"op":"list","runId"?,"limit":n} gives {"barriers":[...],"complete":bool}, {"op":"groups","runId"?,"limit":n} {"groups":[...],"complete":bool}, {"op":"servers"} {"servers":[{"at","version","maxMemory","eviction"},...]},
 * {"op":"look","runId","name","missing":n} gives {"barrier":{...}|null}, and {"op":"release","runId","name","phase"} and {"op":"abort","runId","name","message"}
 * give {"answer":"done"|"released"|"broken","barrier":{...}|null}, where another answer than done says what stood before. To groups
 * {"op":"join","participant","owner","payload"?,"waitUs"} gives [group,index,size,"all"|"timeout",releasedAt,serverReleasedAt|null,counted,
 * [[participant,payload|null],...]] once the group has formed, times in ms, and counted the groups so far whose first member is of this
 * process, or {"left":true} where the place was given up; {"op":"leave","participant"} gives {"left":bool}; {"op":"withdraw","participant","token"} gives up what was joined under that
 * token, which the caller has cancelled; and {"op":"status"} gives what the process knows.
 *
 * Threads: any. Blocks: no. Ownership: the caller keeps all memory.
 *
 * # Safety
 * `json` is readable for `len` bytes.
 */
int32_t kbar_query(uint64_t engine,
                   uint64_t handle,
                   uint64_t token,
                   const uint8_t *json,
                   size_t len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
