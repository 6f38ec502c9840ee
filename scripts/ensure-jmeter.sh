#!/bin/sh
# Prints the folder of a JMeter without its windows, fetching what it needs from Maven Central into .cache/ where it is not there.
# As in JMeter's own archive: bin/ApacheJMeter.jar and its properties, what samples and times in lib/ext, all else in lib.
# Needs java and mvn, which are installed where root may do so. Exit code 1 and one line where it cannot be had.
set -eu

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname -- "$0")/lib/ensure.sh"
ensures=jmeter
pom=$root/bench/perf/peers/pom.xml
version=$(sed -n 's:.*<jmeter.version>\(.*\)</jmeter.version>.*:\1:p' "$pom")
home=$root/.cache/jmeter-$version

if [ -f "$home/version" ]; then
    found "$home"
fi
"$root/scripts/ensure-tools.sh" java mvn python3 || exit 1

# shellcheck disable=SC2329 # `quietly` calls it
fetch() {
    mvn --batch-mode --file "$pom" "-Dmaven.repo.local=$root/.cache/maven" dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$work/home/lib"
}

arrange() {
    mkdir -p "$1/bin" "$1/lib/ext"
    mv "$1/lib/ApacheJMeter-$version.jar" "$1/bin/ApacheJMeter.jar"
    python3 -m zipfile -e "$1/lib/ApacheJMeter_config-$version.jar" "$1"
    mv "$1"/lib/ApacheJMeter_*.jar "$1/lib/ext/"
    printf '%s\n' "$version" >"$1/version"
}

fresh_work
say "fetching JMeter $version from Maven Central, unpacking below ${home#"$root"/}"
if quietly fetch && arrange "$work/home"; then
    rm -rf "$home"
    mv "$work/home" "$home"
    found "$home"
fi
say "JMeter $version cannot be had; Maven Central has to be in reach"
exit 1
