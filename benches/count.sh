#!/usr/bin/env bash
# Counts the instructions of the host set and compares them with benches/counts: `make count`, `make count UPDATE=1`.
# With --proof it counts twice, the second time in other surroundings, and compares the two: `make count-proof`.
#
# What is counted must not depend on the machine. The guests' code is made of what every processor of the architecture has
# (`Ground::Any`), the compiler of Rust does so by itself, and the C library is told here. A function that is picked for the
# processor all the same is found in the counter's files, and the counts are refused (benches/src/host/counts.rs).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$PWD/target
tools=$target/tools
counted=$target/gungraun/host_count/set

# shellcheck source=benches/any_x86.sh
. benches/any_x86.sh

export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0
# gungraun asks that its runner is of the library's version.
version=$(sed -n 's/^gungraun = "\(.*\)"$/\1/p' Cargo.toml)

runner() {
    [[ $("$tools/bin/gungraun-runner" --version 2>/dev/null) == "gungraun-runner $version" ]] && return
    # It only starts the counter: it is built in a third of the time without being optimised.
    CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_DEV_DEBUG=0 \
        cargo install --quiet --locked --debug --root "$tools" gungraun-runner --version "=$version"
    rm -rf "$tools/build"
}

# As `make test` builds, so that dependencies serve again; count.toml says what is compiled as it is shipped.
build() {
    cargo build --workspace --profile dev --config benches/count.toml --bin host-run --bin host-counts --example host_count
}

# Counts the whole set. What is given are further variables of gungraun's.
count() {
    rm -rf "$counted"
    env "$@" PATH="$valgrind:$tools/bin:$PATH" GUNGRAUN_HOME="$target/gungraun" GUNGRAUN_WORKSPACE_ROOT="$PWD" \
        GUNGRAUN_CALLGRIND_ARGS="--smc-check=all-non-file --cache-sim=no --separate-threads=no" \
        "$target/debug/examples/host_count" --bench >"$target/count.log" 2>&1 || {
        cat "$target/count.log" >&2
        echo "benches/count.sh: the host set was not counted, see above" >&2
        exit 1
    }
}

# What counts depend on that is not fixed here.
made_with() {
    local libc
    libc=$(getconf GNU_LIBC_VERSION)
    echo "rustc $(rustc --version | cut -d' ' -f2), $libc, $("$valgrind/valgrind" --version)"
}

compare() {
    "$target/debug/host-counts" --counted "$counted" --tools "$(made_with)" "$@"
}

valgrind=$(benches/valgrind.sh)
# The largest crate keeps one core busy, and the runner the other.
runner &
build
wait $! || { echo "benches/count.sh: gungraun-runner $version was not built, see above" >&2; exit 1; }
# Nothing is compiled for guests while instructions are counted.
"$target/debug/host-run" --prepare

baseline=benches/counts/$(uname -m).txt
case ${1:-} in
--update)
    count GUNGRAUN_PARALLEL=auto GUNGRAUN_ENVS="GLIBC_TUNABLES=$any_x86"
    mkdir -p benches/counts
    compare --baseline "$baseline" --update
    ;;
--proof)
    count GUNGRAUN_PARALLEL=auto GUNGRAUN_ENVS="GLIBC_TUNABLES=$any_x86"
    compare --baseline "$target/count.first" --update
    # One core, another stack, addresses at random, an environment of another size, another language.
    ulimit -s 16384
    count GUNGRAUN_PARALLEL=1 GUNGRAUN_ALLOW_ASLR=yes \
        GUNGRAUN_ENVS="GLIBC_TUNABLES=$any_x86 LC_ALL=C.UTF-8 PADDING=$(printf '%05000d' 0)"
    compare --baseline "$target/count.first" --tolerance 0.001
    ;;
*)
    count GUNGRAUN_PARALLEL=auto GUNGRAUN_ENVS="GLIBC_TUNABLES=$any_x86"
    compare --baseline "$baseline"
    ;;
esac
