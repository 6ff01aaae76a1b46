//! Which endpoints are worth a request: what they are asked, and what their answers to clients say of them.
//! Asking and judging are the proxy's work.

use std::time::Duration;

use crate::cluster::status::Statuses;
use crate::ratio::Ratio;
use crate::scalar::Word;

/// Questions that the proxy puts to every endpoint by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// From the end of one question to the next.
    pub interval: Duration,
    /// The longest wait for an answer, connecting included.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back.
    pub healthy: usize,
    /// Bad ones in a row that take it out.
    pub unhealthy: usize,
    /// By how much an interval may be longer, so that questions do not come all at once.
    pub jitter: Ratio,
    /// What an endpoint counts as until its first answer, which alone decides. Like any other, it counts towards the part below
    /// which all get requests.
    pub initial: Initial,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET of this path, in what the cluster speaks.
    Http {
        /// The path with its query.
        path: String,
        /// The answers that are good.
        statuses: Statuses,
    },
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service; the empty one is the whole server.
    Grpc(String),
}

/// What an endpoint counts as before its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initial {
    /// Worth a request.
    #[default]
    Healthy,
    /// Not yet worth one.
    Unhealthy,
}

impl Word for Initial {
    const WORDS: &'static [(&'static str, Initial)] =
        &[("healthy", Initial::Healthy), ("unhealthy", Initial::Unhealthy)];
    const EXPECTED: &'static str = "\"healthy\" or \"unhealthy\"";
}

impl Health {
    /// [`Health::interval`] when none is written.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// [`Health::timeout`] when none is written.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// [`Health::healthy`] when none is written.
    pub const HEALTHY: usize = 2;
    /// [`Health::unhealthy`] when none is written.
    pub const UNHEALTHY: usize = 3;
    /// [`Health::jitter`] when none is written.
    pub const JITTER: Ratio = Ratio::of_percent(10);
}

/// When an endpoint that fails clients is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outliers {
    /// Failures in a row, as one worker sees them: no connection, a broken one, no answer in time, a status of 5xx.
    pub failures: usize,
    /// How long the first time; as many times longer as it was ejected before.
    pub base: Duration,
    /// How long at the most.
    pub max: Duration,
    /// The part of a cluster that may be ejected at a time; never all of it.
    pub max_ejected: Ratio,
}

impl Default for Outliers {
    fn default() -> Outliers {
        Outliers {
            failures: 5,
            base: Duration::from_secs(30),
            max: Duration::from_secs(300),
            max_ejected: Ratio::of_percent(50),
        }
    }
}
