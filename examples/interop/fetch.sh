#!/usr/bin/env bash
# Brings the peers of examples/tests/interop: for each a command target/peers/bin/NAME, and target/peers/versions.
#
# A peer that is installed is used as it is. The others are packages of this machine's own distribution, of the versions
# that it has today, and are unpacked below target/peers: nothing is installed and no root is needed. What is there
# already is not fetched again; `rm -r target/peers` has all of it fetched anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
peers=$top/target/peers
bin=$peers/bin
root=$peers/root
who=examples/interop/fetch.sh
store=$peers
remedy='install what is missing, or reach a mirror of the distribution, and run this again'
# shellcheck source=benches/fetch.sh
. "$top/benches/fetch.sh"

# Each peer with the package it is in.
declare -A packages=(
    [curl]=curl [openssl]=openssl [nghttp]=nghttp2-client [h2load]=nghttp2-client [nginx]=nginx [haproxy]=haproxy
    [python3]=python3
)
names=(curl openssl nghttp h2load nginx haproxy python3)

# What a peer says of itself, in one line; false where it does not run.
version() {
    case $1 in
    openssl) "$bin/$1" version ;;
    nginx | haproxy) "$bin/$1" -v ;;
    *) "$bin/$1" --version ;;
    esac 2>&1 | sed -n 1p
}

# The command of a peer: the one installed, or else the one unpacked with the libraries that came with it.
link() {
    local path
    if path=$(PATH=$PATH:/usr/sbin:/sbin type -P "$1"); then
        command_of "$bin/$1" "$path" "$peers/none"
    elif path=$(find "$root/usr/bin" "$root/usr/sbin" -name "$1" 2>/dev/null | grep .); then
        command_of "$bin/$1" "$path" "$root"
    else
        return 1
    fi
}

# True where the peer runs.
works() {
    { [[ -x $bin/$1 ]] || link "$1"; } && version "$1" >/dev/null
}

# Unpacks these packages with all that they need and this machine lacks, but what programs are built with.
fetch() {
    local needed missing
    update "$@"
    needed=$(with_needs "$@")
    mapfile -t missing < <(grep -v -- '-dev$' <<<"$needed")
    ((${#missing[@]})) || fail "$* are installed, by what apt-get says, yet do not run; install them anew"
    unpack "$root" "${missing[@]}"
    forget
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
