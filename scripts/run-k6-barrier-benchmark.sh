#!/bin/sh
# Runs the waiting-room benchmark once, for services that a person has started. Call from the repository root:
#
#   EVENT_IDS=id-1,id-2 [SCENARIO=baseline] scripts/run-k6-barrier-benchmark.sh
#
# EVENT_IDS          comma list, required
# SCENARIO           custom, baseline (default), target or stress
# VUS                users, required with custom
# BASE_URL           gateway, default http://localhost:8080
# BROKER_BASE_URL    streams, default BASE_URL
# REDIS_URL          default redis://127.0.0.1:6379
# REDIS_USERNAME, REDIS_PASSWORD, REDIS_TLS_CA, REDIS_TLS_CERT, REDIS_TLS_KEY, REDIS_TLS_SERVER_NAME: where it needs them
# LOGIN_EMAIL_DOMAIN, ADMIN_EMAIL, ADMIN_PASSWORD, SLOT_BOOST, SLOT_BOOST_VALUE, AGGRESSIVE_CLEAN, SSE_P95_THRESHOLD,
# SSE_TIMEOUT_MS, EVIDENCE_ROOT and the harness's own variables: see bench/suites/waiting-room.toml
#
# Exit codes: k6's own when it is not 0; 3 a gate failed; 2 wrong use or set-up; 1 fault of the runner; 4 interrupted.
set -eu

wrong() {
    echo "run-k6-barrier-benchmark: $1" >&2
    exit 2
}

suite=bench/suites/waiting-room.toml
[ $# -eq 0 ] || wrong "takes no arguments, received: $*; everything is given by the environment"
[ -f "$suite" ] || wrong "$suite is not here; call from the repository root"
# Before the runner is looked for, so that wrong use is told first.
[ -n "${EVENT_IDS:-}" ] || wrong "EVENT_IDS is missing; give a comma list of event ids"
SCENARIO=${SCENARIO:-baseline}
case $SCENARIO in
custom) [ -n "${VUS:-}" ] || wrong "VUS is missing; SCENARIO=custom needs the number of users" ;;
baseline | target | stress) ;;
*) wrong "SCENARIO=$SCENARIO is not known; allowed: custom, baseline, target, stress" ;;
esac

runner=${BARRIER_BENCH_BIN:-}
for candidate in bin/barrier-bench target/release/barrier-bench target/debug/barrier-bench; do
    [ -n "$runner" ] || { [ -x "$candidate" ] && runner=$candidate; } || true
done
[ -x "$runner" ] || wrong "barrier-bench is not built; run \`make build\`, or set BARRIER_BENCH_BIN"

export SCENARIO EVENT_IDS
export BASE_URL="${BASE_URL:-http://localhost:8080}"
export REDIS_URL="${REDIS_URL:-redis://127.0.0.1:6379}"
exec "$runner" run "$suite" --scenario "$SCENARIO"
