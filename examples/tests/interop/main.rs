//! Real peers before and behind the proxy: what curl, nghttp and h2load, openssl, Python and tonic ask it, and what it asks
//! of nginx, haproxy and tonic; and WebSockets through it. Each test says what is asserted of which peer.
//!
//! What fetches the peers and runs this is `make interop`; no peer is skipped. Bytes that no honest peer sends are not here,
//! but in the tests of the proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod curl;
mod grpc;
mod h2;
mod notes;
mod openssl;
mod origins;
mod peer;
mod proxy;
mod python;
mod reloads;
mod scene;
mod upstreams;
mod websocket;

#[test]
fn every_peer_that_is_fetched_is_explained() {
    let (fetch, page) = (include_str!("../../interop/fetch.sh"), include_str!("../../interop/README.md"));
    let names = fetch.lines().find_map(|line| line.strip_prefix("names=(")?.strip_suffix(')')).expect("the names");

    for name in names.split(' ') {
        assert!(page.contains(&format!("| {name} ")), "README.md has no row for {name}");
    }
}
