#!/usr/bin/env bash
# Checks the core for systems that are not this one, and the Go module without cgo:
#
#   scripts/check-elsewhere.sh "RUST-TARGET…" "GOOS/GOARCH…"
#
# What is checked compiles; nothing of it is run. Some crates come with C, for which a compiler for each target is needed: that of the
# PyPI wheel `ziglang`, which is unpacked below .cache and never installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
fail() {
  echo "check-elsewhere: $*" >&2
  exit 1
}
[[ $# == 2 ]] || fail 'the arguments are "RUST-TARGET…" "GOOS/GOARCH…"'
read -ra targets <<<"$1"
read -ra systems <<<"$2"

zig=$root/.cache/ziglang
if [[ ! -x $zig/ziglang/zig ]]; then
  echo 'check-elsewhere: fetching the wheel ziglang by pip, unpacking below .cache/ziglang' >&2
  rm -rf "$zig"
  mkdir -p "$zig"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$zig" ziglang || fail 'the wheel ziglang cannot be had; python3 with pip and a package index are needed'
  python3 -m zipfile -e "$zig"/ziglang-*.whl "$zig"
  rm "$zig"/ziglang-*.whl
  chmod +x "$zig/ziglang/zig"
fi

# compiler TARGET: writes one that gives cc-rs what it asks for, with the names that zig has for systems.
compiler() {
  local cpu=${1%%-*} system
  case $1 in
    *-linux-musl) system=linux-musl ;;
    *-linux-gnu) system=linux-gnu.2.35 ;;
    *-apple-darwin) system=macos ;;
    *) fail "no compiler is known for $1" ;;
  esac
  cat >"$zig/cc-$1" <<CC
#!/usr/bin/env bash
# cc-rs names the target in ways of its own; zig is told by its own name.
arguments=()
for argument; do
  case \$argument in
    --target=* | -arch | x86_64 | arm64 | -mmacosx-version-min=* | -isysroot | -march=armv8-a) ;;
    *) arguments+=("\$argument") ;;
  esac
done
exec "$zig/ziglang/zig" cc -target $cpu-$system "\${arguments[@]}"
CC
  printf '#!/usr/bin/env bash\nexec "%s" ar "$@"\n' "$zig/ziglang/zig" >"$zig/ar"
  chmod +x "$zig/cc-$1" "$zig/ar"
}

for target in "${targets[@]}"; do
  [[ -d $(rustc --target "$target" --print target-libdir) ]] || rustup target add "$target" >&2 ||
    fail "the Rust standard library for $target is missing; 'rustup target add $target' brings it"
  compiler "$target"
  name=${target//-/_}
  echo "check-elsewhere: the core for $target" >&2
  env "CC_$name=$zig/cc-$target" "AR_$name=$zig/ar" ZIG_GLOBAL_CACHE_DIR="$zig/cache" SDKROOT=/ \
    cargo check --quiet --locked --package barrier-core --package barrier-ffi --target "$target"
done
for system in "${systems[@]}"; do
  echo "check-elsewhere: the Go module without cgo for $system" >&2
  (cd xk6-barrier && CGO_ENABLED=0 GOOS=${system%/*} GOARCH=${system#*/} go vet ./...)
done
