#!/usr/bin/env bash
# Brings what builds and runs programs for Arm on a machine of another kind, as commands target/arm/bin/NAME: the C compiler
# aarch64-linux-gnu-gcc with its library, and qemu-aarch64, of version 8.1 at least.
#
# What is installed is used as it is. The rest are packages of this machine's own distribution; where that has too old a
# qemu, as Debian 12 has, it comes from Debian 13, whose program needs no library. All of it is unpacked below target/arm:
# nothing is installed and no root is needed. `rm -r target/arm` has it fetched anew.
set -euo pipefail

arm=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/arm
bin=$arm/bin
log=$arm/log

# The longest that one command may take.
patience=300

# qemu 7.2 does not come to an end where wasmtime reserves many gigabytes of addresses again and again.
oldest=8.1

fail() {
    echo "benches/arm/tools.sh: $*" >&2
    exit 1
}

# Runs a command of apt's silently, on lists and a cache below target/arm, and on the sources in $arm/sources if there are
# any, otherwise on the machine's own; where it fails, shows all that it said.
apt() {
    local command=$1 sources=()
    shift
    [[ -e $arm/sources ]] && sources=(-o Dir::Etc::SourceList="$arm/sources" -o Dir::Etc::SourceParts=/dev/null)
    timeout "$patience" "$command" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "${sources[@]}" \
        -o Dir::State::Lists="$arm/apt/lists" -o Dir::Cache="$arm/apt/cache" "$@" 2>>"$log" </dev/null || {
        cat "$log" >&2
        fail "this failed, and what it said is above: $command $*; reach a mirror of the distribution and run this again"
    }
}

# Makes the lists of packages anew.
update() {
    rm -rf "$arm/apt"
    mkdir -p "$arm/apt/lists/partial" "$arm/apt/cache/archives/partial" "$arm/apt/packages"
    apt apt-get update >>"$log"
}

# The packages that an installation of these would add, themselves among them. Nothing is installed: apt only tells, which
# everybody may ask. What it would bring up to date is left out, for this machine has it.
with_needs() {
    local steps
    steps=$(apt apt-get -s install --no-install-recommends "$@")
    awk '/^Inst / && $3 !~ /^\[/ { print $2 }' <<<"$steps"
}

# Unpacks packages below a folder of target/arm.
unpack() {
    local root=$arm/$1
    shift
    echo "fetching $* with apt-get, to be unpacked below target/arm"
    mkdir -p "$root"
    (cd "$arm/apt/packages" && apt apt-get download "$@" >>"$log")
    for package in "$arm/apt/packages"/*.deb; do
        dpkg -x "$package" "$root" || fail "$package cannot be unpacked; run this again"
    done
    rm -f "$arm/apt/packages"/*.deb
}

# Writes the command NAME that runs a program with the libraries below a folder of target/arm, and with these arguments first.
command_of() {
    local name=$1 program=$2 folder=$3 libraries
    shift 3
    libraries=$(find "$arm/$folder/usr/lib/$(uname -m)-linux-gnu" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:)
    {
        echo '#!/bin/sh'
        [[ -z $libraries ]] || printf 'LD_LIBRARY_PATH=%q\nexport LD_LIBRARY_PATH\n' "$libraries"
        printf 'exec %q ' "$program"
        (($#)) && printf '%q ' "$@"
        echo '"$@"'
    } >"$bin/$name"
    chmod +x "$bin/$name"
}

# True where the compiler makes a program for Arm.
compiles() {
    [[ -x $bin/aarch64-linux-gnu-gcc ]] &&
        echo 'int main(void) { return 0; }' | "$bin/aarch64-linux-gnu-gcc" -x c - -o "$arm/probe" 2>>"$log"
}

# True where the compiler is installed, with its library.
compiler_installed() {
    local gcc
    gcc=$(type -P aarch64-linux-gnu-gcc) && command_of aarch64-linux-gnu-gcc "$gcc" none && compiles &&
        ln -sfn /usr/aarch64-linux-gnu "$arm/sysroot"
}

fetch_compiler() {
    local packages tool
    mapfile -t packages < <(with_needs gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    unpack gcc "${packages[@]}"
    for tool in "$arm/gcc/usr/bin"/aarch64-linux-gnu-*; do
        command_of "$(basename "$tool")" "$tool" gcc
    done
    command_of aarch64-linux-gnu-gcc "$arm/gcc/usr/bin/aarch64-linux-gnu-gcc" gcc "--sysroot=$arm/gcc"
    ln -sfn "$arm/gcc/usr/aarch64-linux-gnu" "$arm/sysroot"
}

# True where this program is a qemu that is new enough.
new_enough() {
    local version
    version=$("$1" --version 2>>"$log" | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
    [[ -n $version ]] && [[ $(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1) == "$oldest" ]]
}

# True where a qemu is installed, or was unpacked, that is new enough.
qemu_found() {
    local program
    for program in "$(type -P qemu-aarch64)" "$(type -P qemu-aarch64-static)" "$arm/qemu/usr/bin/qemu-aarch64"; do
        [[ -n $program ]] && command_of qemu-aarch64 "$program" qemu && new_enough "$bin/qemu-aarch64" &&
            command_of qemu-aarch64 "$program" qemu -L "$arm/sysroot" && return
    done
    rm -f "$bin/qemu-aarch64"
    return 1
}

# Debian 13, from the mirror that this machine has its own Debian from.
newer_debian() {
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }')
    [[ -n $mirror && -e $keys ]] || return 1
    echo "deb [signed-by=$keys] $mirror trixie main" >"$arm/sources"
}

fetch_qemu() {
    local candidate packages
    candidate=$(apt apt-cache policy qemu-user | awk '/Candidate:/ { print $2 }')
    if dpkg --compare-versions "${candidate#*:}" ge "$oldest"; then
        mapfile -t packages < <(with_needs qemu-user)
        unpack qemu "${packages[@]}"
    elif newer_debian; then
        update
        unpack qemu qemu-user
        rm -f "$arm/sources"
        # The package has a program of ten megabytes for every processor there ever was.
        find "$arm/qemu/usr/bin" -type f ! -name qemu-aarch64 -delete
    else
        fail "no qemu-user of $oldest or newer is known here; install one"
    fi
}

wanted=()
mkdir -p "$bin"
: >"$log"
rm -f "$arm/sources"
compiles || compiler_installed || wanted+=(compiler)
qemu_found || wanted+=(qemu)
if ((${#wanted[@]})); then
    type -P apt-get dpkg >/dev/null || fail "missing: ${wanted[*]}; without apt-get they cannot be fetched, so install them"
    update
    for tool in "${wanted[@]}"; do
        "fetch_$tool"
    done
    rm -rf "$arm/apt"
    compiles || fail "the compiler for Arm was unpacked, yet makes no program: $(tail -n 3 "$log")"
    qemu_found || fail "qemu-user was unpacked, yet is not $oldest or newer: $(tail -n 3 "$log")"
fi
"$bin/qemu-aarch64" "$arm/probe" || fail "a program for Arm does not run under $("$bin/qemu-aarch64" --version | head -n 1)"

"$bin/aarch64-linux-gnu-gcc" --version | sed -n 1p
"$bin/qemu-aarch64" --version | sed -n 1p
