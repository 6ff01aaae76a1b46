#!/usr/bin/env bash
# Brings what builds and runs programs for Arm on a machine of another kind, as commands target/arm/bin/NAME: the C compiler
# aarch64-linux-gnu-gcc with its library, and qemu-aarch64, of version 8.1 at least.
#
# What is installed is used as it is. The rest are packages of this machine's own distribution; where that has too old a
# qemu, as Debian 12 has, it comes from Debian 13, whose program needs no library. All of it is unpacked below target/arm:
# nothing is installed and no root is needed. `rm -r target/arm` has it fetched anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
arm=$(cd "$here/.." && pwd)/target/arm
bin=$arm/bin
who=benches/arm/tools.sh
store=$arm
remedy='reach a mirror of the distribution and run this again'
# shellcheck source=benches/fetch.sh
. "$here/fetch.sh"

# qemu 7.2 does not come to an end where wasmtime reserves many gigabytes of addresses again and again.
oldest=8.1

# True where the compiler makes a program for Arm.
compiles() {
    [[ -x $bin/aarch64-linux-gnu-gcc ]] &&
        echo 'int main(void) { return 0; }' | "$bin/aarch64-linux-gnu-gcc" -x c - -o "$arm/probe" 2>>"$log"
}

# True where the compiler is installed, with its library.
compiler_installed() {
    local gcc
    gcc=$(type -P aarch64-linux-gnu-gcc) && command_of "$bin/aarch64-linux-gnu-gcc" "$gcc" "$arm/none" && compiles &&
        ln -sfn /usr/aarch64-linux-gnu "$arm/sysroot"
}

fetch_compiler() {
    local packages tool
    packages=$(with_needs gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    # shellcheck disable=SC2086 # They are several words.
    unpack "$arm/gcc" $packages
    for tool in "$arm/gcc/usr/bin"/aarch64-linux-gnu-*; do
        command_of "$bin/$(basename "$tool")" "$tool" "$arm/gcc"
    done
    command_of "$bin/aarch64-linux-gnu-gcc" "$arm/gcc/usr/bin/aarch64-linux-gnu-gcc" "$arm/gcc" "--sysroot=$arm/gcc"
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
        [[ -n $program ]] && command_of "$bin/qemu-aarch64" "$program" "$arm/qemu" && new_enough "$bin/qemu-aarch64" &&
            command_of "$bin/qemu-aarch64" "$program" "$arm/qemu" -L "$arm/sysroot" && return
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
        packages=$(with_needs qemu-user)
        # shellcheck disable=SC2086 # They are several words.
        unpack "$arm/qemu" $packages
    elif newer_debian; then
        update qemu
        unpack "$arm/qemu" qemu-user
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
    update "${wanted[@]}"
    for tool in "${wanted[@]}"; do
        "fetch_$tool"
    done
    forget
    compiles || fail "the compiler for Arm was unpacked, yet makes no program: $(tail -n 3 "$log")"
    qemu_found || fail "qemu-user was unpacked, yet is not $oldest or newer: $(tail -n 3 "$log")"
fi
"$bin/qemu-aarch64" "$arm/probe" || fail "a program for Arm does not run under $("$bin/qemu-aarch64" --version | head -n 1)"

"$bin/aarch64-linux-gnu-gcc" --version | sed -n 1p
"$bin/qemu-aarch64" --version | sed -n 1p
