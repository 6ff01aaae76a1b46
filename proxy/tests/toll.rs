//! `tollgate toll`: what it counts is right, what it cannot measure it says, and what it times is never judged here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "toll/bench.rs"]
mod bench;
#[path = "toll/comparing.rs"]
mod comparing;
#[path = "toll/exchanges.rs"]
mod exchanges;
#[path = "toll/figures.rs"]
mod figures;
#[path = "toll/plugins.rs"]
mod plugins;
#[path = "toll/refusals.rs"]
mod refusals;
