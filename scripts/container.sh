#!/usr/bin/env bash
# Builds the container of the Dockerfile without a daemon, and runs the suite in it:
#
#   scripts/container.sh build                  the image fw-k6:latest, kept below .cache/container
#   scripts/container.sh run [ARGUMENT...]      its entry point; variables of the suite come by FW_K6_ENV="VUS=200 DURATION=1m"
#   scripts/container.sh remove                 all that this script made
#
# The image's bases are not fetched from a registry of images: the system comes from debootstrap, Rust and Go are those of this
# machine. Nothing but root may build so; others need sudo. Evidence goes to FW_K6_EVIDENCE, by default test-results/container.
#
# DEBIAN_MIRROR, DEBIAN_SUITE   where the system comes from, by default http://deb.debian.org/debian and bookworm
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
home=$root/.cache/container
image=fw-k6:latest
suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
evidence=${FW_K6_EVIDENCE:-$root/test-results/container}

say() { echo "container: $*" >&2; }

# Images need root; what is fetched for them does not.
if [[ $(id -u) == 0 ]]; then as_root=(); else as_root=(sudo --preserve-env); fi

# Images lie beside the checkout, away from those of the machine.
buildah() {
  "${as_root[@]}" env BUILDAH_ISOLATION=chroot buildah --root "$home/images" --runroot "$home/state" "$@"
}

# import NAME FOLDER PATH: an image whose PATH is the folder.
import() {
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$2" "$3" >/dev/null
  buildah commit --quiet "$container" "$1" >/dev/null
  buildah rm "$container" >/dev/null
}

has() { buildah images --quiet "$1" >/dev/null 2>&1; }

# The images that the Dockerfile begins with.
bases() {
  if ! has localhost/system; then
    say "making a system: $suite from $mirror"
    "${as_root[@]}" rm -rf "$home/system"
    "${as_root[@]}" debootstrap --force-check-gpg --variant=minbase "$suite" "$home/system" "$mirror" >"$home/debootstrap.log" 2>&1 || {
      tail -n 5 "$home/debootstrap.log" >&2
      return 1
    }
    import localhost/system "$home/system" /
    "${as_root[@]}" rm -rf "$home/system"
  fi
  if ! has localhost/go; then
    say 'taking the Go of this machine'
    import localhost/go "$(go env GOROOT)" /usr/local/go
  fi
  if ! has localhost/rust; then
    say 'taking the Rust of this machine, and a C compiler from the system'
    local sysroot container
    sysroot=$(rustc --print sysroot)
    container=$(buildah from localhost/system)
    buildah run "$container" -- sh -c 'apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc git libc6-dev make' \
      >"$home/apt.log" 2>&1 || {
      tail -n 5 "$home/apt.log" >&2
      return 1
    }
    buildah add --quiet "$container" "$sysroot/bin" /usr/local/bin >/dev/null
    buildah add --quiet "$container" "$sysroot/lib" /usr/local/lib >/dev/null
    buildah config --env CARGO_HOME=/usr/local/cargo "$container"
    buildah commit --quiet "$container" localhost/rust >/dev/null
    buildah rm "$container" >/dev/null
  fi
}

build() {
  scripts/ensure-tools.sh cargo go
  "${as_root[@]}" scripts/ensure-tools.sh buildah debootstrap
  mkdir -p "$home"
  bases
  # What root has fetched already is not fetched again; others would find files of root in their folders afterwards.
  local registry=$home/registry modules=$home/modules certificates
  if ((${#as_root[@]} == 0)); then
    registry=${CARGO_HOME:-$HOME/.cargo}/registry
    modules=$(go env GOMODCACHE)
  fi
  mkdir -p "$registry" "$modules"
  # The certificates that this machine trusts, also where they are its own.
  certificates=$(readlink -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}")
  say "building $image"
  buildah build --layers --quiet --tag "$image" \
    --build-arg BASE_IMAGE=localhost/system --build-arg RUST_IMAGE=localhost/rust --build-arg GO_IMAGE=localhost/go \
    --volume "$registry:/usr/local/cargo/registry" --volume "$modules:/root/go/pkg/mod" \
    --volume "$certificates:/etc/ssl/certs/ca-certificates.crt:ro" \
    . >"$home/build.log" 2>&1 || {
    tail -n 30 "$home/build.log" >&2
    return 1
  }
  buildah images "$image"
}

# The entry point of the image with its own arguments, or with these; as the image's user, with its folder of evidence outside.
run() {
  has "$image" || {
    say "there is no $image; scripts/container.sh build makes it"
    return 2
  }
  local container entry words files status=0 options=()
  mkdir -p "$evidence"
  "${as_root[@]}" chown "$(buildah inspect --type image --format '{{.OCIv1.Config.User}}' "$image")" "$evidence"
  read -r entry <<<"$(buildah inspect --type image --format '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}' "$image")"
  words=("$@")
  (($#)) || read -ra words <<<"$(buildah inspect --type image --format '{{range .OCIv1.Config.Cmd}}{{.}} {{end}}' "$image")"
  for variable in ${FW_K6_ENV-}; do options+=(--env "$variable"); done
  # As many open files as this machine allows; the engine's own default would carry few users.
  files=$("${as_root[@]}" bash -c 'ulimit -Hn')
  container=$(buildah from --ulimit "nofile=$files:$files" "$image")
  # An engine mounts a folder in the place of the image's own volume; buildah would mount the volume over the folder.
  buildah config --volume /evidence- "$container"
  buildah run --volume "$evidence:/evidence" "${options[@]}" "$container" -- "$entry" "${words[@]}" || status=$?
  buildah rm "$container" >/dev/null
  return "$status"
}

# Images are mounted while they are in use, and are those of root.
remove() {
  [[ -d $home ]] || return 0
  buildah rm --all >/dev/null
  buildah rmi --all --force >/dev/null
  "${as_root[@]}" rm -rf "$home"
}

verb=${1-}
(($# == 0)) || shift
case $verb in
  build) build ;;
  run) run "$@" ;;
  remove) remove ;;
  *)
    echo "usage: scripts/container.sh build | run [ARGUMENT...] | remove" >&2
    [[ -z $verb ]] || echo "container: \"$verb\" is no verb" >&2
    exit 2
    ;;
esac
