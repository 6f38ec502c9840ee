#!/usr/bin/env bash
# How long it takes from nothing to the first rendezvous, and to a run with evidence, in systems that have nothing else:
#
#   scripts/first-minute.sh [archive] [xk6]      both, where none is named
#
#   archive   a system made by debootstrap with nothing but the release archive: without a network, without root, without a compiler
#   xk6       one with gcc, git, Go and stock xk6 besides, which builds k6 from the tag of a git repository; the archive's runner uses it
#   remove    takes away what earlier calls made
#
# What is tried is made of this tree: `make k6 binaries` must have been run. The systems stay below .cache/first-minute; the seconds
# are printed and kept there in times.txt. Mounting a system needs root; others need sudo without a password.
#
# FIRST_MINUTE_ARCHIVE          an archive that is there already, its checksum beside it, in place of one made of this tree
# DEBIAN_MIRROR, DEBIAN_SUITE   where the system comes from, by default http://deb.debian.org/debian and bookworm
# DEBIAN_KEYRING                the keys that sign it, by default those of Debian
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
home=$root/.cache/first-minute
version=v0.0.0-first.minute

say() { echo "first-minute: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

if [[ ${1-} == remove ]]; then
  [[ ! -e $home ]] || rm -rf "$home" 2>/dev/null || sudo --non-interactive rm -rf "$home"
  exit
fi
(($#)) || set -- archive xk6
for trial in "$@"; do
  [[ $trial == archive || $trial == xk6 ]] || fail "\"$trial\" cannot be tried; what can is: archive, xk6"
done

# A system is made, mounted and entered by root alone.
if [[ $(id -u) == 0 ]]; then
  as_root=()
elif sudo --non-interactive true 2>/dev/null; then
  as_root=(sudo --non-interactive --preserve-env)
else
  fail 'a system of its own needs root: call this as root, or where sudo asks for no password; nothing was tried'
fi

# system NAME [PACKAGE...]: makes $home/NAME, with these packages besides, unless it is there.
system() {
  local name=$1 folder=$home/$1
  shift
  [[ ! -e $folder/made ]] || return 0
  say "making the system $name: $suite from $mirror"
  "${as_root[@]}" rm -rf "$folder"
  mkdir -p "$folder"
  "${as_root[@]}" debootstrap --keyring="$keyring" --force-check-gpg --variant=minbase ${1:+--include="$(IFS=,; echo "$*")"} \
    "$suite" "$folder/system" "$mirror" >"$home/$name.log" 2>&1 || {
    tail -n 5 "$home/$name.log" >&2
    return 1
  }
  touch "$folder/made"
}

# enter NAME NETWORK STEPS [FROM TO...]: runs the steps as a user in a fresh home of that system, with folders of this machine to read.
# All that they start and mount ends with them.
enter() {
  local system=$home/$1/system network=$2 steps=$3
  shift 3
  "${as_root[@]}" rm -rf "$system/home/user"
  "${as_root[@]}" mkdir -p "$system/home/user"
  "${as_root[@]}" cp -r "$home/user/." "$steps" "$system/home/user"
  "${as_root[@]}" chown -R 10001:10001 "$system/home/user"
  local apart=(--mount --pid --fork --kill-child)
  [[ $network == network ]] || apart+=(--net)
  # shellcheck disable=SC2016 # the inner shell expands it
  "${as_root[@]}" unshare "${apart[@]}" bash -euo pipefail -c '
    system=$1 network=$2 steps=$3
    shift 3
    mount -t proc proc "$system/proc"
    while (($#)); do
      mkdir -p "$system$2"
      mount --bind "$1" "$system$2"
      mount -o remount,bind,ro "$system$2"
      shift 2
    done
    [[ $network == network ]] || ip link set lo up
    exec chroot --userspec=10001:10001 "$system" /usr/bin/env --ignore-environment \
      HOME=/home/user USER=user LANG=C.UTF-8 PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin bash -euo pipefail "/home/user/${steps##*/}"
  ' enter "$system" "$network" "$steps" "$@"
}

# What both sets of steps begin with: `mark WHAT` keeps the seconds since the beginning.
cat_marks() {
  cat <<'STEPS'
cd
began=$EPOCHREALTIME
mark() {
  local now=$EPOCHREALTIME
  local took=$(((${now/./} - ${began/./}) / 100000))
  printf '%6d.%d s  %s\n' $((took / 10)) $((took % 10)) "$*" | tee -a times.txt
}
# Runs a command; what it printed is shown where it fails or has no line like the pattern.
expect() {
  local pattern=$1
  shift
  "$@" >printed.txt 2>&1 || { cat printed.txt; echo "failed: $*"; exit 1; }
  grep --quiet --extended-regexp "$pattern" printed.txt || { cat printed.txt; echo "nothing like \"$pattern\": $*"; exit 1; }
}
# A run with complete evidence. On a machine that others keep busy it may count for nothing by that alone; then it says so.
measured() {
  local code=0 broken
  bin/barrier-bench run waiting-room --scenario smoke >printed.txt 2>&1 || code=$?
  broken=$(sed -n '/^gates /,/^folder /p' printed.txt | grep --extended-regexp '^ {9}[a-z0-9-]+: ' | grep --invert-match '^ *generator-health: the machine' || true)
  kept=$(find evidence -name verdict.json | wc -l)
  if [[ -n $broken || $kept != 2 ]]; then
    cat printed.txt
    echo "failed: the run has $kept of 2 verdicts, and these gates broke: ${broken:-none}"
    exit 1
  fi
  ((code == 0)) || echo '          (the machine was too busy for the figures to count)'
}
export K6_NO_USAGE_REPORT=true
STEPS
}

archive_steps() {
  cat_marks
  cat <<'STEPS'
for program in gcc cc go cargo rustc python3 redis-server k6; do
  ! command -v "$program" || { echo "$program is there; this system should have nothing"; exit 1; }
done
sha256sum --check --quiet ./*.tar.gz.sha256
tar xf k6-barrier-*.tar.gz
archive=$(echo "$HOME"/k6-barrier-*/)
mark 'the archive is checked and unpacked'
expect 'barrier_arrivals\S*: 10 ' "$archive/k6" run --quiet "$archive/js/examples/barrier-first.js"
mark 'the first rendezvous: ten users have met'
cd "$archive"
measured
cd
mark 'a run with evidence: two variants of a waiting room, a Redis of its own'
cd "$archive"
expect "private Redis from .*/bin/redis-server" bin/barrier-bench doctor waiting-room --scenario smoke
grep -h 'private Redis from' printed.txt
STEPS
}

xk6_steps() {
  cat_marks
  cat <<STEPS
version=$version
k6=$k6_version
export GOPROXY=file:///modules,$(go env GOPROXY) GOSUMDB=$(go env GOSUMDB) GOPRIVATE=github.com/k6-barrier/* GOTOOLCHAIN=local
STEPS
  cat <<'STEPS'
for program in cargo rustc k6; do
  ! command -v "$program" || { echo "$program is there; this system should have nothing but Go, gcc, git and xk6"; exit 1; }
done
# In the place of where the project lives.
git config --global url."file://$HOME/repository.git".insteadOf https://github.com/k6-barrier/k6-barrier
cat >first.js <<'SCRIPT'
import { sleep } from 'k6';
import { Barrier } from 'k6/x/barrier';
const barrier = new Barrier('start', { parties: 10 });
export const options = { scenarios: { users: { executor: 'per-vu-iterations', vus: 10, iterations: 1 } } };
export default function () {
  sleep(Math.random());
  barrier.arriveAndWait();
}
SCRIPT
began=$EPOCHREALTIME
CGO_ENABLED=1 GOFLAGS=-tags=netgo,osusergo expect . xk6 build "$k6" --with "github.com/k6-barrier/k6-barrier/xk6-barrier@$version"
mark 'stock xk6 has built k6, with nothing compiled before'
expect 'barrier_arrivals\S*: 10 ' ./k6 run --quiet first.js
mark 'the first rendezvous: ten users have met'
expect "xk6-barrier $version" ./k6 x barrier version
tar xf k6-barrier-*.tar.gz
cd k6-barrier-*/
rm k6
export K6_BIN=$HOME/k6
measured
cd
mark 'a run with evidence: that k6 with the runner of the archive'
STEPS
}

"${as_root[@]}" scripts/ensure-tools.sh debootstrap
mkdir -p "$home"
"${as_root[@]}" rm -rf "$home/release" "$home/user"
mkdir -p "$home/user"
if [[ -n ${FIRST_MINUTE_ARCHIVE-} ]]; then
  mkdir "$home/release"
  cp "$FIRST_MINUTE_ARCHIVE" "$FIRST_MINUTE_ARCHIVE.sha256" "$home/release"
else
  scripts/archive.sh --trial "$version" "$home/release"
fi
: >"$home/times.txt"
for trial in "$@"; do
  case $trial in
    archive)
      cp "$home"/release/*.tar.gz "$home"/release/*.sha256 "$home/user"
      system nothing
      archive_steps >"$home/archive.sh"
      enter nothing none "$home/archive.sh"
      made=nothing
      title="$suite with nothing but the archive"
      ;;
    xk6)
      scripts/release.sh --built "$version" "$home/release"
      k6_version=$(sed -n 's|.*go\.k6\.io/k6/v2 \(v[^ ]*\).*|\1|p' xk6-barrier/go.mod | head -n 1)
      cp -r "$home"/release/*.tar.gz "$home/release/repository.git" "$home/user"
      # The xk6 that tools/go.mod pins, as its authors have it.
      system with-go ca-certificates gcc git libc6-dev
      "${as_root[@]}" install bin/libexec/xk6 "$home/with-go/system/usr/local/bin/xk6"
      "${as_root[@]}" cp -L /etc/resolv.conf /etc/hosts "$home/with-go/system/etc"
      certificates=$(readlink -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}")
      "${as_root[@]}" cp "$certificates" "$home/with-go/system/etc/ssl/certs/ca-certificates.crt"
      # Modules that this machine has fetched are not fetched again: what is timed is the build.
      modules=$(go env GOMODCACHE)/cache/download
      mkdir -p "$modules"
      xk6_steps >"$home/xk6.sh"
      enter with-go network "$home/xk6.sh" "$(go env GOROOT)" /usr/local/go "$modules" /modules
      made=with-go
      title="$suite with Go, gcc, git and stock xk6"
      ;;
  esac
  {
    echo "$title:"
    cat "$home/$made/system/home/user/times.txt"
  } >>"$home/times.txt"
  "${as_root[@]}" rm -rf "$home/$made/system/home/user" "$home/user"
  mkdir -p "$home/user"
done
say 'seconds from the beginning:'
cat "$home/times.txt"
