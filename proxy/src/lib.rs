//! Tollgate: an L7 HTTP proxy that runs proxy-wasm filters on every request and contains every one of them.
//!
//! Read [`app`], then [`serve`], then [`filter::chain`]; `ARCHITECTURE.md` beside this crate is the map. The host that
//! runs the filters is `tollgate-abi`, what a configuration may say is `tollgate-config`.

pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
mod closing;
pub mod error;
pub mod exchange;
pub mod filter;
pub mod frames;
pub(crate) mod http1;
pub mod listener;
pub mod owed;
mod percent;
pub mod pressure;
pub mod proxy_protocol;
mod relay;
pub mod room;
pub mod route;
pub mod serve;
pub mod snapshot;
pub mod telemetry;
pub mod tls;
pub mod toll;
pub mod upstream;
pub mod worker;
