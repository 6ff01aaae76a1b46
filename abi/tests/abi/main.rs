//! The promises of the crate, one module a promise. Guests are WAT in strings; no network and no wasm target is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod arbitrary;
mod arguments;
mod artifacts;
mod callouts;
mod common;
mod connections;
mod contexts;
mod corpus;
mod endings;
mod events;
mod example;
mod foreign;
mod fresh;
mod grpc;
mod hostcalls;
mod image;
mod layering;
mod legacy;
mod lifecycle;
mod limits;
mod loading;
mod metered;
mod poison;
mod queues;
mod strangers;
mod supported;
mod wasi;
