#!/usr/bin/env bash
# Makes sure that commands are there: scripts/ensure-tools.sh gcc git node
#
# What Debian packages is installed where root may do so. For the rest, and everywhere else, one line per missing
# command says what to install, and the script ends with exit code 1.
set -euo pipefail

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=tools
rust=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml")

# The Debian package that brings a command; empty where Debian's is absent or too old for this project.
package_of() {
  case $1 in
    gcc) echo gcc libc6-dev ;;
    aarch64-linux-gnu-gcc) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    x86_64-linux-gnu-gcc) echo gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    node) echo nodejs ;;
    java) echo default-jre-headless ;;
    javac) echo default-jdk-headless ;;
    mvn) echo maven ;;
    python3) echo python3-venv ;;
    npm | git | curl | openssl | buildah) echo "$1" ;;
    debootstrap) echo debootstrap debian-archive-keyring ;;
    redis-cli) echo redis-tools ;;
    *) echo ;;
  esac
}

remedy_for() {
  case $1 in
    cargo) echo "install Rust $rust by rustup" ;;
    go) echo "install Go 1.25 or later" ;;
    *) echo "install it, on Debian as root: apt-get install $(package_of "$1")" ;;
  esac
}

missing=()
packages=()
for command in "$@"; do
  command -v "$command" >/dev/null && continue
  missing+=("$command")
  read -ra needed <<<"$(package_of "$command")"
  packages+=("${needed[@]}")
done

if ((${#packages[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  say "installing ${packages[*]} by apt-get"
  quietly install_by_apt "${packages[@]}" || say 'apt-get failed'
fi

failed=0
for command in "${missing[@]}"; do
  if ! command -v "$command" >/dev/null; then
    say "$command is not on the PATH: $(remedy_for "$command")"
    failed=1
  fi
done
exit "$failed"
