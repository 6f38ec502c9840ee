#!/bin/sh
# Prints the path of a `prometheus` that has promtool beside it, getting one if there is none, in the ways that lib/ensure.sh
# describes. Exit code 1 and one line that says what to install when nothing helps.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=prometheus
variable=PROMETHEUS_BIN
names=prometheus
companions=promtool
folders=/usr/bin
packages=prometheus
remedy='no Prometheus; install it (Debian: apt-get install prometheus), or set PROMETHEUS_BIN to a prometheus beside its promtool'

ensure
