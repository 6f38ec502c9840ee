#!/bin/sh
# Prints the path of a headless Chromium, getting one if there is none, in the ways that lib/ensure.sh describes. Exit code
# 1 and one line that says what to install when nothing helps.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=browser
variable=CHROMIUM_BIN
names='chromium-headless-shell chromium chromium-browser google-chrome'
# The programs in /usr/bin are scripts that know where the others are installed: no use where they are only unpacked.
folders='/usr/lib/chromium /usr/bin'
packages='chromium-headless-shell+chromium-common chromium+chromium-common'
remedy='no Chromium; install one (Debian: apt-get install chromium-headless-shell), or set CHROMIUM_BIN'

ensure
