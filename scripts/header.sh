#!/usr/bin/env bash
# Generates the C header of the core by cbindgen.
#
#   scripts/header.sh           writes rust-core/ffi/include/barrier.h
#   scripts/header.sh --check   fails where the committed header differs from the sources
#
# A pinned cbindgen is put into .cache first, so that the header does not depend on who generates it.
set -euo pipefail

version=0.29.4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache/cbindgen-$version
crate=$root/rust-core/ffi
header=$crate/include/barrier.h

if [[ ! -x $cache/bin/cbindgen ]]; then
  echo "header: installing cbindgen $version into .cache"
  cargo install --quiet --locked --root "$cache" --target-dir "$cache/target" "cbindgen@$version" </dev/null
  rm -rf "$cache/target"
fi

generated=$(mktemp)
trap 'rm -f "$generated"' EXIT
"$cache/bin/cbindgen" --quiet --config "$crate/cbindgen.toml" --output "$generated" "$crate"

case ${1-} in
  --check)
    if ! diff -u "$header" "$generated"; then
      echo "header: ${header#"$root"/} differs from what the sources give; run 'make header' and commit it" >&2
      exit 1
    fi
    ;;
  "")
    mkdir -p "$(dirname "$header")"
    cp "$generated" "$header"
    echo "header: wrote ${header#"$root"/}"
    ;;
  *)
    echo "header: the only argument is --check, got \"$1\"" >&2
    exit 2
    ;;
esac
