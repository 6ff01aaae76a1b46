//! The toll of a filter: what one exchange through it costs on this machine, measured in memory with no proxy around it.
//!
//! | part | its concern |
//! |---|---|
//! | `request` | the request that is measured with, as a file holds it |
//! | `clerk` | what a measured VM may ask, and what is noted of it |
//! | `traced` | an exchange that remembers what was read and changed, and does it again without a guest |
//! | `passing` | one exchange through one VM |
//! | `subject` | the exchange that everything is measured with |
//! | `series` | samples in rounds |
//! | `noop` | a filter that does nothing |
//! | `compile`, `observe`, `measure` | how code is made, what the filter asks for, and how long it all takes, in turns |
//! | `report` | the figures |
//! | `text`, `compare` | the figures in words, and what changed since others |
//!
//! Time is the wall clock's, because that is what the client waits for. Everything runs on the calling thread.

mod clerk;
mod compare;
mod compile;
mod measure;
mod noop;
mod observe;
mod passing;
mod report;
mod request;
mod series;
mod subject;
mod text;
mod traced;

use tollgate_abi::{EngineError, Failure, ModuleError};

pub use self::compare::{Change, Incomparable, compare};
pub use self::measure::{Plan, measure};
pub use self::report::Report;
pub use self::request::{BadRequest, parse};
pub use self::text::{changes, words};
use crate::exchange::unsent::Unfit;

/// A filter to be measured.
#[derive(Clone, Debug)]
pub struct Filter {
    /// What it is called in the report.
    pub name: String,
    /// The module.
    pub module: Vec<u8>,
    /// Its configuration.
    pub config: Vec<u8>,
}

/// Why a filter could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum TollError {
    /// No engine can be made on this machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A module is not one that runs.
    #[error("{name}: {source}")]
    Module {
        /// The filter.
        name: String,
        /// What is wrong with it.
        source: ModuleError,
    },
    /// A filter failed before or while it was measured.
    #[error("{name}: {failure}{}", told(lines))]
    Failed {
        /// The filter.
        name: String,
        /// How.
        failure: Box<Failure>,
        /// What it logged.
        lines: Vec<String>,
    },
    /// The request cannot be sent.
    #[error(transparent)]
    Request(#[from] Unfit),
}

/// The filter's own words, a line each.
fn told(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  it said: {line}")).collect()
}
