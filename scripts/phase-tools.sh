#!/usr/bin/env bash
# What the gates of phases 0 and 11 judge: the tools of this project, and a small suite that runs again and again.
#
#   scripts/phase-tools.sh 0 [TOOL]    all six tools, or one of them: format, clippy, vet, licences, documentation, tests
#   scripts/phase-tools.sh 0 warm      nothing is judged: what the tools need is fetched and built, so that a time of theirs is not that of a compiler
#   scripts/phase-tools.sh 11 [once]   the suite a hundred times (QUICK=1: ten times), or once
#
# A single tool and a single run print what they print, and end as they end. All of them together leave their results in the file
# RESULTS (by default .cache/phase-results.json), for js/phase-gates, and succeed if each of them did.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
results=${RESULTS:-.cache/phase-results.json}
tools=(format clippy vet licences documentation tests)
usage() {
  echo "usage: phase-tools.sh 0 [${tools[*]} warm] or phase-tools.sh 11 [once]: received $*" >&2
  exit 2
}
milliseconds() { date +%s%3N; }

tool() {
  case $1 in
    format)
      cargo fmt --all --check
      unformatted=$(gofmt -l tools xk6-barrier bench/targets/phases/suite)
      [[ -z $unformatted ]] || { echo "not formatted by gofmt: $unformatted" >&2; return 1; }
      ;;
    clippy) cargo clippy --workspace --all-targets --locked --quiet -- -D warnings ;;
    vet) make lint-go types ;;
    licences) make audit ;;
    documentation) RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet ;;
    tests) make quick-core quick-go test-js ;;
  esac
}

# What a clone that has built nothing lacks, one part after the other; what cannot be had, the tool that needs it says.
warm() {
  local failed=0
  cargo clippy --workspace --all-targets --locked --quiet || failed=1
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet || failed=1
  cargo test --quiet --locked --package barrier-core --lib --test engine --test operator --no-run || failed=1
  make core js/node_modules/.package-lock.json || failed=1
  scripts/ensure-audit-tools.sh cargo-deny govulncheck >/dev/null || failed=1
  scripts/ensure-redis.sh >/dev/null || failed=1
  go -C tools vet ./... || failed=1
  (cd xk6-barrier && CGO_ENABLED=1 go vet ./... && CGO_ENABLED=0 go vet ./... && CGO_ENABLED=1 go test -run '^$' ./... >/dev/null) || failed=1
  return "$failed"
}

# The suite once; its coverage is the last line.
suite() { go -C bench/targets/phases/suite test -count=1 -cover ./...; }

# With their time and commit: what was found long ago, or of other sources, is nothing to be judged now.
leave() {
  local commit
  commit=$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null) || commit=unknown
  mkdir -p "$(dirname "$results")"
  printf '{"at":%s,"commit":"%s",%s}\n' "$(date +%s)" "$commit" "$1" >"$results.new"
  mv "$results.new" "$results"
}

case "${1-} ${2-}" in
  "0 ")
    list='' failed=0
    for name in "${tools[@]}"; do
      # A process of its own, so that the first failure ends it.
      began=$(milliseconds) well=true
      "$0" 0 "$name" >&2 || well=false
      took=$(($(milliseconds) - began))
      [[ $well == true ]] || { failed=1; echo "phase-tools: $name FAILED" >&2; }
      list+=${list:+,}"{\"name\":\"$name\",\"ok\":$well,\"ms\":$took}"
    done
    leave "\"tools\":[$list]"
    exit "$failed"
    ;;
  "0 warm") warm ;;
  "0 "*)
    [[ " ${tools[*]} " == *" $2 "* ]] || usage "$@"
    tool "$2"
    ;;
  "11 ")
    list='' failed=0 log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    runs=100
    [[ ${QUICK-} != 1 ]] || runs=10
    for ((run = 1; run <= runs; run++)); do
      began=$(milliseconds)
      suite >"$log" 2>&1 && well=true || well=false
      took=$(($(milliseconds) - began))
      cat "$log" >&2
      [[ $well == true ]] || { failed=1; echo "phase-tools: run $run of the suite FAILED" >&2; }
      coverage=$(sed -n 's/.*coverage: \([0-9.]*\)% of statements.*/\1/p' "$log" | tail -n 1)
      list+=${list:+,}"{\"name\":\"run $run\",\"ok\":$well,\"ms\":$took${coverage:+,\"coverage\":$coverage}}"
    done
    leave "\"tests\":[$list]"
    exit "$failed"
    ;;
  "11 once") suite ;;
  *) usage "$@" ;;
esac
