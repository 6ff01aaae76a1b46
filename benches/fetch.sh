# Sourced by the scripts that bring programs which are not installed: packages of this machine's own distribution, unpacked below
# a folder of theirs. Nothing is installed and no root is needed. It does not know which programs, nor whether they work.
#
# Who sources it has `set -euo pipefail`, and says
#   who      the name of the script, for messages
#   store    the folder below which lists, downloads, `log` and what was unpacked are kept
#   remedy   what to do where something cannot be fetched
# shellcheck shell=bash

log=$store/log

# The longest that one command may take.
patience=300

fail() {
    echo "$who: $*" >&2
    exit 1
}

# Runs a command of apt's silently, on lists and a cache of its own, because those of the machine may be empty or old, and on
# the sources in $store/sources if there are any, otherwise on the machine's; where it fails, shows all that it said.
apt() {
    local command=$1 sources=()
    shift
    [[ -e $store/sources ]] && sources=(-o Dir::Etc::SourceList="$store/sources" -o Dir::Etc::SourceParts=/dev/null)
    timeout "$patience" "$command" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "${sources[@]}" \
        -o Dir::State::Lists="$store/apt/lists" -o Dir::Cache="$store/apt/cache" "$@" 2>>"$log" </dev/null || {
        cat "$log" >&2
        fail "this failed, and what it said is above: $command $*; $remedy"
    }
}

# Makes the lists of packages anew. What they are for comes with the message of a machine that has no apt.
update() {
    type -P apt-get dpkg >/dev/null || fail "missing: $*; without apt-get they cannot be fetched, so install them"
    forget
    mkdir -p "$store/apt/lists/partial" "$store/apt/cache/archives/partial" "$store/apt/packages"
    : >"$log"
    apt apt-get update >>"$log"
}

# Gives the room of lists and downloads back.
forget() {
    rm -rf "$store/apt"
}

# The packages that an installation of these would add, themselves among them. Nothing is installed: apt only tells, which everybody may ask. What it would bring up to date is left out, for this machine has it.
with_needs() {
    local steps
    steps=$(apt apt-get -s install --no-install-recommends "$@") || exit 1
    awk '/^Inst / && $3 !~ /^\[/ { print $2 }' <<<"$steps"
}

# Unpacks packages below a folder.
unpack() {
    local folder=$1 package
    shift
    echo "fetching $* with apt-get, to be unpacked below $folder" >&2
    mkdir -p "$folder"
    (cd "$store/apt/packages" && apt apt-get download "$@" >>"$log") || exit 1
    for package in "$store/apt/packages"/*.deb; do
        dpkg -x "$package" "$folder" || fail "$package cannot be unpacked; run this again"
    done
    rm -f "$store/apt/packages"/*.deb
}

# The folders of the libraries for this machine's programs below a folder, for the linker.
libraries() {
    # Either may be missing.
    { find "$1"/{,usr/}lib/"$(uname -m)-linux-gnu" -name '*.so*' -printf '%h\n' 2>/dev/null || true; } | sort -u | paste -sd:
}

# Writes the command at a path: it runs a program with the libraries below a folder, if there are any, and with these
# arguments first.
command_of() {
    local path=$1 program=$2 found
    found=$(libraries "$3")
    shift 3
    {
        echo '#!/bin/sh'
        [[ -z $found ]] || printf 'LD_LIBRARY_PATH=%q\nexport LD_LIBRARY_PATH\n' "$found"
        printf 'exec %q ' "$program"
        (($#)) && printf '%q ' "$@"
        echo '"$@"'
    } >"$path"
    chmod +x "$path"
}
