#!/usr/bin/env bash
# A PostgreSQL of its own on a free port of the loopback, with nothing in it, until it is told to stop: for suites whose target needs
# one. Nothing of it stays.
#
#   scripts/private-postgres.sh PORT_FILE     gets the lines "http://127.0.0.1:PORT" and "database http://127.0.0.1:PORT" once it takes
#                                             connections: what the runner reads of any program
#
# The user is postgres, without a password.
set -euo pipefail

if (($# != 1)); then
  echo "usage: private-postgres.sh PORT_FILE: received $*" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
postgres=$("$root/scripts/ensure-postgres.sh")
folder=$(mktemp -d)
as=()
# PostgreSQL refuses to run as root.
if ((EUID == 0)); then
  other=postgres
  id -u "$other" >/dev/null 2>&1 || other=nobody
  chown "$other" "$folder"
  as=(setpriv "--reuid=$other" "--regid=$(id -g "$other")" --clear-groups)
fi
server=
# shellcheck disable=SC2329 # by the trap
stop() {
  # At once, whoever is connected; it ends its own processes.
  [[ -z $server ]] || { kill -QUIT "$server" 2>/dev/null; wait "$server"; } || true
  rm -rf "$folder"
}
trap stop EXIT
# Once: of a runner with several threads that is killed, the kernel tells this more than one time, and the second would end what cleans up.
trap 'trap "" INT TERM; exit 0' INT TERM

cd "$folder"
programs=$(dirname "$(readlink -f "$postgres")")
[[ -x ${postgres%/*}/initdb ]] && programs=${postgres%/*}
"${as[@]}" "$programs/initdb" --username=postgres --auth=trust --no-sync --encoding=UTF8 --locale=C --pgdata=data >/dev/null
for _ in {1..20}; do
  port=$((20000 + RANDOM % 12000))
  "${as[@]}" "$programs/postgres" -D data -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 &
  server=$!
  # One whose port is somebody else's ends at once, and is tried again with another; it writes this file when it takes connections.
  while kill -0 "$server" 2>/dev/null; do
    if grep -qs '^ready' data/postmaster.pid; then
      printf 'http://127.0.0.1:%s\ndatabase http://127.0.0.1:%s\n' "$port" "$port" >"$1.new"
      mv "$1.new" "$1"
      wait "$server"
      exit
    fi
    sleep 0.02
  done
done
echo "private-postgres: no port was free" >&2
exit 1
