#!/bin/sh
# Prints the path of a headless Chromium, getting one if there is none:
#   1. CHROMIUM_BIN or the path;
#   2. Debian's package chromium-headless-shell, else chromium, where root may install it.
# Everything but the path goes to stderr. Exit code 1 and one line that says what to install when nothing helps.
set -eu

browser() {
    for candidate in "${CHROMIUM_BIN:-}" chromium-headless-shell chromium chromium-browser google-chrome; do
        if [ -n "$candidate" ] && path=$(command -v "$candidate"); then
            printf '%s\n' "$path"
            return 0
        fi
    done
    return 1
}

from_debian() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    export DEBIAN_FRONTEND=noninteractive
    for package in chromium-headless-shell chromium; do
        if apt-get install -y --no-install-recommends "$package" >&2 ||
            { apt-get update >&2 && apt-get install -y --no-install-recommends "$package" >&2; }; then
            return 0
        fi
    done
    return 1
}

browser && exit 0
if from_debian >&2; then
    browser && exit 0
fi
echo "ensure-browser: no Chromium; install one (Debian: apt-get install chromium-headless-shell), or set CHROMIUM_BIN" >&2
exit 1
