//! The figures of one measurement, as `--json` writes and `--compare` reads them. Times are nanoseconds, sizes bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exchange::Half;
use crate::filter::rehearsal;

/// Raised when a figure changes its meaning; reports of different formats are not compared.
pub(super) const FORMAT: u32 = 3;
/// Hundredths of exchanges that may end in another way: what a filter draws by chance wanders.
const A_FEW: f64 = 5.0;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which meaning the figures have.
    pub format: u32,
    /// The version of the program.
    pub tollgate: String,
    /// Whether the program was built with optimisation, as one in service is.
    pub optimised: bool,
    /// Where it ran.
    pub machine: Machine,
    /// What passed.
    pub exchange: Exchange,
    /// The filters that were measured, in the order in which they were named.
    pub filters: Vec<FilterToll>,
    /// Those that failed before there was a figure.
    pub unmeasured: Vec<Unmeasured>,
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

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// SHA-256 of the request.
    pub request_sha256: String,
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
    /// One of a hundred took longer; the longest where there are fewer.
    pub p99: f64,
    /// Of so many.
    pub samples: usize,
}

impl Times {
    /// Of these samples, which it sorts.
    pub(super) fn of(samples: &mut [u32]) -> Self {
        samples.sort_unstable();
        let at = |share: usize| samples.get(samples.len() * share / 100).copied().map_or(0.0, f64::from);
        Self { median: at(50), p99: at(99), samples: samples.len() }
    }

    /// Without what each of them has too much.
    pub(super) fn less(self, excess: f64) -> Self {
        let left = |time: f64| (time - excess).max(0.0);
        Self { median: left(self.median), p99: left(self.p99), ..self }
    }
}

/// Something that was done several times, in turns with the same for a filter that does nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// Nanoseconds: half took longer.
    pub median: f64,
    /// The shortest.
    pub least: f64,
    /// The longest.
    pub most: f64,
    /// What each turn took, over what it took with the filter that does nothing.
    pub ratios: Vec<f64>,
}

impl Turns {
    /// Of these pairs of nanoseconds, of the filter and of the one that does nothing.
    pub(super) fn of(pairs: &[(f64, f64)]) -> Self {
        let mut own: Vec<f64> = pairs.iter().map(|(own, _)| *own).collect();
        own.sort_by(f64::total_cmp);
        let at = |place: usize| own.get(place).copied().unwrap_or(0.0);
        let ratios = pairs.iter().filter(|(_, noop)| *noop > 0.0).map(|(own, noop)| own / noop);
        Self {
            median: at(own.len() / 2),
            least: at(0),
            most: at(own.len().saturating_sub(1)),
            ratios: ratios.collect(),
        }
    }
}

/// How far the middle half of the rounds lies apart, in hundredths of the median.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Noise(pub f64);

/// What one filter costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilterToll {
    /// What it is called.
    pub name: String,
    /// SHA-256 of the module.
    pub sha256: String,
    /// SHA-256 of its configuration.
    pub config_sha256: String,
    /// Size of the module.
    pub bytes: usize,
    /// The version of proxy-wasm that it speaks.
    pub abi: String,
    /// True where each exchange had a VM of its own, whose making is part of it.
    pub isolated: bool,
    /// What became of most exchanges.
    pub outcome: Outcome,
    /// What became of others, and of how many; most of them first.
    pub others: Vec<Others>,
    /// Exchanges that were timed.
    pub requests: u32,
    /// Why there are no more of them.
    pub failure: Option<Broken>,
    /// One exchange.
    pub request: Times,
    /// How its median is made up.
    pub parts: Parts,
    /// A filter with the same callbacks that does nothing.
    pub noop: Times,
    /// The same done in Rust, without the filter's own thinking.
    pub native: Native,
    /// What each round took in the middle, over what it took with the filter that does nothing.
    pub ratios: Vec<f64>,
    /// The same of what one of a hundred exceeds, of rounds that have as many.
    pub slowest_ratios: Vec<f64>,
    /// Of the filter's own rounds.
    pub noise: Noise,
    /// Of the rounds of the filter that does nothing.
    pub noop_noise: Noise,
    /// Callbacks that were entered.
    pub callbacks: Vec<CallbackToll>,
    /// Hostcalls that were made.
    pub hostcalls: Vec<HostcallToll>,
    /// Bytes of names, values, lines and bodies that hostcalls copied, per exchange.
    pub copied: f64,
    /// Linear memory after the first exchange.
    pub memory_first: usize,
    /// Linear memory after all.
    pub memory_last: usize,
    /// From the module to a configured VM.
    pub start: Turns,
    /// The part of it that makes the instance and runs the module's own beginning (`_initialize`): all but callbacks.
    pub instantiate: Turns,
    /// Another VM from the image of a configured one; absent where it has no image.
    pub image: Option<Turns>,
    /// From bytes to code, in a process of its own.
    pub compile_cold: Turns,
    /// From code that was kept on disk to code that runs; absent where none can be kept.
    pub compile_cached: Option<Turns>,
}

/// Three parts of time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// The way in and out: what a filter takes that does nothing.
    pub crossing: f64,
    /// Inside hostcalls, with the filter's allocator where bytes are handed to it.
    pub host: f64,
    /// The filter's own code.
    pub guest: f64,
}

impl Parts {
    /// Of a whole. What was measured apart may come to more than the whole: the guest takes what is left.
    pub(super) fn of(whole: f64, crossing: f64, host: f64) -> Self {
        let crossing = crossing.clamp(0.0, whole);
        let host = host.clamp(0.0, whole - crossing);
        Self { crossing, host, guest: whole - crossing - host }
    }
}

impl FilterToll {
    /// Hostcalls of one exchange.
    pub(super) fn hostcalls_of_one(&self) -> f64 {
        self.hostcalls.iter().fold(0.0, |sum, hostcall| sum + hostcall.calls)
    }

    /// What there is of this callback.
    pub(super) fn callback(&self, name: &str) -> Option<&CallbackToll> {
        self.callbacks.iter().find(|callback| callback.name == name)
    }

    /// True when as many of a hundred exchanges end in the same way, a few more or fewer.
    pub(super) fn ends_as(&self, other: &Self) -> bool {
        let ends = |toll: &Self| toll.ends().collect::<Vec<_>>();
        let (own, others) = (ends(self), ends(other));
        let share = |all: &[(Outcome, f64)], outcome| {
            all.iter().find(|(known, _)| *known == outcome).map_or(0.0, |(_, share)| *share)
        };
        own.iter().chain(&others).all(|(outcome, _)| (share(&own, *outcome) - share(&others, *outcome)).abs() <= A_FEW)
    }

    /// How exchanges end, with their share in hundredths.
    fn ends(&self) -> impl Iterator<Item = (Outcome, f64)> {
        let less = self.others.iter().fold(0, |sum: u32, others| sum.saturating_add(others.exchanges));
        let others = self.others.iter().map(|others| (others.outcome, others.exchanges));
        let most = (self.outcome, self.requests.saturating_sub(less));
        let all = f64::from(self.requests.max(1));
        std::iter::once(most)
            .chain(others)
            .map(move |(outcome, exchanges)| (outcome, f64::from(exchanges) / all * 100.0))
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
    /// How its median is made up.
    pub parts: Parts,
    /// What each round took in the middle, over what an exchange took with the filter that does nothing; empty where some
    /// rounds had none of it.
    pub ratios: Vec<f64>,
    /// Hostcalls of one entry.
    pub hostcalls: f64,
    /// Bytes that they copied.
    pub copied: f64,
}

/// One hostcall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostcallToll {
    /// Its name.
    pub name: String,
    /// Calls per exchange.
    pub calls: f64,
    /// One call.
    pub time: Times,
    /// Bytes that one call copied.
    pub copied: f64,
}

/// Reads and changes of an exchange, lines and counts, done in Rust.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// What came of it.
    pub done: Repeated,
    /// Hostcalls whose work is no part of it.
    pub without: Vec<String>,
}

/// What came of doing the same in Rust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeated {
    /// There is nothing to do.
    #[default]
    Nothing,
    /// It took this.
    Took(Times),
    /// One exchange has more of it than is kept.
    TooMuch,
}

/// Exchanges with which it went another way than with most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// What became of them.
    pub outcome: Outcome,
    /// How many there were.
    pub exchanges: u32,
}

/// How a filter failed while it was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// In which exchange, counted from 1.
    pub exchange: u32,
    /// How.
    #[serde(flatten)]
    pub flaw: Flaw,
}

/// A filter of which there is no figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmeasured {
    /// What it is called.
    pub name: String,
    /// Why.
    #[serde(flatten)]
    pub flaw: Flaw,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// In a sentence.
    pub message: String,
    /// Frames of the filter where it failed, innermost first.
    pub backtrace: Vec<String>,
    /// What the filter logged before.
    pub lines: Vec<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.backtrace.iter().try_for_each(|frame| write!(f, "\n    at {frame}"))?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    filter: {line}"))
    }
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The filter let it pass.
    #[default]
    Passes,
    /// It answered with this status.
    Answers(u16),
    /// It put an answer with this status in the place of the upstream's.
    Replaces(u16),
    /// It gave an answer that cannot be sent.
    Refused,
    /// It closed it.
    Closes,
    /// It held the request for good.
    HoldsRequest,
    /// It held the answer for good.
    HoldsAnswer,
}

impl From<rehearsal::Outcome> for Outcome {
    fn from(outcome: rehearsal::Outcome) -> Self {
        match outcome {
            rehearsal::Outcome::Passes => Self::Passes,
            rehearsal::Outcome::Answers(status) => Self::Answers(status),
            rehearsal::Outcome::Replaces(status) => Self::Replaces(status),
            rehearsal::Outcome::Refused => Self::Refused,
            rehearsal::Outcome::Closes => Self::Closes,
            rehearsal::Outcome::Holds(Half::Request) => Self::HoldsRequest,
            rehearsal::Outcome::Holds(Half::Response) => Self::HoldsAnswer,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of one filter.
    pub(crate) fn report() -> Report {
        let times = |median, p99| Times { median, p99, samples: 100_000 };
        let turns = |middle: f64| Turns::of(&[0.9, 1.0, 1.05, 0.95, 1.1].map(|off| (middle * off, 1e6)));
        let parts = Parts { crossing: 200.0, host: 150.0, guest: 250.0 };
        let filter = FilterToll {
            name: "a".to_owned(),
            sha256: "0123456789abcdef".to_owned(),
            config_sha256: "fedcba9876543210".to_owned(),
            bytes: 100 << 10,
            abi: "0.2.1".to_owned(),
            isolated: false,
            outcome: Outcome::Passes,
            others: Vec::new(),
            requests: 100_000,
            failure: None,
            request: times(600.0, 1_200.0),
            parts,
            noop: times(200.0, 300.0),
            native: Native { done: Repeated::Took(times(100.0, 150.0)), without: Vec::new() },
            ratios: vec![3.0, 2.9, 3.1, 3.0, 2.95, 3.05, 3.0, 3.0, 2.9, 3.1],
            slowest_ratios: vec![6.0, 5.8, 6.2, 6.0, 5.9, 6.1, 6.0, 6.0, 5.8, 6.2],
            noise: Noise(5.0),
            noop_noise: Noise(4.0),
            callbacks: vec![CallbackToll {
                name: "request_headers".to_owned(),
                calls: 1.0,
                time: times(300.0, 500.0),
                parts: Parts { crossing: 50.0, host: 150.0, guest: 100.0 },
                ratios: vec![1.5, 1.45, 1.55, 1.5, 1.4, 1.6, 1.5, 1.5, 1.45, 1.55],
                hostcalls: 1.0,
                copied: 20.0,
            }],
            hostcalls: vec![HostcallToll {
                name: "proxy_log".to_owned(),
                calls: 1.0,
                time: times(150.0, 180.0),
                copied: 20.0,
            }],
            copied: 20.0,
            memory_first: 1_114_112,
            memory_last: 1_114_112,
            start: turns(2e6),
            instantiate: turns(4e5),
            image: None,
            compile_cold: turns(1.5e9),
            compile_cached: Some(turns(3e6)),
        };
        Report {
            format: FORMAT,
            tollgate: "0.1.0".to_owned(),
            optimised: true,
            machine: Machine { architecture: "x86_64".to_owned(), processor: String::new(), cores: 2 },
            exchange: Exchange {
                request_sha256: "ab".to_owned(),
                request_fields: 6,
                request_bytes: 0,
                answer_fields: 3,
                answer_bytes: 13,
            },
            filters: vec![filter],
            unmeasured: Vec::new(),
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

        assert_eq!(Times::of(&mut samples), Times { median: 51.0, p99: 100.0, samples: 100 });
        assert_eq!(Times::of(&mut []), Times::default());
    }

    #[test]
    fn turns_are_paired_with_those_of_the_filter_that_does_nothing() {
        let turns = Turns::of(&[(30.0, 10.0), (10.0, 20.0), (20.0, 0.0)]);

        assert_eq!((turns.least, turns.median, turns.most), (10.0, 20.0, 30.0));
        assert_eq!(turns.ratios, [3.0, 0.5]);
        assert_eq!(Turns::of(&[]), Turns::default());
    }

    #[test]
    fn parts_come_to_the_whole_whatever_was_measured_apart() {
        assert_eq!(Parts::of(100.0, 20.0, 30.0), Parts { crossing: 20.0, host: 30.0, guest: 50.0 });
        assert_eq!(Parts::of(100.0, 20.0, 90.0), Parts { crossing: 20.0, host: 80.0, guest: 0.0 });
        assert_eq!(Parts::of(100.0, 120.0, 1.0), Parts { crossing: 100.0, host: 0.0, guest: 0.0 });
        assert_eq!(Parts::of(100.0, -5.0, 0.0), Parts { crossing: 0.0, host: 0.0, guest: 100.0 });
    }
}
