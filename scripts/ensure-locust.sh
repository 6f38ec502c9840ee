#!/bin/sh
# Prints the folder of a virtual environment with Locust and what it needs in the versions of
# bench/perf/peers/locust/requirements.txt, making it below .cache/ where it is not there. Needs python3 with venv and pip.
# Exit code 1 and one line where it cannot be had.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=locust
requirements=$root/bench/perf/peers/locust/requirements.txt
version=$(sed -n 's/^locust==//p' "$requirements")
home=$root/.cache/locust-$version

# A virtual environment holds its own path, so it is made where it stays; what was installed is noted at the end.
if cmp -s "$requirements" "$home/requirements.txt" && [ -x "$home/bin/locust" ]; then
    found "$home"
fi
"$root/scripts/ensure-tools.sh" python3 || exit 1

# shellcheck disable=SC2329 # `quietly` calls it
install() {
    rm -rf "$home"
    python3 -m venv "$home" &&
        "$home/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --requirement "$requirements" &&
        "$home/bin/locust" --version
}

mkdir -p "$root/.cache"
say "installing Locust $version from a package index, into ${home#"$root"/}"
if quietly install; then
    cp "$requirements" "$home/"
    found "$home"
fi
say "Locust $version cannot be had; python3 (3.10 or later) with venv and pip, and a package index in reach, are needed"
exit 1
