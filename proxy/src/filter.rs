//! Filters: from bytes on disk to a generation of VMs, and from a request to callbacks in their order.
//!
//! `generation`, `compile` and `spares` belong to the control side; `plugin`, `callout`, `chain`, `pump` and `tcp` to a worker. HTTP
//! types stay in `exchange`; wasm types stay in `tollgate-abi`.

pub mod callout;
pub mod chain;
pub mod compile;
pub mod generation;
pub mod host;
pub mod lingering;
pub mod manners;
pub mod plugin;
pub mod pump;
pub mod spares;
pub mod tcp;
