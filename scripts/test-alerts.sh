#!/usr/bin/env bash
# Checks the alerts of every suite that has some, and runs their unit tests (bench/monitoring/tests/SUITE.yml) with promtool.
# PROMETHEUS_BIN: a prometheus beside its promtool, else scripts/ensure-prometheus.sh finds one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prometheus=$(scripts/ensure-prometheus.sh)
promtool=${prometheus%/*}/promtool
[[ -x $promtool ]] || promtool=$(dirname -- "$(readlink -f -- "$prometheus")")/promtool
[[ -x $promtool ]] || promtool=promtool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for suite in bench/suites/*.toml; do
  name=$(basename "$suite" .toml)
  grep -q '^\[\[alert\]\]' "$suite" || continue
  tests=bench/monitoring/tests/$name.yml
  [[ -f $tests ]] || { echo "the alerts of $suite have no tests: $tests is missing" >&2; exit 1; }
  mkdir "$work/$name"
  bin/barrier-bench monitor "$name" rules >"$work/$name/alerting-rules.yml"
  cp "$tests" "$work/$name/tests.yml"
  "$promtool" check rules "$work/$name/alerting-rules.yml"
  "$promtool" test rules "$work/$name/tests.yml"
done
