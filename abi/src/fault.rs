//! How a hostcall ends when it does not end well: a status for the guest, or the end of the guest.

use crate::types::{Status, UnknownNumber};

/// Why a hostcall did not answer OK.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest gets this number and goes on.
    Status(Status),
    /// The guest is stopped.
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Fault::Status(status)
    }
}

impl From<UnknownNumber> for Fault {
    fn from(_: UnknownNumber) -> Self {
        Fault::Status(Status::BadArgument)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Fault::Trap(error)
    }
}

/// The guest ended itself through `proc_exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter exited with code {0}")]
pub(crate) struct Exit(pub(crate) i32);
