#!/usr/bin/env bash
# Brings valgrind, and prints the folder of the command: the one that is installed, or else this machine's own package,
# unpacked below target/valgrind. Nothing is installed and no root is needed; what is there is not fetched again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/valgrind
log=$root/log

# The longest that the download may take.
patience=300

fail() {
    echo "benches/valgrind.sh: $*" >&2
    exit 1
}

# True where callgrind counts instructions of a program.
counts() {
    "$1" --tool=callgrind --callgrind-out-file=/dev/null /bin/true >/dev/null 2>&1
}

# Runs a command of apt's silently, on lists and a cache below target/valgrind.
apt() {
    timeout "$patience" apt-get -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 -o Dir::State::Lists="$root/apt/lists" \
        -o Dir::Cache="$root/apt/cache" "$@" >>"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        fail "this failed, and what it said is above: apt-get $*; install valgrind, or reach a mirror of the distribution"
    }
}

# The package, and the symbols of the C library that it needs to find its way.
fetch() {
    type -P apt-get dpkg >/dev/null || fail "valgrind is missing; without apt-get it cannot be fetched, so install it"
    rm -rf "$root"
    mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" "$root/packages" "$root/bin"
    apt update
    (cd "$root/packages" && apt download valgrind libc6-dbg)
    local package
    for package in "$root"/packages/*.deb; do
        dpkg -x "$package" "$root/tree" || fail "$package cannot be unpacked; run this again"
    done
    rm -rf "$root/apt" "$root/packages"
    local tool
    tool=$(find "$root/tree" -name 'callgrind-*-linux' ! -name '*-x86-*' ! -name '*-arm-*' -print -quit)
    [[ -n $tool ]] || fail "there is no callgrind in the package"
    printf '#!/bin/sh\nVALGRIND_LIB=%q exec %q --extra-debuginfo-path=%q "$@"\n' \
        "$(dirname "$tool")" "$root/tree/usr/bin/valgrind" "$root/tree/usr/lib/debug" >"$root/bin/valgrind"
    chmod +x "$root/bin/valgrind"
}

if installed=$(type -P valgrind); then
    counts "$installed" || fail "$installed is installed, and does not count: $("$installed" --tool=callgrind /bin/true 2>&1 | tail -1)"
    dirname "$installed"
    exit
fi
counts "$root/bin/valgrind" || fetch
counts "$root/bin/valgrind" || fail "what was fetched does not count: $("$root/bin/valgrind" --tool=callgrind /bin/true 2>&1 | tail -1)"
echo "$root/bin"
