#!/usr/bin/env bash
# Runs the tests of proxy/tests/netns.rs, with iptables of the machine or fetched to target/peers.
#
# Nothing is skipped: a machine that cannot run them is told what it lacks, and the tests fail. Nothing is installed, and
# rules are set in network namespaces of the tests alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
peers=$root/target/peers/iptables
# iptables 1.8 with the libraries that Debian's minimal images lack.
PACKAGES='iptables libxtables12 libip4tc2 libip6tc2 libmnl0 libnftnl11 libnfnetlink0 libnetfilter-conntrack3'

fail() {
    echo "make test-netns: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing; it is part of $2"
}

# A command of what was fetched, which finds its libraries beside it.
wrapper() {
    local command=$1 program=$2 libraries
    libraries=$(dirname "$(find "$peers/root" -name 'libxtables.so.12' | head -n 1)")
    cat >"$peers/bin/$command" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' XTABLES_LIBDIR='$libraries/xtables' exec '$peers/root/usr/sbin/$program' "\$@"
END
    chmod +x "$peers/bin/$command"
}

fetch() {
    need apt-get apt
    need dpkg dpkg
    mkdir -p "$peers/deb" "$peers/root" "$peers/bin"
    # shellcheck disable=SC2086 # They are several words.
    (cd "$peers/deb" && apt-get download $PACKAGES >"$peers/log" 2>&1) || {
        cat "$peers/log" >&2
        fail "iptables is missing and cannot be fetched; install the package iptables"
    }
    local package
    for package in "$peers"/deb/*.deb; do dpkg -x "$package" "$peers/root"; done
}

# Whether commands of these names set rules that a sidecar needs, in a namespace of their own.
works() {
    unshare --net sh -c "
        $1 -w 5 -t nat -A OUTPUT -p tcp -m owner --uid-owner 0 -j RETURN &&
        $1 -w 5 -t nat -A OUTPUT -p tcp -m mark --mark 1 -j RETURN &&
        $1 -w 5 -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1 &&
        $1 -w 5 -t mangle -A PREROUTING -p tcp -m conntrack --ctdir REPLY -j RETURN &&
        $1 -w 5 -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1 --tproxy-mark 1 &&
        $2 -w 5 -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1 &&
        $2 -w 5 -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1 --tproxy-mark 1
    " >"$root/target/peers/netns.log" 2>&1
}

# Puts commands on the path that work: those of the machine, else fetched ones, with either interface of the kernel.
find_iptables() {
    mkdir -p "$root/target/peers"
    if command -v iptables ip6tables >/dev/null && works iptables ip6tables; then return; fi
    [[ -x $peers/root/usr/sbin/xtables-nft-multi ]] || fetch
    mkdir -p "$peers/bin"
    local interface
    PATH=$peers/bin:$PATH
    for interface in nft legacy; do
        wrapper iptables "iptables-$interface"
        wrapper ip6tables "ip6tables-$interface"
        if works iptables ip6tables; then return; fi
    done
    cat "$root/target/peers/netns.log" >&2
    fail "this kernel, $(uname -r), lacks a part of netfilter that a sidecar needs: nat with REDIRECT, mangle with TPROXY, or a match"
}

need unshare util-linux
need ip iproute2
if [[ $(id -u) != 0 ]]; then
    [[ ${IN_NAMESPACE:-} != yes ]] || fail "the user namespace has no root"
    unshare --user --map-root-user true ||
        fail "network namespaces take root here, because user namespaces are not allowed"
    IN_NAMESPACE=yes exec unshare --user --map-root-user "${BASH_SOURCE[0]}" "$@"
fi
find_iptables
export PATH
cd "$root"
cargo test --workspace --test netns -- --ignored --test-threads=1 "$@"
