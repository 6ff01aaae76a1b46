//! A filter that exists and does nothing: what it costs is the floor under the cost of every other filter.
//! It reads no configuration, makes no hostcall, and its stream contexts carry no state.
//!
//! Any configuration is accepted, none is needed:
//!
//! ```yaml
//! filters:
//! - wasm: filter_noop.wasm
//! ```

#[cfg(target_arch = "wasm32")]
mod glue;
