#!/usr/bin/env bash
# The chat suite by one word: each is one call of barrier-bench, whose exit code it hands on.
#
# The service is one that a person has started: BASE_URL (default http://localhost:4000) and WS_URL (default ws://localhost:8080)
# say where. All variables of bench/suites/chat.toml come by the environment: VUS=200 DURATION=1m ./run-slo-testing.sh run-websocket
# or by a file .env.test, of which .env.test.example is the beginning.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib/settings.sh
. scripts/lib/settings.sh

usage() {
  cat >&2 <<'TEXT'
usage: ./run-slo-testing.sh VERB

  run-health           ask the service for all that the test needs
  run-websocket        the test: the users of VUS, for DURATION; before it, as before each load, run-health
  run-comprehensive    the whole application: by default 50 users
  run-detached         run-health, a minute without load, run-websocket; also when this terminal goes away
  status               what runs, or how the last run ended
  attach               the output of a detached run
  start-monitoring     start Prometheus, and Grafana where there is one
  stop-monitoring      stop them
  dashboard-url        where the dashboard is
  prometheus-url       where Prometheus is

Exit codes: those of barrier-bench; 2 wrong use.
TEXT
  [[ -z ${1-} ]] || echo "run-slo-testing: $1" >&2
  exit 2
}

(($# == 1)) || usage "takes one word, received $#${1:+: $*}"
case $1 in
  run-health) call=(run chat --scenario health) ;;
  run-websocket) call=(run chat --scenario websocket-streaming) ;;
  run-comprehensive) call=(run chat --scenario comprehensive) ;;
  run-detached) call=(run chat --detach) ;;
  status) call=(status chat) ;;
  attach) call=(attach chat) ;;
  start-monitoring) call=(monitor chat start) ;;
  stop-monitoring) call=(monitor chat stop) ;;
  dashboard-url) call=(monitor chat url dashboard) ;;
  prometheus-url) call=(monitor chat url prometheus) ;;
  *) usage "\"$1\" is no verb" ;;
esac

settings
service
runner=${BARRIER_BENCH_BIN:-$([[ ! -x bin/barrier-bench ]] || echo bin/barrier-bench)}
runner=$(command -v "${runner:-barrier-bench}") || {
  echo "run-slo-testing: barrier-bench is neither in bin/ nor on the PATH: run 'make build', or set BARRIER_BENCH_BIN" >&2
  exit 2
}
exec "$runner" "${call[@]}"
