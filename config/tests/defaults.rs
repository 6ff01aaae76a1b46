//! How long the proxy waits where nothing is written, spelled out: whoever changes a default changes it here as well.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::time::Duration;

use tollgate_config::{ByteSize, Config};

fn unwritten() -> Config {
    common::config("listen: 127.0.0.1:0\nroutes: [{ to: \"http://127.0.0.1:8080\" }]\n")
}

#[test]
fn a_client_is_waited_for_so_long() {
    let limits = unwritten().limits;
    let second = Duration::from_secs;

    assert_eq!(limits.header_timeout, second(10));
    assert_eq!(limits.idle_timeout, second(60));
    assert_eq!(limits.request_timeout, second(300));
    assert_eq!((limits.body_rate, limits.body_grace), (Some(ByteSize::kib(1)), second(10)));
    assert_eq!(limits.write_timeout, second(30));
    assert_eq!(limits.stream_idle_timeout, second(300));
}

#[test]
fn an_endpoint_is_waited_for_so_long() {
    let config = unwritten();
    let second = Duration::from_secs;

    assert_eq!(config.limits.connect_timeout, second(2));
    assert_eq!(config.clusters[0].connect_timeout, second(2));
    assert_eq!(config.listeners[0].routes[0].timeout, second(15));
    assert_eq!(config.limits.upstream_idle_timeout, second(60));
}

#[test]
fn the_end_of_what_goes_is_waited_for_so_long() {
    let limits = unwritten().limits;

    assert_eq!(limits.drain_timeout, Duration::from_secs(30));
    assert_eq!(limits.retire_timeout, Duration::from_secs(300));
    assert_eq!(limits.upgrade_age, None);
}
