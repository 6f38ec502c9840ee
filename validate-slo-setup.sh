#!/usr/bin/env bash
# Whether this machine can run the chat suite: programs and their versions, open files, ports, and the service that ./run-slo-testing.sh
# is at: that of BASE_URL (default http://localhost:4000). What is missing is named with its remedy; exit code 0 only if nothing is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib/settings.sh
. scripts/lib/settings.sh

(($# == 0)) || {
  echo "usage: ./validate-slo-setup.sh
validate-slo-setup: takes no arguments, received: $*; addresses come by BASE_URL and WS_URL" >&2
  exit 2
}

settings
service
missing=0
lacks() {
  echo "missing  $1: $2"
  missing=2
}

runner=${BARRIER_BENCH_BIN:-$([[ ! -x bin/barrier-bench ]] || echo bin/barrier-bench)}
runner=$(command -v "${runner:-barrier-bench}") || {
  runner=
  lacks barrier-bench "run 'make build', or set BARRIER_BENCH_BIN"
}
k6=${K6_BIN:-$([[ ! -x ./k6 ]] || echo ./k6)}
command -v "${k6:-k6}" >/dev/null || lacks k6 "run 'make k6', or set K6_BIN; it needs the modules of this project"

# Only for ./run-slo-testing.sh start-monitoring.
command -v "${PROMETHEUS_BIN:-prometheus}" >/dev/null ||
  echo 'note     prometheus is not on the PATH; scripts/ensure-prometheus.sh gets one for start-monitoring'
for port in 9090 3001; do
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "note     port $port is taken: monitoring runs already, or start-monitoring will need another port"
  fi
done

((missing == 0)) || exit "$missing"
exec "$runner" doctor chat
