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
call() { curl --silent --show-error --globoff --max-time 5 "$@"; }
set_partition() { call --fail-with-body --request PUT --data "{\"partition\":$1}" "$base/faults" >/dev/null; }
up() { call --fail "$base/api/cluster/nodes" | grep -o '"status":"up"' | wc -l; }
# within TENTHS COMMAND...: whether the command succeeds in time.
within() {
  local left=$1
  shift
  until "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || return 1
    sleep 0.1
  done
}
fewer() { (($(up) < $1)); }
all_up() { (($(up) >= $1)); }
answered() { call --fail --json '{"key":"drill","operation":"increment","value":1}' "$base/api/cluster/rpc"; }

before=$(up)
if ((before < 2)); then
  echo "partition-network: $before nodes are up at $base, and at least 2 are needed" >&2
  exit 1
fi
trap 'set_partition null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set_partition "\"$node\"" || { echo "partition-network: $node was not cut off; /api/cluster/nodes lists those that could be" >&2; exit 1; }
within 50 fewer "$before" || { echo "partition-network: $node was not cut off; /api/cluster/nodes lists those that could be" >&2; exit 1; }
echo "cut off: $node, for $seconds s"
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
within 300 all_up "$before" || { echo "partition-network: FAILED: not all of $before nodes are there after 30 s" >&2; exit 1; }
echo "mended: all $before nodes are there again"
