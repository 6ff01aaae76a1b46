//! The toll of a filter: what one exchange through it costs on this machine, measured in memory with no proxy around it.
//!
//! | part | its concern |
//! |---|---|
//! | `request` | the request that is measured with, as a file holds it |
//! | `filter` | a filter with what a configuration says of it |
//! | `sample` | the exchange that everything is measured with |
//! | `clerk` | what a measured VM may ask |
//! | `ledger` | what callbacks and hostcalls came to |
//! | `runner` | exchanges through one VM |
//! | `traced`, `native` | an exchange that remembers what was read and changed, and the same done without a guest |
//! | `series` | samples in rounds |
//! | `noop` | a filter that does nothing |
//! | `compile`, `starts`, `observe`, `measure` | how code and VMs are made, what the filter asks for, and how long it all takes, in turns |
//! | `report` | the figures |
//! | `before`, `compare`, `moved` | the figures of another measurement, and what changed since |
//! | `text` | all of that in words |
//!
//! Time is the wall clock's, because that is what the client waits for. Everything runs on the calling thread but compiling,
//! which has a process of its own as in the proxy.

mod before;
mod clerk;
mod compare;
mod compile;
mod filter;
mod ledger;
mod measure;
mod moved;
mod native;
mod noop;
mod observe;
mod report;
mod request;
mod runner;
mod sample;
mod series;
mod starts;
mod text;
mod traced;

pub use self::before::{Unfit, before};
pub use self::compare::{Change, Comparison, Difference, Figure, Untold, Why, compare};
pub use self::filter::Filter;
pub use self::measure::{Plan, measure};
pub use self::report::{Broken, Report, Unmeasured};
pub use self::request::{Asked, BadRequest, USUAL, longest, parse};
pub use self::text::{changes, words};
