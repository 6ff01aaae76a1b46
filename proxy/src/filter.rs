//! Filters: from bytes on disk to a generation of VMs, and from a request to callbacks in their order.
//!
//! `modules`, `blob`, `compile`, `generation`, `fault`, `selftest`, `rehearsal` and `spares` belong to the control side;
//! `plugin`, `storm`, `share`, `retiring`, `callout`, `chain`, `pump` and `tcp` to a worker. HTTP types stay in `exchange`;
//! wasm types stay in `tollgate-abi`.

pub mod blob;
pub mod callout;
pub mod chain;
pub mod compile;
pub mod digest;
pub mod fault;
pub mod generation;
pub mod host;
pub mod lingering;
pub mod manners;
pub mod modules;
pub mod plugin;
pub mod pump;
pub mod rehearsal;
pub mod retiring;
pub mod rollout;
pub mod selftest;
pub mod share;
pub mod slot;
pub mod spares;
pub mod storm;
pub mod tcp;
