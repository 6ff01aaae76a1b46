#!/usr/bin/env bash
# Builds target/pgo/tollgate, the program of the dist profile for what it does under load (profile-guided optimisation): once
# with counters in it, then, when the load of `proxy-bench` has run through that, for what they counted. See `make dist PGO=1`.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "$*" >&2
    exit 1
}

host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [[ ! -x $profdata ]]; then
    type -P rustup >/dev/null || fail "llvm-profdata is missing, and so is rustup, which could add it (component llvm-tools)"
    rustup component add llvm-tools || fail "the component llvm-tools cannot be added; with network: rustup component add llvm-tools"
fi

folder=$PWD/target/pgo
rm -rf "$folder/raw"
mkdir -p "$folder/raw"

# A folder of its own for each, because other flags build everything anew; with a target named, build scripts are left alone.
build() {
    RUSTFLAGS=$1 cargo build --profile dist --target "$host" --target-dir "$folder/$2" --workspace --bin tollgate
}

# The process that compiles filters may write no file and knows no environment: it counts in vain, to where nothing can be.
build "-Cprofile-generate=/proc/nowhere" counting
cargo build --profile dist --workspace --bin proxy-bench

LLVM_PROFILE_FILE=$folder/raw/%p.profraw target/dist/proxy-bench --tollgate "$folder/counting/$host/dist/tollgate" \
    --short --rounds 2 --time 400 --growth none --only tollgate --only 'tollgate as it comes' --only 'tollgate, 1 noop filter' \
    --only 'tollgate, 1 header filter' --only 'tollgate, 5 noop filters' >/dev/null
compgen -G "$folder/raw/*.profraw" >/dev/null || fail "nothing was counted"
"$profdata" merge -o "$folder/counted" "$folder"/raw/*.profraw
rm -rf "$folder/raw" "$folder/counting"

build "-Cprofile-use=$folder/counted" built
cp "$folder/built/$host/dist/tollgate" "$folder/tollgate"
