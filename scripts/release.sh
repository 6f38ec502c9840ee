#!/usr/bin/env bash
# Makes a release of the Go module that needs no Rust: it carries the core as static libraries.
#
#   scripts/release.sh VERSION FOLDER            for Linux on amd64 and arm64
#   scripts/release.sh --built VERSION FOLDER    with the library that this tree has for this machine; for tests
#
# FOLDER gets
#
#   repository.git/   the tag xk6-barrier/VERSION, of a commit that has the libraries: pushed to where the project lives, it lets stock
#                xk6 build the module from there
#   proxy/       a module proxy of files: GOPROXY=file://FOLDER/proxy,... makes `xk6 build --with MODULE@VERSION` find it
#   SHA256SUMS   checksums of the files of proxy/; repository.git has its own, and archives have theirs beside them
#
# What git knows of xk6-barrier/ goes in, and nothing else but the libraries and the licences. The libraries hold neither
# debug information nor paths of this machine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() {
  echo "release: $*" >&2
  exit 1
}

built=false
if [[ ${1-} == --built ]]; then
  built=true
  shift
fi
[[ $# == 2 ]] || fail "the arguments are [--built] VERSION FOLDER"
version=$1
[[ $version =~ ^v(0|1)\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "VERSION is \"$version\", it has to be one such as v0.1.0"
mkdir -p "$2"
out=$(realpath "$2")
cd "$root"
if ! $built && [[ -n $(git status --porcelain -- xk6-barrier rust-core Cargo.toml Cargo.lock LICENSE) ]]; then
  fail "there are changes that are not committed; a release is made of what git holds"
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
git ls-files -z -- xk6-barrier | xargs -0 cp --dereference --parents --target-directory="$stage"
module=$stage/xk6-barrier
core=$module/internal/core
go -C tools run ./notices -texts >"$module/THIRD-PARTY-LICENSES.txt"

if $built; then
  mkdir -p "$core/lib"
  cp -r xk6-barrier/internal/core/lib/. "$core/lib"
  cp xk6-barrier/internal/core/buildid_*.go "$core"
  find "$core/lib" -name '*.a' -exec strip --strip-debug {} +
else
  for machine in x86_64:amd64 aarch64:arm64; do
    cpu=${machine%:*} arch=${machine#*:}
    triple=$cpu-unknown-linux-gnu
    strip='strip'
    if [[ $(uname -m) != "$cpu" ]]; then
      scripts/ensure-tools.sh "$cpu-linux-gnu-gcc"
      strip=$cpu-linux-gnu-strip
    fi
    [[ -d $(rustc --target "$triple" --print target-libdir) ]] || rustup target add "$triple" ||
      fail "the Rust standard library for $triple is missing; 'rustup target add $triple' brings it"
    echo "release: building the core for $triple" >&2
    RUSTFLAGS="${RUSTFLAGS-} --remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
      scripts/build-core.sh --target "$triple" "$core" --quiet
    "$strip" --strip-debug "$core/lib/linux_$arch/libbarrier_ffi.a"
  done
fi
# Only for work on the core itself.
find "$core/lib" \( -name '*.so' -o -name '*.dylib' -o -name build-id \) -delete

go -C tools run ./release -version "$version" -time "$(git show --no-patch --format=%cI HEAD)" -proxy "$out/proxy" "$module"

# The same files as a commit of its own, which no branch has and which has no history: a shallow clone, as CI has it, could not push one.
git init --quiet "$stage/clone"
git archive HEAD | tar --extract --directory="$stage/clone"
rm -rf "$stage/clone/xk6-barrier"
cp -r "$module" "$stage/clone"
git -C "$stage/clone" add --all --force
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
GIT_AUTHOR_NAME=$(git show --no-patch --format=%an HEAD)
GIT_AUTHOR_EMAIL=$(git show --no-patch --format=%ae HEAD)
GIT_AUTHOR_DATE=$(git show --no-patch --format=%aI HEAD)
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
git -C "$stage/clone" commit --quiet --no-verify --message="Release $version of the module, with the core as static libraries"
git -C "$stage/clone" tag "xk6-barrier/$version"
[[ -d $out/repository.git ]] || git init --quiet --bare "$out/repository.git"
git -C "$stage/clone" push --quiet "$out/repository.git" "xk6-barrier/$version"
du -h "$core"/lib/*/*.a | sed "s|\t.*/lib/\([^/]*\)/.*| for \1|; s|^|release: the core takes |" >&2

(
  cd "$out"
  find proxy -type f -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS
)
echo "release: $version is in $out"
