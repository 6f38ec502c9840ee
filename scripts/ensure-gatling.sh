#!/bin/sh
# Prints the folder of a Gatling, fetching what it needs from Maven Central into .cache/ where it is not there: its libraries
# in lib, its version in the file version. Needs javac and mvn, which are installed where root may do so. Exit code 1 and one
# line where it cannot be had.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=gatling
pom=$root/bench/perf/peers/gatling/pom.xml
version=$(sed -n 's:.*<gatling.version>\(.*\)</gatling.version>.*:\1:p' "$pom")
home=$root/.cache/gatling-$version

"$root/scripts/ensure-tools.sh" java javac || exit 1
if [ -f "$home/version" ]; then
    found "$home"
fi
"$root/scripts/ensure-tools.sh" mvn || exit 1

# shellcheck disable=SC2329 # `quietly` calls it
fetch() {
    mvn --batch-mode --file "$pom" "-Dmaven.repo.local=$root/.cache/maven" dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$work/home/lib"
}

fresh_work
say "fetching Gatling $version from Maven Central, into ${home#"$root"/}"
if quietly fetch; then
    printf '%s\n' "$version" >"$work/home/version"
    rm -rf "$home"
    mv "$work/home" "$home"
    found "$home"
fi
say "Gatling $version cannot be had; Maven Central has to be in reach"
exit 1
