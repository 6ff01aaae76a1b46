//! The figures of one measurement, as `--json` writes and `--compare` reads them. Times are nanoseconds, sizes bytes.

use serde::{Deserialize, Serialize};
use tollgate_abi::StreamType;

/// Raised when a figure changes its meaning; reports of different formats are not compared.
pub(super) const FORMAT: u32 = 1;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which meaning the figures have.
    pub format: u32,
    /// The version of the program.
    pub tollgate: String,
    /// Where it ran.
    pub machine: Machine,
    /// What passed.
    pub exchange: Exchange,
    /// A filter that does nothing.
    pub noop: Times,
    /// How far the quietest and the loudest tenth of it lie apart, in hundredths of the middle one.
    pub noise_percent: f64,
    /// The filters, in the order in which they were named.
    pub filters: Vec<FilterToll>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Of the processor: `x86_64`, `aarch64`.
    pub architecture: String,
    /// What the system calls the processor; empty where it does not say.
    pub processor: String,
    /// Cores that may be used.
    pub cores: usize,
}

/// The sizes of a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Fields of the request, pseudo-headers included.
    pub request_fields: usize,
    /// Its body.
    pub request_bytes: usize,
    /// Fields of the answer.
    pub answer_fields: usize,
    /// Its body.
    pub answer_bytes: usize,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Half took longer.
    pub median: f64,
    /// One of a hundred took longer.
    pub p99: f64,
}

impl Times {
    /// Of these samples, which it sorts.
    pub(super) fn of(samples: &mut [u32]) -> Self {
        samples.sort_unstable();
        let at = |share: usize| samples.get(samples.len() * share / 100).copied().map_or(0.0, f64::from);
        Self { median: at(50), p99: at(99) }
    }
}

/// What one filter costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterToll {
    /// What it is called.
    pub name: String,
    /// SHA-256 of the module.
    pub sha256: String,
    /// Size of the module.
    pub bytes: usize,
    /// The version of proxy-wasm that it speaks.
    pub abi: String,
    /// What became of the exchange.
    pub outcome: Outcome,
    /// Exchanges that were timed.
    pub requests: u32,
    /// One exchange.
    pub request: Times,
    /// Of the median: inside hostcalls.
    pub host: f64,
    /// Of the median: the rest, which is the guest and the way into it.
    pub guest: f64,
    /// The same reads and changes of the exchange, done in Rust, without the filter's own thinking.
    pub native: Times,
    /// Callbacks that were entered.
    pub callbacks: Vec<CallbackToll>,
    /// Hostcalls that were made.
    pub hostcalls: Vec<HostcallToll>,
    /// Bytes of names, values and bodies that crossed between host and guest, per exchange.
    pub copied: usize,
    /// Linear memory after the first exchange.
    pub memory_first: usize,
    /// Linear memory after all.
    pub memory_last: usize,
    /// From the module to a configured VM.
    pub start: f64,
    /// Another VM from the image of a configured one; absent where it has no image.
    pub image: Option<f64>,
    /// From bytes to code.
    pub compile_cold: f64,
    /// From code on disk to code that runs.
    pub compile_cached: f64,
}

impl FilterToll {
    /// Hostcalls of one exchange.
    pub(super) fn hostcalls_of_one(&self) -> f64 {
        self.hostcalls.iter().fold(0.0, |sum, hostcall| sum + hostcall.calls)
    }
}

/// One kind of callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallbackToll {
    /// As metrics call it.
    pub name: String,
    /// Entries per exchange.
    pub calls: f64,
    /// One entry.
    pub time: Times,
}

/// One hostcall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostcallToll {
    /// Its name.
    pub name: String,
    /// Calls per exchange.
    pub calls: f64,
    /// Mean of one call.
    pub time: f64,
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The filter let it pass.
    Passes,
    /// It answered with this status.
    Answers(u16),
    /// It closed it.
    Closes,
    /// It held this half for good.
    Waits(Half),
}

/// A half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// The request.
    Request,
    /// The answer.
    Answer,
}

impl From<StreamType> for Half {
    fn from(half: StreamType) -> Self {
        if half == StreamType::Request { Self::Request } else { Self::Answer }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of one filter.
    pub(crate) fn report() -> Report {
        let times = |median, p99| Times { median, p99 };
        let filter = FilterToll {
            name: "a".to_owned(),
            sha256: "0123456789abcdef".to_owned(),
            bytes: 100 << 10,
            abi: "0.2.1".to_owned(),
            outcome: Outcome::Passes,
            requests: 100_000,
            request: times(600.0, 1_200.0),
            host: 150.0,
            guest: 450.0,
            native: times(100.0, 150.0),
            callbacks: vec![CallbackToll { name: "request_headers".to_owned(), calls: 1.0, time: times(300.0, 500.0) }],
            hostcalls: vec![HostcallToll { name: "proxy_log".to_owned(), calls: 1.0, time: 150.0 }],
            copied: 20,
            memory_first: 1_114_112,
            memory_last: 1_114_112,
            start: 2e6,
            image: None,
            compile_cold: 1.5e9,
            compile_cached: 3e6,
        };
        Report {
            format: FORMAT,
            tollgate: "0.1.0".to_owned(),
            machine: Machine { architecture: "x86_64".to_owned(), processor: String::new(), cores: 2 },
            exchange: Exchange { request_fields: 6, request_bytes: 0, answer_fields: 3, answer_bytes: 13 },
            noop: times(200.0, 300.0),
            noise_percent: 5.0,
            filters: vec![filter],
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let text = serde_json::to_string(&report()).unwrap();

        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    }

    #[test]
    fn a_percentile_is_a_sample() {
        let mut samples: Vec<u32> = (1..=100).rev().collect();

        assert_eq!(Times::of(&mut samples), Times { median: 51.0, p99: 100.0 });
        assert_eq!(Times::of(&mut []), Times::default());
    }
}
