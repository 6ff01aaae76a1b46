//! What whole-proxy tests share: a real proxy, origins that do as told, clients that hide nothing, and patience.
//!
//! Every wait here has a bound, and a wait that runs out of it fails the test; nothing is ever slept off.

#![allow(dead_code, reason = "each file of tests uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub(crate) mod access;
pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod clusters;
pub(crate) mod farewells;
pub(crate) mod frames;
pub(crate) mod h2;
pub(crate) mod h2_origin;
pub(crate) mod h2_raw;
pub(crate) mod h2_wire;
pub(crate) mod hole;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod modules;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod swaps;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod tunnels;
pub(crate) mod upgrades;
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// Longer than anything here may take, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns when `holds` does; `what` says in a failure what was waited for.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in {PATIENCE:?} it did not come true that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
