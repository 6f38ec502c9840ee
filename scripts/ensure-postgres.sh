#!/bin/sh
# Prints the path of a `postgres` of PostgreSQL 15 or later that has initdb and psql beside it, getting one if there is none,
# in the ways that lib/ensure.sh describes. Exit code 1 and one line that says what to install when nothing helps.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=postgres
variable=POSTGRES_BIN
names=postgres
companions='initdb psql'
folders='/usr/lib/postgresql/15/bin /usr/lib/postgresql/16/bin /usr/lib/postgresql/17/bin'
packages='postgresql-15+postgresql-client-15 postgresql-16+postgresql-client-16 postgresql-17+postgresql-client-17'
remedy='no PostgreSQL 15 or later; install it (Debian: apt-get install postgresql), or set POSTGRES_BIN to a postgres beside its initdb and psql'

works() {
    case $("$1" --version 2>/dev/null) in
        'postgres (PostgreSQL) 1'[5-9]* | 'postgres (PostgreSQL) '[2-9][0-9]*) ;;
        *) return 1 ;;
    esac
}

ensure
