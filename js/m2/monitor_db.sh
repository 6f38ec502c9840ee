#!/usr/bin/env bash
# Writes a line of CSV every five seconds about the database of a challenge service, until it is ended: sessions by what they do, and
# the statements on user_goal_progress. DATABASE_URL names the database; the one argument is the file, which may be - for stdout.
# `barrier-bench run m2` keeps the same by itself.
set -euo pipefail

usage() {
  echo "usage: monitor_db.sh FILE: $1" >&2
  exit 2
}
(($# == 1)) || usage "received ${*:-nothing}"
[[ -n ${DATABASE_URL:-} ]] || usage "DATABASE_URL is missing; allowed: postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE"

psql=${POSTGRES_BIN:+${POSTGRES_BIN%/*}/psql}
[[ -n $psql && -x $psql ]] || psql=$(command -v psql) || usage "no psql; install PostgreSQL's client, or set POSTGRES_BIN"

# Arguments of a process can be read by everybody on the machine: the password goes by the environment.
address=$DATABASE_URL
if [[ $address =~ ^([^:]+://[^:/@]+):([^@]*)@(.*)$ ]]; then
  address=${BASH_REMATCH[1]}@${BASH_REMATCH[3]}
  PGPASSWORD=$(printf '%b' "${BASH_REMATCH[2]//%/\\x}")
  export PGPASSWORD
fi

[[ $1 == - ]] || exec >"$1"
echo time,active,idle,idle_in_transaction,waiting_for_locks,calls,total_ms,mean_ms
# It only reads.
PGOPTIONS='-c default_transaction_read_only=on' exec "$psql" --no-psqlrc --quiet --tuples-only --no-align --field-separator , \
  --set ON_ERROR_STOP=1 --file - "$address" <<'SQL'
SELECT to_char(clock_timestamp() AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), sessions.*, statements.* FROM
  (SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state = 'idle'),
     count(*) FILTER (WHERE state LIKE 'idle in transaction%'), count(*) FILTER (WHERE wait_event_type = 'Lock')
   FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) AS sessions,
  (SELECT coalesce(sum(calls), 0), round(coalesce(sum(total_exec_time), 0)::numeric, 1),
     round((coalesce(sum(total_exec_time), 0) / greatest(sum(calls), 1))::numeric, 3)
   FROM pg_stat_statements WHERE query LIKE '%user_goal_progress%') AS statements
\watch 5
SQL
