#!/usr/bin/env bash
# Brings the peers of examples/tests/interop: for each a command target/peers/bin/NAME, and target/peers/versions.
#
# A peer that is installed is used as it is. The others are packages of this machine's own distribution, of the versions
# that it has today, and are unpacked below target/peers: nothing is installed and no root is needed. What is there
# already is not fetched again; `rm -r target/peers` has all of it fetched anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=$(cd "$here/../.." && pwd)/target/peers
bin=$peers/bin
root=$peers/root
log=$peers/log

# The longest that one command may take.
patience=300

# Each peer with the package it is in.
declare -A packages=(
    [curl]=curl [openssl]=openssl [nghttp]=nghttp2-client [h2load]=nghttp2-client [nginx]=nginx [haproxy]=haproxy
    [python3]=python3
)
names=(curl openssl nghttp h2load nginx haproxy python3)

fail() {
    echo "examples/interop/fetch.sh: $*" >&2
    exit 1
}

# What a peer says of itself, in one line; false where it does not run.
version() {
    case $1 in
    openssl) "$bin/$1" version ;;
    nginx | haproxy) "$bin/$1" -v ;;
    *) "$bin/$1" --version ;;
    esac 2>&1 | sed -n 1p
}

# The paths of everything that was unpacked, for the linker.
libraries() {
    find "$root/lib" "$root/usr/lib" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:
}

# The command of a peer: the one installed, or else the one unpacked with the libraries that came with it.
link() {
    local path
    if path=$(PATH=$PATH:/usr/sbin:/sbin type -P "$1"); then
        printf '#!/bin/sh\nexec %q "$@"\n' "$path" >"$bin/$1"
    elif path=$(find "$root/usr/bin" "$root/usr/sbin" -name "$1" 2>/dev/null | grep .); then
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$(libraries)" "$path" >"$bin/$1"
    else
        return 1
    fi
    chmod +x "$bin/$1"
}

# True where the peer runs.
works() {
    { [[ -x $bin/$1 ]] || link "$1"; } && version "$1" >/dev/null
}

# Runs a command of apt's silently, on lists and a cache below target/peers; where it fails, shows all that it said.
apt() {
    local command=$1
    shift
    timeout "$patience" "$command" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 \
        -o Dir::State::Lists="$peers/apt/lists" -o Dir::Cache="$peers/apt/cache" "$@" 2>>"$log" </dev/null || {
        cat "$log" >&2
        fail "this failed, and what it said is above: $command $*"$'\n'"install ${wanted[*]}, or reach a mirror of the distribution, and run this again"
    }
}

# Unpacks these packages with all that they need and this machine lacks.
fetch() {
    local wanted=("$@") steps missing
    type -P apt-get dpkg >/dev/null || fail "missing: $*; without apt-get they cannot be fetched, so install them"
    rm -rf "$peers/apt"
    mkdir -p "$peers/apt/lists/partial" "$peers/apt/cache/archives/partial" "$peers/apt/packages" "$root"
    : >"$log"
    echo "fetching $* with apt-get, to be unpacked below target/peers"
    apt apt-get update >>"$log"
    # What an installation would add. Nothing is installed: this only tells, which everybody may ask.
    steps=$(apt apt-get -s install --no-install-recommends "$@")
    mapfile -t missing < <(awk '/^Inst / && $2 !~ /-dev$/ { print $2 }' <<<"$steps")
    ((${#missing[@]})) || fail "$* are installed, by what apt-get says, yet do not run; install them anew"
    (cd "$peers/apt/packages" && apt apt-get download "${missing[@]}" >>"$log")
    for package in "$peers/apt/packages"/*.deb; do
        dpkg -x "$package" "$root" || fail "$package cannot be unpacked; run this again"
    done
    rm -rf "$peers/apt"
}

mkdir -p "$bin"
absent=()
for name in "${names[@]}"; do
    works "$name" || absent+=("$name")
done
if ((${#absent[@]})); then
    mapfile -t wanted < <(for name in "${absent[@]}"; do echo "${packages[$name]}"; done | sort -u)
    fetch "${wanted[@]}"
    for name in "${absent[@]}"; do
        rm -f "$bin/$name"
        works "$name" || fail "$name does not run, though ${packages[$name]} was unpacked: $(version "$name" || true)"
    done
fi

for name in "${names[@]}"; do
    echo "$name: $(version "$name")"
done | tee "$peers/versions"
