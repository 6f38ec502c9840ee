#!/usr/bin/env bash
# Builds the container of the Dockerfile without a daemon, and runs the suite in it:
#
#   scripts/container.sh build                  the image fw-k6:latest of an archive of this tree, kept below .cache/container
#   scripts/container.sh run [ARGUMENT...]      its entry point; variables of the suite come by FW_K6_ENV="VUS=200 DURATION=1m"
#   scripts/container.sh remove                 all that this script made
#
# The image's base is not fetched from a registry of images: it comes from debootstrap. `make k6 binaries` must have been run: the
# archive is made of what they left. Nothing but root may build so; others need sudo. Evidence goes to FW_K6_EVIDENCE, by default test-results/container.
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

# The image that the Dockerfile begins with.
base() {
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
}

build() {
  "${as_root[@]}" scripts/ensure-tools.sh buildah debootstrap
  mkdir -p "$home"
  base
  # Beside those of releases, as the Dockerfile sees no other folder.
  local version=v0.0.0-container archives=dist/container certificates archive
  rm -rf "$archives"
  scripts/archive.sh --trial "$version" "$archives"
  archive=$(echo "$archives"/*.tar.gz)
  # The certificates that this machine trusts, also where they are its own.
  certificates=$(readlink -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}")
  say "building $image"
  buildah build --layers --quiet --tag "$image" \
    --build-arg BASE_IMAGE=localhost/system --build-arg ARCHIVE="$archive" \
    --volume "$certificates:/etc/ssl/certs/ca-certificates.crt:ro" \
    . >"$home/build.log" 2>&1 || {
    tail -n 30 "$home/build.log" >&2
    return 1
  }
  rm -rf "$archives"
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
