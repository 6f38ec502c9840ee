#!/usr/bin/env bash
# Puts pinned tools that judge dependencies and code into .cache/audit, once: scripts/ensure-audit-tools.sh gosec govulncheck
# Prints the folder to put on the PATH. They are built from source, which takes minutes for cargo-deny.
set -euo pipefail

declare -A go_tools=(
  [gosec]=github.com/securego/gosec/v2/cmd/gosec@v2.22.4
  [govulncheck]=golang.org/x/vuln/cmd/govulncheck@v1.1.4
)
cargo_deny=0.20.2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.cache/audit/bin
for tool in "$@"; do
  [[ ! -x $bin/$tool ]] || continue
  echo "ensure-audit-tools: building $tool into .cache/audit" >&2
  case $tool in
    cargo-deny)
      cargo install --quiet --locked --root "$root/.cache/audit" --target-dir "$root/.cache/audit/target" \
        "cargo-deny@$cargo_deny" </dev/null >&2
      rm -rf "$root/.cache/audit/target"
      ;;
    *)
      [[ -n ${go_tools[$tool]-} ]] || { echo "ensure-audit-tools: unknown tool \"$tool\"" >&2; exit 2; }
      # Outside any module, so that the tool's own dependencies are used.
      (cd / && GOBIN=$bin GOFLAGS='' go install "${go_tools[$tool]}") >&2
      ;;
  esac
done
echo "$bin"
