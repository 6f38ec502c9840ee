#!/usr/bin/env bash
# The fixtures of the load ladders, then all their scenarios, one after another: `barrier-bench run m2`, whose exit code is handed on.
# Arguments are those of that verb, such as --quick, --scenario scenario1, --level TARGET_RPS=50, --set DURATION=1m.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
program=${BARRIER_BENCH_BIN:-$root/bin/barrier-bench}
[[ -x $program ]] || {
  echo "run_all_scenarios: $program is no program: run 'make build', or set BARRIER_BENCH_BIN" >&2
  exit 2
}
cd "$root"
"$program" fixtures bench/suites/m2.toml
exec "$program" run bench/suites/m2.toml "$@"
