#!/usr/bin/env bash
# Takes back, step by step, what runs of the chat suite have started or made on this machine. Evidence stays, and so does everything that
# has not the label io.k6-barrier.suite=chat.
#
#   scripts/rollback.sh [--dry-run] STEP...   all, or of these: monitoring, services, containers, volumes, networks, settings
#   scripts/rollback.sh check                 what is left: services, ports, space on the disk; exit code 1 if something is
#
# --dry-run says what each step would do. Exit code 1: a step has failed, and the others were done all the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/settings.sh
. scripts/lib/settings.sh
settings

label=io.k6-barrier.suite=chat
steps=(monitoring services containers volumes networks settings)
# Of Prometheus, of Grafana, of the service's API and of its streams.
ports=(9090 3001 4000 8080)

usage() {
  sed -n '5,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
  echo "rollback: $1" >&2
  exit 2
}

dry=
failed=0
# act WHAT COMMAND...: says it, and does it.
act() {
  local what=$1
  shift
  if [[ -n $dry ]]; then
    echo "would    $what: $*"
  elif "$@"; then
    echo "done     $what"
  else
    echo "failed   $what: $*"
    failed=1
  fi
}

runner=${BARRIER_BENCH_BIN:-$([[ ! -x bin/barrier-bench ]] || echo bin/barrier-bench)}
runner=$(command -v "${runner:-barrier-bench}") || usage "barrier-bench is neither in bin/ nor on the PATH: run 'make build', or set BARRIER_BENCH_BIN"

# The first engine that answers; empty without one.
engine() {
  local name
  for name in docker podman; do
    if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
}

# labelled KIND: what has the label, a line each. The volume with the evidence is no rubbish.
labelled() {
  case $1 in
    containers) "$engine" ps --all --quiet --filter "label=$label" ;;
    volumes) "$engine" volume ls --quiet --filter "label=$label" | while IFS= read -r name; do [[ $name == *evidence ]] || echo "$name"; done ;;
    networks) "$engine" network ls --quiet --filter "label=$label" ;;
  esac
}

# remove KIND COMMAND...
remove() {
  local kind=$1 found=()
  shift
  if [[ -z $engine ]]; then
    echo "none     $kind: no container engine answers"
    return
  fi
  mapfile -t found < <(labelled "$kind")
  if ((${#found[@]} == 0)); then
    echo "none     $kind"
  else
    act "$kind" "$engine" "$@" "${found[@]}"
  fi
}

check() {
  local left=0 kind port
  # Their exit code 2 says that nothing is up.
  if "$runner" monitor chat status >/dev/null 2>&1; then
    echo 'left     the monitor: scripts/rollback.sh monitoring'
    left=1
  fi
  for port in "${ports[@]}"; do
    if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "left     somebody listens on port $port"
      left=1
    fi
  done
  if [[ -n $engine ]]; then
    for kind in containers volumes networks; do
      if [[ -n $(labelled "$kind") ]]; then
        echo "left     $kind: scripts/rollback.sh $kind"
        left=1
      fi
    done
  fi
  ((left)) || echo 'nothing is left'
  echo "evidence $(du -sh "${EVIDENCE_ROOT:-test-results}" 2>/dev/null || echo none)"
  df -h . | sed 's/^/disk     /'
  return "$left"
}

(($# > 0)) || usage 'takes a step, received none'
if [[ $1 == --dry-run ]]; then
  dry=yes
  shift
fi
engine=$(engine)
if [[ ${1-} == check ]]; then
  (($# == 1)) && [[ -z $dry ]] || usage "check stands alone, received: $*"
  check
  exit
fi
[[ ${1-} != all ]] || set -- "${steps[@]}"
(($# > 0)) || usage 'takes a step, received none'
for step; do
  [[ " ${steps[*]} " == *" $step "* ]] || usage "\"$step\" is no step; allowed: all$(printf ', %s' "${steps[@]}")"
done
for step; do
  case $step in
    monitoring) act monitoring "$runner" monitor chat stop ;;
    services)
      # Without a record of `up` there is nothing to end.
      if [[ -n $dry ]]; then
        act services "$runner" down chat
      elif "$runner" down chat; then
        echo 'done     services'
      else
        echo 'none     services'
      fi
      ;;
    containers) remove containers rm --force ;;
    volumes) remove volumes volume rm ;;
    networks) remove networks network rm ;;
    settings) act settings cp .env.test.example .env.test ;;
  esac
done
exit "$failed"
