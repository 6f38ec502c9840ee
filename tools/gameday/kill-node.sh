#!/usr/bin/env bash
# Drill: a node of the cluster is killed. Passes if it was confirmed, calls of its keys are answered by another node within 5 s, and all
# nodes are there again within 30 s.
#
#   tools/gameday/kill-node.sh [NODE]      node2, unless another one is named; BASE_URL is the front, http://localhost:4000
set -euo pipefail

node=${1:-node2}
base=${BASE_URL:-http://localhost:4000}
if (($# > 1)) || [[ ! $node =~ ^[A-Za-z0-9@._-]+$ ]]; then
  echo "usage: kill-node.sh [NODE]: received $*" >&2
  exit 2
fi
milliseconds() { date +%s%3N; }
call() { curl --silent --show-error --globoff --max-time 5 "$@"; }

# until_true LIMIT_MS COMMAND...: how long it took until the command succeeded, in ms; fails when that is not in time.
until_true() {
  local limit=$1 began
  began=$(milliseconds)
  shift
  until "$@" >/dev/null 2>&1; do
    (($(milliseconds) - began < limit)) || return 1
    sleep 0.01
  done
  echo $(($(milliseconds) - began))
}
# A key that the node has.
key_of() {
  local key
  for key in key_{1..1000}; do
    if call "$base/api/cluster/shard?key=$key" | grep -q "\"node\":\"$1[@\"]"; then
      echo "$key"
      return
    fi
  done
  return 1
}
# By another node than the second one.
answered() {
  local told
  told=$(call --fail --json "{\"key\":\"$1\",\"operation\":\"increment\",\"value\":1}" "$base/api/cluster/rpc") || return 1
  [[ $told == *'"node":"'* && $told != *"\"node\":\"$2"[@\"]* ]]
}
# How many nodes are up: none where nobody answers, and where none is.
up() { { call --fail "$base/api/cluster/nodes" || true; } | { grep -o '"status":"up"' || true; } | wc -l; }
all_up() { (($(up) >= $1)); }

before=$(up)
if ((before < 2)); then
  echo "kill-node: $before nodes are up at $base, and at least 2 are needed" >&2
  exit 1
fi
key=$(key_of "${node%@*}") || { echo "kill-node: $node is not up at $base; /api/cluster/nodes lists those that are" >&2; exit 1; }
call --fail-with-body --request POST "$base/api/cluster/kill?node=$node" >/dev/null || { echo "kill-node: $node was not killed" >&2; exit 1; }
echo "killed: $node, confirmed by $base"
failover=$(until_true 5000 answered "$key" "${node%@*}") || { echo "kill-node: FAILED: no other node answered a call of its key $key within 5 s" >&2; exit 1; }
echo "failover: $failover ms until another node answered a call of its key $key"
recovery=$(until_true 30000 all_up "$before") || { echo "kill-node: FAILED: not all of $before nodes are there after 30 s" >&2; exit 1; }
echo "recovery: $recovery ms until all $before nodes were there again"
