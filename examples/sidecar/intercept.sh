#!/usr/bin/env bash
# Has the kernel lead connections through a Tollgate beside an application, and takes that back.
#
#   intercept.sh up [OPTION...]     sets the rules; those that were set before are replaced
#   intercept.sh down               removes them, whatever options they were set with
#   intercept.sh status             shows them; fails where there are none
#
# All rules are in chains of their own, TOLLGATE_*: no other rule is changed or removed. Needs root, or a network namespace
# of one's own with CAP_NET_ADMIN.
#
#   --uid UID                 sockets of this user are the proxy's, and pass
#   --mark MARK               sockets with this mark are the proxy's ("mark" in its configuration), and pass
#   --inbound-port PORT       where the proxy takes what comes in; 15006 unless given
#   --outbound-port PORT      where it takes what the application sends out; 15001 unless given
#   --inbound redirect|tproxy|off    by the target REDIRECT, by TPROXY, or not at all; redirect unless given
#   --outbound redirect|off   likewise
#   --exclude-inbound PORT[,PORT...]          what comes in for these ports passes
#   --exclude-destinations NETWORK[,...]      what goes to these networks passes
#   --family 4|6|both         both unless given, of which IPv6 is left out where no interface has an address of it
#
# IPTABLES, IP6TABLES and IP name other commands than iptables, ip6tables and ip.
set -euo pipefail

# A connection that TPROXY took has this mark, by which it is routed here, in a table of this number.
TPROXY_MARK=0x7468
TABLE=15006

fail() {
    echo "intercept.sh: $*" >&2
    exit 2
}

usage() {
    sed -n '2,/^set -e/{/^#/s/^# \{0,1\}//p}' "$0"
}

inbound=redirect outbound=redirect family=both
inbound_port=15006 outbound_port=15001
uid='' mark='' excluded_ports='' excluded_networks=''

number() {
    [[ $2 =~ ^(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})$ ]] || fail "$1 takes a number, not \"$2\""
}

port() {
    [[ $2 =~ ^[0-9]{1,5}$ ]] && ((10#$2 >= 1 && 10#$2 <= 65535)) || fail "$1 takes a port, not \"$2\""
}

choice() {
    local option=$1 said=$2 word
    shift 2
    for word; do [[ $word == "$said" ]] && return; done
    fail "$option takes one of: $*; not \"$said\""
}

read_options() {
    while (($#)); do
        (($# >= 2)) || fail "$1 needs a value, or is not known; see intercept.sh help"
        case $1 in
        --uid) number "$@"; uid=$2 ;;
        --mark) number "$@"; mark=$2 ;;
        --inbound-port) port "$@"; inbound_port=$2 ;;
        --outbound-port) port "$@"; outbound_port=$2 ;;
        --inbound) choice "$1" "$2" redirect tproxy off; inbound=$2 ;;
        --outbound) choice "$1" "$2" redirect off; outbound=$2 ;;
        --exclude-inbound) excluded_ports=$2 ;;
        --exclude-destinations) excluded_networks=$2 ;;
        --family) choice "$1" "$2" 4 6 both; family=$2 ;;
        *) fail "$1 is not known; see intercept.sh help" ;;
        esac
        shift 2
    done
    local each
    for each in ${excluded_ports//,/ }; do port --exclude-inbound "$each"; done
    [[ $outbound == off || -n $uid$mark ]] ||
        fail "say which sockets are the proxy's with --uid or --mark: without that its own connections come back to it for ever"
}

# The commands of the families that are asked for, or those there are.
families() {
    if [[ $family != 6 ]]; then echo 4; fi
    if [[ $family != 4 ]]; then
        # No file where the kernel has none, and an empty one where it is switched off.
        if [[ -n $(cat /proc/net/if_inet6 2>/dev/null) ]]; then echo 6
        elif [[ $family == 6 ]]; then fail "there is no IPv6 here, or it is switched off"; fi
    fi
}

# Runs the command of a family on a table: rules 4 nat -S
rules() {
    local version=$1 table=$2
    shift 2
    case $version in
    4) ${IPTABLES:-iptables} -w 5 -t "$table" "$@" ;;
    6) ${IP6TABLES:-ip6tables} -w 5 -t "$table" "$@" ;;
    esac
}

route() {
    local version=$1
    shift
    ${IP:-ip} "-$version" "$@"
}

# Whether a chain is there.
has() {
    rules "$1" "$2" -n -L "$3" >/dev/null 2>&1
}

NEEDS='that needs iptables, CAP_NET_ADMIN, and a kernel with netfilter'

# Without this, rules that cannot be read would pass for none.
need_rules() {
    local version versions
    versions=$(families) || exit
    for version in $versions; do
        rules "$version" nat -n -L OUTPUT >/dev/null || fail "the rules of IPv$version cannot be read; $NEEDS"
    done
}

# The same where it is not known which families were asked for: a family without rules keeps nobody from the other's.
need_some_rules() {
    local version versions readable=''
    versions=$(families) || exit
    for version in $versions; do
        if rules "$version" nat -n -L OUTPUT >/dev/null; then
            readable+=$version
        else
            echo "intercept.sh: the rules of IPv$version cannot be read, and are passed over" >&2
        fi
    done
    [[ -n $readable ]] || fail "no rules can be read; $NEEDS"
}

# Every chain: table, the chain it is called from, its name.
CHAINS='nat PREROUTING TOLLGATE_IN
nat OUTPUT TOLLGATE_OUT
mangle PREROUTING TOLLGATE_TPROXY'

# Whether a network is written in the notation of a family.
is_of() {
    if [[ $2 == *:* ]]; then [[ $1 == 6 ]]; else [[ $1 == 4 ]]; fi
}

inbound_by_redirect() {
    local each
    rules "$1" nat -N TOLLGATE_IN
    for each in ${excluded_ports//,/ }; do
        rules "$1" nat -A TOLLGATE_IN -p tcp --dport "$each" -j RETURN
    done
    rules "$1" nat -A TOLLGATE_IN -p tcp -j REDIRECT --to-ports "$inbound_port"
    rules "$1" nat -A PREROUTING -p tcp -j TOLLGATE_IN
}

inbound_by_tproxy() {
    local each everything=0.0.0.0/0
    [[ $1 == 6 ]] && everything=::/0
    route "$1" rule add fwmark "$TPROXY_MARK" lookup "$TABLE"
    route "$1" route add local "$everything" dev lo table "$TABLE"
    rules "$1" mangle -N TOLLGATE_TPROXY
    rules "$1" mangle -A TOLLGATE_TPROXY -i lo -j RETURN
    # Answers to what goes out belong to sockets that are not transparent, for which TPROXY would drop them.
    rules "$1" mangle -A TOLLGATE_TPROXY -p tcp -m conntrack --ctdir REPLY -j RETURN
    for each in ${excluded_ports//,/ }; do
        rules "$1" mangle -A TOLLGATE_TPROXY -p tcp --dport "$each" -j RETURN
    done
    rules "$1" mangle -A TOLLGATE_TPROXY -p tcp -j TPROXY --on-port "$inbound_port" --tproxy-mark "$TPROXY_MARK"
    rules "$1" mangle -A PREROUTING -p tcp -j TOLLGATE_TPROXY
}

outbound_by_redirect() {
    local each
    rules "$1" nat -N TOLLGATE_OUT
    if [[ -n $uid ]]; then rules "$1" nat -A TOLLGATE_OUT -m owner --uid-owner "$uid" -j RETURN; fi
    if [[ -n $mark ]]; then rules "$1" nat -A TOLLGATE_OUT -m mark --mark "$mark" -j RETURN; fi
    # What stays on this machine is no business of a proxy between machines.
    rules "$1" nat -A TOLLGATE_OUT -o lo -j RETURN
    for each in ${excluded_networks//,/ }; do
        if is_of "$1" "$each"; then rules "$1" nat -A TOLLGATE_OUT -d "$each" -j RETURN; fi
    done
    rules "$1" nat -A TOLLGATE_OUT -p tcp -j REDIRECT --to-ports "$outbound_port"
    rules "$1" nat -A OUTPUT -p tcp -j TOLLGATE_OUT
}

up() {
    local version versions
    versions=$(families) || exit
    down
    # Half of the rules are worse than none.
    trap 'down; echo "intercept.sh: nothing was set up" >&2' EXIT
    for version in $versions; do
        case $inbound in
        redirect) inbound_by_redirect "$version" ;;
        tproxy) inbound_by_tproxy "$version" ;;
        esac
        if [[ $outbound == redirect ]]; then outbound_by_redirect "$version"; fi
    done
    trap - EXIT
}

down() {
    local version table from chain everything
    for version in 4 6; do
        while read -r table from chain; do
            has "$version" "$table" "$chain" || continue
            while rules "$version" "$table" -C "$from" -p tcp -j "$chain" 2>/dev/null; do
                rules "$version" "$table" -D "$from" -p tcp -j "$chain"
            done
            rules "$version" "$table" -F "$chain"
            rules "$version" "$table" -X "$chain"
        done <<<"$CHAINS"
        everything=0.0.0.0/0
        if [[ $version == 6 ]]; then everything=::/0; fi
        while route "$version" rule del fwmark "$TPROXY_MARK" lookup "$TABLE" 2>/dev/null; do :; done
        route "$version" route del local "$everything" dev lo table "$TABLE" 2>/dev/null || true
    done
}

status() {
    local version table from chain found=1
    for version in 4 6; do
        while read -r table from chain; do
            has "$version" "$table" "$chain" || continue
            found=0
            echo "IPv$version, $table:"
            rules "$version" "$table" -S "$from" | grep -e " -j $chain\$" | sed 's/^/  /' || true
            rules "$version" "$table" -S "$chain" | sed 's/^/  /'
        done <<<"$CHAINS"
    done
    if ((found)); then echo "no rules of intercept.sh are set"; fi
    return "$found"
}

verb=${1:-help}
shift || true
case $verb in
up)
    read_options "$@"
    need_rules
    up
    ;;
down | status)
    (($# == 0)) || fail "\"$verb\" takes no options"
    need_some_rules
    "$verb"
    ;;
help | --help | -h) usage ;;
*) fail "\"$verb\" is not known; write up, down or status" ;;
esac
