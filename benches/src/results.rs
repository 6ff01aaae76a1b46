//! What was measured, as it is kept in `results.json`: every round, so that a report can be made anew and another run be
//! compared with it.

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::stats::{Interval, Spread};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where, when and how.
    pub facts: Facts,
    /// Proxies beside each other.
    pub cases: Vec<CaseResult>,
    /// From the start to the first answer.
    pub starts: Vec<Start>,
    /// Instructions for one request.
    pub counted: Vec<Counted>,
    /// What something costs as it grows.
    pub curves: Vec<Curve>,
    /// Who is not on this machine.
    pub absent: Vec<Absent>,
    /// What was begun besides the cases, and failed.
    #[serde(default)]
    pub failed: Vec<Absent>,
}

/// Where, when and how it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The day.
    pub date: String,
    /// The machine in general words.
    pub machine: String,
    /// Programs with their versions.
    pub versions: Vec<String>,
    /// What was run.
    pub command: String,
    /// How it was measured, in sentences.
    pub method: Vec<String>,
}

/// What one kind of traffic came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub what: String,
    /// Requests a second of the latencies.
    pub pace: f64,
    /// Targets.
    pub rows: Vec<Row>,
    /// Targets that failed, and so have no figures.
    #[serde(default)]
    pub failed: Vec<Absent>,
}

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub target: String,
    /// The name of the target over which it is told what this one costs more.
    pub over: Option<String>,
    /// In their order.
    pub rounds: Vec<Round>,
    /// Bytes in memory after its last round.
    pub resident: u64,
    /// Of these, those that no file holds.
    pub anonymous: u64,
    /// System calls for each request.
    pub calls: Option<f64>,
    /// Why nobody was to count them.
    pub uncounted: Option<String>,
    /// Why counting them failed.
    #[serde(default)]
    pub miscounted: Option<String>,
}

/// One target in one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Requests with a good answer; there are no others.
    pub requests: u64,
    /// Microseconds of CPU time, user and system, for one request.
    pub cpu_micros: f64,
    /// Requests a second in a closed loop.
    pub rate: f64,
    /// The part of one core that the target used.
    pub share: f64,
    /// The part of the time in which load and origin had something to do.
    #[serde(default)]
    pub load: Option<f64>,
    /// Microseconds at the case's pace: half, 99 % and 99.9 % are not above.
    pub latency: Option<[f64; 3]>,
}

/// How one target starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Its name.
    pub target: String,
    /// Milliseconds to its first answer, each time.
    pub millis: Vec<f64>,
    /// Mebibytes in memory then.
    pub resident: Vec<f64>,
}

/// Instructions of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Its name.
    pub target: String,
    /// In user space, for one request.
    pub each: Option<f64>,
    /// Why there is no count.
    pub why: Option<String>,
}

/// What has no figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Its name.
    pub target: String,
    /// Why, on one line.
    pub why: String,
}

impl Absent {
    /// Letters of a reason that are kept: enough for what went wrong, and not for all that a program wrote before.
    const LETTERS: usize = 300;

    /// Of this name, for what became of it.
    pub fn of(target: &str, why: &BenchError) -> Absent {
        let why = why.to_string();
        let line = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        Absent { target: target.to_owned(), why: line.chars().take(Absent::LETTERS).collect() }
    }
}

/// What something costs as it grows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// What grows, with its unit.
    pub x: String,
    /// What it costs, with its unit.
    pub y: String,
    /// Whether it is drawn and fitted over the tenfolds of what grows.
    pub tenfold: bool,
    /// The slope's unit.
    pub unit: String,
    /// By how much the slope's unit is more than that of `y` for one of `x`.
    pub scale: f64,
    /// What is wanted, in words.
    pub wanted: String,
    /// The largest slope that is wanted, in its unit; `None` where it is told and not judged.
    pub most: Option<f64>,
    /// What is to be known of it besides; empty where that is nothing.
    #[serde(default)]
    pub note: String,
    /// Lines.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// From small to large.
    pub points: Vec<Point>,
}

/// What was found at one size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The size.
    pub x: f64,
    /// A figure for each round.
    pub found: Vec<f64>,
}

impl Row {
    /// Of one figure over the rounds.
    pub fn spread(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure))
    }

    /// Of one latency over the rounds: the first, second or third.
    pub fn latency(&self, place: usize) -> Spread {
        Spread::of(self.rounds.iter().filter_map(|round| round.latency?.get(place).copied()))
    }

    /// Of what `compare` makes of a round of this target and the same round of another.
    pub fn paired(&self, other: &Row, compare: impl Fn(&Round, &Round) -> f64) -> Interval {
        Interval::of(self.rounds.iter().zip(&other.rounds).map(|(own, other)| compare(own, other)))
    }

    /// CPU time over that of another target, round by round.
    pub fn cpu_over(&self, other: &Row) -> Interval {
        self.paired(other, |own, other| own.cpu_micros / other.cpu_micros)
    }

    /// CPU time less that of another target, round by round.
    pub fn cpu_added(&self, other: &Row) -> Interval {
        self.paired(other, |own, other| own.cpu_micros - other.cpu_micros)
    }
}

impl CaseResult {
    /// The target of this name.
    pub fn row(&self, target: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.target == target)
    }

    /// Targets without figures, and those without calls though they were to be counted.
    fn failures(&self) -> usize {
        self.failed.len() + self.rows.iter().filter(|row| row.miscounted.is_some()).count()
    }
}

impl Results {
    /// The case of this name.
    pub fn case(&self, name: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// How many measurements failed of those that were begun.
    pub fn failures(&self) -> usize {
        self.failed.len() + self.cases.iter().map(CaseResult::failures).sum::<usize>()
    }

    /// How the target of this name starts.
    pub fn start(&self, target: &str) -> Option<&Start> {
        self.starts.iter().find(|start| start.target == target)
    }

    /// Instructions of this target for one request.
    pub fn instructions(&self, target: &str) -> Option<f64> {
        self.counted.iter().find(|counted| counted.target == target)?.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_were_to_be_counted_and_were_not_are_a_failure() {
        let row = |uncounted: Option<&str>, miscounted: Option<&str>| Row {
            uncounted: uncounted.map(str::to_owned),
            miscounted: miscounted.map(str::to_owned),
            ..Row::default()
        };
        let rows = vec![row(None, None), row(Some("no strace"), None), row(None, Some("it ended"))];
        let failed = vec![Absent::default()];
        let case = CaseResult { rows, failed: failed.clone(), ..CaseResult::default() };

        assert_eq!(Results { cases: vec![case], failed, ..Results::default() }.failures(), 3);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let output = format!("first\n\n  second\n{}", "x".repeat(1000));
        let error = BenchError::Unfit { target: "nginx".into(), problem: "no answer".into(), output };

        let Absent { target, why } = Absent::of("nginx", &error);

        assert_eq!((target.as_str(), why.chars().count()), ("nginx", Absent::LETTERS));
        assert!(why.starts_with("nginx: no answer; its output:; first; second; xxx"), "{why}");
    }
}
