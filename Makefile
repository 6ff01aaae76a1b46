# The verbs of this repository; `make` alone lists them. All of them need Rust 1.95 and gcc; nothing is fetched but crates
# and the wasm target, except by `make bench`, `make bench-arm`, `make count`, `make examples`, `make interop` and `make test-netns`.
# .ci/run is `make check test interop count`.

GUEST := wasm32-wasip1
FILTERS := filter-headers filter-api-key filter-noop filter-probe
GUESTS := --target $(GUEST) $(FILTERS:%=-p %)

# Configurations and tests name target/, so a target directory of the caller's is not used.
override CARGO_TARGET_DIR := $(CURDIR)/target
export CARGO_TARGET_DIR

.PHONY: help run test test-netns check filters examples interop bench bench-arm bench-host count count-proof idle hostile soak fuzz fuzz-http1 dist guest-target

help: ## list the verbs
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: filters ## build filters and proxy, serve config/quickstart.yaml on port 8000
	cargo build --release -p tollgate
	exec target/release/tollgate run --config config/quickstart.yaml

# All tests are built for the whole workspace: a part of it has its crates with fewer features, and builds wasmtime anew.
test: filters ## build the filters, run every test
	cargo test --workspace --no-fail-fast

check: guest-target ## formatting, lints, documentation, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy $(GUESTS) -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
	@if cargo deny --version >/dev/null 2>&1; then cargo fetch --quiet && cargo deny --offline check bans licenses sources; \
	else echo "cargo-deny is not installed: bans, licences and sources are not checked"; fi
	@! { git ls-files '*.wasm' 2>/dev/null || find . -path ./target -prune -o -name '*.wasm' -print; } | grep . \
	|| { echo "the modules above are in the repository; filters are built from source" >&2; exit 1; }

filters: guest-target ## compile the filters to target/wasm32-wasip1/filter
	cargo build --profile filter $(GUESTS)

# Their tools come from npm and PyPI and are kept in target/guests; no other verb needs them.
examples: ## build guests in four languages, run each behind the proxy (needs node and Python)
	cargo test --workspace --no-run
	examples/guests/build.sh
	cargo test --workspace --test guests -- --ignored

# Root, or a user namespace; iptables is fetched to target/peers where it is missing.
test-netns: filters ## run a sidecar between network namespaces, with rules of the kernel that lead connections to it
	cargo test --workspace --test netns --no-run
	proxy/tests/netns/run.sh

# The peers that are not installed come as packages of the machine's own distribution and are kept in target/peers.
interop: filters ## put real peers before and behind the proxy: curl, nghttp, openssl, nginx, haproxy, tonic, websockets
	examples/interop/fetch.sh
	cargo test --workspace --no-run
	cargo test --workspace --test interop -- --ignored

# Half an hour, and builds: SHORT=1 takes two minutes and says little; PGO=1 measures what is shipped; OLD=results.json says
# what changed since. Only a whole run replaces the report of this repository.
REPORT := $(if $(SHORT)$(BENCH_FLAGS),target/bench-report,benches/report)
MEASURED := target/$(if $(PGO),pgo,dist)/tollgate

bench: filters $(if $(PGO),dist) ## measure a proxied request beside nginx, HAProxy and Envoy, and what grows; writes benches/report
	benches/peers.sh
	-benches/valgrind.sh
	cargo build --profile dist --workspace --bin tollgate --bin proxy-bench
	PATH=$(CURDIR)/target/peers/bin:$(CURDIR)/target/valgrind/bin:$$PATH target/dist/proxy-bench --tollgate $(MEASURED) --report $(REPORT) $(if $(SHORT),--short) $(if $(OLD),--compare $(OLD)) $(BENCH_FLAGS)

bench-host: filters ## measure the time of the host set: entries, hostcalls, exchanges through filters, in memory
	cargo build --profile dist --workspace --example host_time
	target/dist/examples/host_time --bench

# valgrind is fetched to target/valgrind where it is missing, and gungraun's runner is built in target/tools.
count: filters ## count the instructions of the host set, compare them with benches/counts; UPDATE=1 writes them
	benches/count.sh $(if $(UPDATE),--update)

count-proof: filters ## count them in two surroundings, and compare the two
	benches/count.sh --proof

# Where there is no machine of Arm: compilers, qemu and valgrind are fetched to target/arm, without root.
bench-arm: filters ## measure on Arm: natively there, elsewhere by instructions under qemu beside x86-64
	benches/arm.sh

soak: filters ## run the long forms of promises: SOAK=short, SCENARIOS="swaps bodies figures faults floods times"
	cargo build --release --workspace --bin tollgate --bin soak
	target/release/soak $(if $(filter short,$(SOAK)),--short) $(SCENARIOS) $(SOAK_FLAGS)

hostile: ## play the hostile corpus against a release build, and show how long others waited
	cargo test --release -p tollgate --test hostile -- --nocapture --test-threads=1

idle: ## measure what 8,000 connections cost that do nothing, over HTTP/1.1, HTTP/2 and TLS: CONNECTIONS=8000
	cargo build --release --workspace --bin tollgate --bin idle
	target/release/idle --tollgate target/release/tollgate $(if $(CONNECTIONS),--connections $(CONNECTIONS))

# Half an hour on two cores: everything is built twice.
dist: $(if $(PGO),filters) ## build target/dist/tollgate; PGO=1: target/pgo/tollgate, for what it does under load, which is shipped
	$(if $(PGO),benches/pgo.sh,cargo build --profile dist -p tollgate)

TARGET ?= hostcalls
SECONDS ?= 600

fuzz: ## fuzz tollgate-abi: TARGET=pairs, property_path, hostcalls or modules, SECONDS=600
	RUSTC_WRAPPER=$(CURDIR)/abi/fuzz/instrument cargo build --manifest-path abi/fuzz/Cargo.toml --target-dir target/fuzz --bin $(TARGET)
	target/fuzz/debug/$(TARGET) -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=4096 abi/fuzz/corpus/$(TARGET)

# A finding names its seed: TOLLGATE_FUZZ_SEED=... has the same inputs made again.
fuzz-http1: ## fuzz the front end for HTTP/1.1 against a reference parser, SECONDS=600
	TOLLGATE_FUZZ_SECONDS=$(SECONDS) cargo test --workspace --test http1_fuzz what_is_passed_on -- --nocapture

# Only a target is added, never a toolchain.
guest-target:
	@test -d "$$(rustc --print target-libdir --target $(GUEST))" || { \
	command -v rustup >/dev/null || { echo "the Rust target $(GUEST) is missing, and so is rustup, which could add it" >&2; exit 1; }; \
	rustup target add $(GUEST) || { echo "the Rust target $(GUEST) is missing and cannot be added; with network: rustup target add $(GUEST)" >&2; exit 1; }; }
