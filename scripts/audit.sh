#!/usr/bin/env bash
# Judges what this project takes from others: licences, sources, known vulnerabilities.
#
# Vulnerabilities are looked up in databases on the network. Where one cannot be reached, the check is skipped with a
# line that says so; with AUDIT_STRICT=1 that is a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
PATH=$(scripts/ensure-audit-tools.sh cargo-deny govulncheck):$PATH
log=$(mktemp)
trap 'rm -f "$log"' EXIT

failed=0
skipped=0

# look_up NAME SIGN COMMAND...: runs the command; output that matches SIGN means that the database cannot be reached.
look_up() {
  local name=$1 sign=$2
  shift 2
  if "$@" >"$log" 2>&1; then
    echo "audit: $name: nothing known against them"
  elif grep -qE "$sign" "$log"; then
    echo "audit: SKIPPED $name: its database cannot be reached, so nothing is known of vulnerabilities" >&2
    skipped=$((skipped + 1))
  else
    cat "$log" >&2
    echo "audit: $name: see above" >&2
    failed=1
  fi
}

if ! cargo-deny --locked --log-level error check licenses bans sources; then
  failed=1
fi
go -C tools run ./notices -check ../THIRD-PARTY-NOTICES.md || failed=1
look_up "Rust crates" 'failed to fetch advisory database' cargo-deny --locked check advisories
for module in xk6-barrier tools; do
  look_up "Go module $module" 'fetching vulnerabilities' env CGO_ENABLED=1 govulncheck -C "$module" ./...
done

# The gate of phase 0 reads it: what was not looked up is told in its verdict.
echo "audit: databases of vulnerabilities that could not be reached: $skipped"
if ((skipped)) && [[ ${AUDIT_STRICT-} == 1 ]]; then
  echo "audit: with AUDIT_STRICT=1 a skipped check is a failure" >&2
  failed=1
fi
exit "$failed"
