/*
 * A host that is not Go: opens a barrier, lets three participants meet there, and one controller's view of it.
 *
 *   host STORE    STORE is "memory" or a redis:// URL
 *   host STORE deaf    goes away from its pipe while the core has something to say, and lives
 *
 * Prints the status of the barrier at the end. Any surprise is a line on stderr and exit code 1.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "barrier.h"

static int completions;
static KbarFrame released; /* the release may come before or after the completion of the arrival that caused it */

static void fail(const char *what, long got) {
  fprintf(stderr, "host: %s: %ld\n", what, got);
  exit(1);
}

/* Reads frames until one is what is waited for. */
static KbarFrame wait_for(uint16_t kind, uint64_t token) {
  KbarFrame frame;
  for (;;) {
    struct pollfd readable = {.fd = completions, .events = POLLIN};
    if (poll(&readable, 1, 20000) != 1) fail("no completion within 20 s, waiting for kind", kind);
    if (read(completions, &frame, sizeof frame) != (ssize_t)sizeof frame) fail("torn frame", (long)frame.kind);
    if (frame.kind == KBAR_FRAME_RELEASE) released = frame;
    if (frame.kind == kind && frame.token == token) return frame;
  }
}

static KbarFrame submit(uint64_t barrier, uint64_t token, uint16_t kind, const char *participant, const char *rest) {
  char text[128];
  KbarRequest request = {.barrier = barrier, .token = token, .owner = token, .kind = kind, .flags = KBAR_EXPLICIT};
  request.participant_len = (uint32_t)strlen(participant);
  int length = snprintf(text, sizeof text, "%s%s", participant, rest);
  KbarFrame frame;
  int32_t status = kbar_submit(&request, (const uint8_t *)text, (size_t)length, &frame);
  if (status == KBAR_PENDING) frame = wait_for(KBAR_FRAME_DONE, token);
  if (frame.status != KBAR_OK) fail("a report was refused", frame.status);
  return frame;
}

/* What the core's thread writes to a pipe without a reader is SIGPIPE to whoever has not seen to it. */
static int go_deaf(uint64_t engine, uint64_t barrier, int write_end) {
  close(completions);
  const char *question = "{\"op\":\"missing\",\"limit\":1}";
  int32_t status = kbar_query(engine, barrier, 2, (const uint8_t *)question, strlen(question));
  if (status != KBAR_PENDING) fail("query", status);
  /* It has closed its end once it knows. */
  for (int attempts = 0; fcntl(write_end, F_GETFD) != -1; attempts++) {
    if (attempts == 2000) fail("the core has not noticed", 0);
    poll(NULL, 0, 10);
  }
  status = kbar_close(engine, 2000);
  if (status != KBAR_OK) fail("close", status);
  return 0;
}

int main(int argc, char **argv) {
  const char *store = argc > 1 ? argv[1] : "memory";
  if (kbar_abi_version() != KBAR_ABI_VERSION) fail("another ABI", kbar_abi_version());
  if (strlen(kbar_build_id()) == 0) fail("no build id", 0);

  int ends[2];
  if (pipe(ends) != 0) fail("pipe", 0);
  completions = ends[0];
  uint64_t engine, barrier;
  int32_t status = kbar_start((const uint8_t *)"{}", 2, ends[1], &engine);
  if (status != KBAR_OK) fail("start", status);

  char options[512];
  snprintf(options, sizeof options,
           "{\"store\":\"%s\",\"runId\":\"c-host\",\"name\":\"default\",\"parties\":3,\"reasons\":[\"login\"]}", store);
  status = kbar_open(engine, 1, (const uint8_t *)options, strlen(options), &barrier);
  if (status != KBAR_PENDING) fail("open", status);
  if (wait_for(KBAR_FRAME_DONE, 1).status != KBAR_OK) fail("open did not succeed", 0);

  if (argc > 2) return go_deaf(engine, barrier, ends[1]);

  KbarFrame first = submit(barrier, 2, KBAR_ARRIVE, "1", "");
  if (first.outcome != KBAR_OUTCOME_ARRIVED || first.index != 1 || !(first.flags & KBAR_FIRST)) fail("first", first.index);
  submit(barrier, 3, KBAR_FAIL, "2", "login");
  KbarFrame repeat = submit(barrier, 4, KBAR_ARRIVE, "2", "");
  if (repeat.outcome != KBAR_OUTCOME_FAILED || (repeat.flags & KBAR_FIRST)) fail("a failure does not stand", repeat.outcome);
  submit(barrier, 5, KBAR_ARRIVE, "3", "");
  KbarFrame release = released.token == barrier ? released : wait_for(KBAR_FRAME_RELEASE, barrier);
  if (release.phase != 0 || release.time_us == 0) fail("release of phase", release.phase);

  uint8_t text[4096];
  size_t length;
  if (kbar_status(barrier, text, 1, &length) != KBAR_BUFFER || length < 2) fail("a short buffer", (long)length);
  status = kbar_release_info(barrier, 0, text, sizeof text, &length);
  if (status != KBAR_OK) fail("release info", status);
  printf("%.*s\n", (int)length, (const char *)text);

  if (kbar_close(engine, 2000) != KBAR_OK) fail("close", 0);
  if (kbar_close(engine, 2000) != KBAR_CLOSED) fail("second close", 0);
  if (kbar_status(barrier, text, sizeof text, &length) != KBAR_CLOSED) fail("closed barrier", 0);
  return 0;
}
