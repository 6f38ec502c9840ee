#!/usr/bin/env bash
# Drill: a node is cut off from the others and from the front, by the links between them; the machine's network is not touched, and
# nobody needs to be root. It is taken back at the end, however that comes. Passes if the node was seen to be gone, calls were
# answered all the same, and all nodes are there again within 30 s.
#
#   tools/gameday/partition-network.sh [NODE] [SECONDS]      node3 for 10 s; BASE_URL is the front, http://localhost:4000
set -euo pipefail

node=${1:-node3}
seconds=${2:-10}
base=${BASE_URL:-http://localhost:4000}
if (($# > 2)) || [[ ! $node =~ ^[A-Za-z0-9@._-]+$ || ! $seconds =~ ^[0-9]+$ ]]; then
  echo "usage: partition-network.sh [NODE] [SECONDS]: received $*" >&2
  exit 2
fi
milliseconds() { date +%s%3N; }
call() { curl --silent --show-error --globoff --max-time 5 "$@"; }
set_partition() { call --fail-with-body --request PUT --data "{\"partition\":$1}" "$base/faults" >/dev/null; }
# How many nodes are up: none where nobody answers, and where none is.
up() { { call --fail "$base/api/cluster/nodes" || true; } | { grep -o '"status":"up"' || true; } | wc -l; }
# within TENTHS COMMAND...: whether the command succeeds in time.
within() {
  local left=$1
  shift
  until "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || return 1
    sleep 0.1
  done
}
# The same, and how long it took, in ms.
time_until() {
  local began
  began=$(milliseconds)
  within "$@" || return 1
  echo $(($(milliseconds) - began))
}
# A front that does not answer at the moment is no node that is gone.
fewer() {
  local now
  now=$(up)
  ((now > 0 && now < $1))
}
all_up() { (($(up) >= $1)); }
answered() { call --fail --json '{"key":"drill","operation":"increment","value":1}' "$base/api/cluster/rpc"; }

before=$(up)
if ((before < 2)); then
  echo "partition-network: $before nodes are up at $base, and at least 2 are needed" >&2
  exit 1
fi
# Who is busy is asked again; that it was in vain does not hide why the drill ended.
undo() { within 20 set_partition null || echo "partition-network: $node could not be taken back; PUT {\"partition\":null} to $base/faults" >&2; }
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set_partition "\"$node\"" || { echo "partition-network: $node was not cut off; /api/cluster/nodes lists those that could be" >&2; exit 1; }
noticed=$(time_until 50 fewer "$before") || { echo "partition-network: $node was not cut off; /api/cluster/nodes lists those that could be" >&2; exit 1; }
echo "cut off: $node, for $seconds s; it was seen to be gone after $noticed ms"
# While it is cut off, not once.
still_answered() {
  local end=$(($(date +%s) + seconds))
  while :; do
    within 50 answered || return 1
    (($(date +%s) < end)) || return 0
    sleep 0.1
  done
}
still_answered || { echo "partition-network: FAILED: while it was cut off, no call was answered for 5 s" >&2; exit 1; }
# The trap stays until it is undone: one that comes in between would leave the node cut off.
set_partition null || { echo "partition-network: FAILED: $node could not be taken back; PUT {\"partition\":null} to $base/faults" >&2; exit 1; }
trap - EXIT
recovery=$(time_until 300 all_up "$before") || { echo "partition-network: FAILED: not all of $before nodes are there after 30 s" >&2; exit 1; }
echo "mended"
echo "recovery: $recovery ms until all $before nodes were there again"
