#!/usr/bin/env bash
# `make bench-arm`: the host set and a reduced proxy set on Arm, reported in benches/report/arm.md.
#
# On a machine of Arm both are timed. On one of x86-64 they are built for Arm and run under qemu, which has no time to tell:
# there, instructions are counted, beside those of the same work on x86-64. Nothing is installed and no root is needed.
# ONLY="entry header-get" counts only the rows of these names, and leaves the report as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

report=benches/report/arm.md
target=aarch64-unknown-linux-gnu

fail() {
    echo "benches/arm.sh: $*" >&2
    exit 1
}

# The machine in general words.
machine() {
    local model
    model=$(LC_ALL=C lscpu | sed -n 's/^Model name: *//p' | head -n 1)
    echo "${model:-a processor without a name}, $(nproc) cores, Linux $(uname -r | cut -d. -f1,2)"
}

versions() {
    echo "$(rustc --version | cut -d' ' -f1,2), wasmtime $(sed -n '/^name = "wasmtime"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)"
}

# Times, on a machine of Arm.
timed() {
    local broken=0
    echo "this is a machine of Arm: the host set and the proxy are timed, natively"
    cargo build --profile dist --workspace --bin tollgate --bin proxy-bench
    cargo build --profile dist --workspace --example host_time
    {
        echo "# On Arm"
        echo
        echo "Timed natively on $(date -u +%F): $(machine); $(versions)."
        echo
        echo '## The host set'
        echo
        echo '```text'
        target/dist/examples/host_time --bench
        echo '```'
        echo
        echo '## The proxy'
        echo
        target/dist/proxy-bench --case keep-alive --growth none \
            --only tollgate --only 'tollgate, 1 noop filter' --only 'tollgate, 1 header filter' || broken=1
    } >"$report.new"
    # What could not be measured is said in it.
    mv "$report.new" "$report"
    cat "$report"
    return $broken
}

# The folder that rustup keeps the standard library for Arm in.
add_target() {
    [[ -d $(rustc --print target-libdir --target $target) ]] && return
    type -P rustup >/dev/null || fail "the Rust target $target is missing, and so is rustup, which could add it"
    rustup target add $target || fail "the Rust target $target cannot be added; with network: rustup target add $target"
}

# Counts, on a machine of x86-64.
counted() {
    local only=() name valgrind
    echo "this is no machine of Arm: the host set and the proxy are built for it, run under qemu, and counted, not timed"
    add_target
    benches/arm/tools.sh
    valgrind=$(benches/valgrind.sh)/valgrind
    cargo build --release --workspace --bin host-run --bin arm-proxy --bin arm-count
    PATH=$PWD/target/arm/bin:$PATH CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar \
        cargo build --release --target $target --workspace --bin host-run --bin arm-proxy
    for name in ${ONLY:-}; do
        only+=(--only "$name")
    done
    ((${#only[@]})) || only=(--report "$report")
    # shellcheck source=benches/any_x86.sh
    . benches/any_x86.sh
    nice target/release/arm-count --valgrind "$valgrind" --tunables "$any_x86" "${only[@]}" --says "Counted on $(date -u +%F) with $(versions)."
}

mkdir -p benches/report
case $(uname -m) in
aarch64) timed ;;
x86_64) counted ;;
*) fail "there is no way to measure Arm on $(uname -m)" ;;
esac
