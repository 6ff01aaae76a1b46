#!/usr/bin/env bash
# Brings valgrind, and prints the folder of the command: the one that is installed, or else this machine's own package,
# unpacked below target/valgrind. Nothing is installed and no root is needed; what is there is not fetched again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=$(cd "$here/.." && pwd)/target/valgrind
who=benches/valgrind.sh
remedy='install valgrind, or reach a mirror of the distribution, and run this again'
# shellcheck source=benches/fetch.sh
. "$here/fetch.sh"

# True where callgrind counts instructions of a program.
counts() {
    "$1" --tool=callgrind --callgrind-out-file=/dev/null /bin/true >/dev/null 2>&1
}

# The package, and the symbols of the C library that it needs to find its way.
fetch() {
    local tool
    rm -rf "$store"
    update valgrind
    unpack "$store/tree" valgrind libc6-dbg
    forget
    tool=$(find "$store/tree" -name 'callgrind-*-linux' ! -name '*-x86-*' ! -name '*-arm-*' -print -quit)
    [[ -n $tool ]] || fail "there is no callgrind in the package"
    mkdir -p "$store/bin"
    printf '#!/bin/sh\nVALGRIND_LIB=%q exec %q --extra-debuginfo-path=%q "$@"\n' \
        "$(dirname "$tool")" "$store/tree/usr/bin/valgrind" "$store/tree/usr/lib/debug" >"$store/bin/valgrind"
    chmod +x "$store/bin/valgrind"
}

if installed=$(type -P valgrind); then
    counts "$installed" || fail "$installed is installed, and does not count: $("$installed" --tool=callgrind /bin/true 2>&1 | tail -1)"
    dirname "$installed"
    exit
fi
counts "$store/bin/valgrind" || fetch
counts "$store/bin/valgrind" || fail "what was fetched does not count: $("$store/bin/valgrind" --tool=callgrind /bin/true 2>&1 | tail -1)"
echo "$store/bin"
