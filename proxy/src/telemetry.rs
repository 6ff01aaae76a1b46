//! What the proxy tells about itself: counters, its own log, and one line per exchange.
//!
//! It decides nothing about traffic. Nothing here blocks a worker: counters have one writer each, and access log lines
//! that cannot be taken at once are dropped and counted.

pub mod access_log;
pub mod log;
pub mod metrics;
pub mod panics;
pub mod timestamp;
