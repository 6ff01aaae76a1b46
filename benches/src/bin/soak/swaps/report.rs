//! What the rounds of `swaps` come to.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_benches::stats::Spread;

use super::{Amount, Round, Run};
use crate::memory::Seen;
use crate::section::{Section, Times, mebibytes, millis};
use crate::traffic::Outcome;

/// The part of the worker's core that a run has to take for its times to mean anything.
const BUSY: f64 = 0.7;
/// The most that the memory after swaps may be over that after as long without.
const MEMORY: f64 = 1.05;
/// How much longer than meant a run may take before its load counts as behind its pace.
const BEHIND: f64 = 1.02;

/// `before` are the bytes in memory before the first round.
pub(super) fn judge(section: &mut Section, rounds: &[Round], before: u64, amount: Amount) {
    let all = || rounds.iter().flat_map(Round::runs).map(|(_, run)| &run.outcome);
    let sum = |count: fn(&Outcome) -> u64| all().map(count).sum::<u64>();
    let behind = all().find_map(|outcome| outcome.behind.as_deref());
    section.figure(
        "load and origin come first on their core",
        behind.map_or("yes".to_owned(), |why| format!("no: {why}")),
    );
    section.figure("exchanges", sum(|outcome| outcome.answered));
    section.none_of("failed exchanges", sum(|outcome| outcome.failed));
    section.none_of("exchanges whose request and answer met different generations", sum(|outcome| outcome.mixed));
    section.none_of(
        "answers of an older generation after a newer one's on one connection",
        sum(|outcome| outcome.backwards),
    );
    if let Some(first) = all().find_map(|outcome| outcome.first.as_ref()) {
        section.figure("the first failure", first);
    }
    for (place, round) in rounds.iter().enumerate() {
        describe(section, place + 1, round, amount);
    }
    compare(section, "p99", rounds, |run| p99(&run.outcome).as_secs_f64());
    compare(section, "p99 of the median second", rounds, |run| of_a_second(&run.outcome).as_secs_f64());
    compare(section, "memory afterwards", rounds, |run| run.resident as f64);
    let least = rounds.iter().map(|round| round.swapping.worker).fold(f64::INFINITY, f64::min);
    section.must(
        "the worker takes 70 % of its core while there are swaps",
        least >= BUSY,
        format!("{:.0} %", least * 100.0),
    );
    let memory = middle(rounds.iter().map(|round| round.swapping.resident as f64 / round.quiet.resident as f64));
    section.must("memory after swaps is within 5 % of that without", memory <= MEMORY, format!("{memory:.3}"));
    // What grows in every run alike shows in no round.
    let last = rounds.last().map_or(f64::NAN, |round| round.swapping.resident as f64 / before as f64);
    section.must(
        "memory after the last round is within 5 % of that before the first",
        last <= MEMORY,
        format!("{last:.3}"),
    );
}

fn middle(ratios: impl Iterator<Item = f64>) -> f64 {
    Spread::of(ratios).median
}

type Base = fn(&Round) -> &Run;

impl Round {
    fn runs(&self) -> [(&'static str, &Run); 3] {
        [("no swaps", &self.quiet), ("swaps beside", &self.beside), ("swaps", &self.swapping)]
    }

    /// Why its times say nothing, if they do not.
    fn flaw(&self, time: Duration) -> &'static str {
        let any = |what: fn(&Run, f64) -> bool| self.runs().iter().any(|(_, run)| what(run, time.as_secs_f64()));
        match (any(|run, time| run.wall > time * BEHIND), any(|run, _| run.worker < BUSY)) {
            (true, _) => " (THE LOAD FELL BEHIND ITS PACE: times of this round say nothing)",
            (_, true) => " (THE WORKER WAS NOT BUSY ENOUGH: times of this round say nothing)",
            _ => "",
        }
    }
}

fn describe(section: &mut Section, number: usize, round: &Round, Amount { time, swaps, .. }: Amount) {
    let name = |what: &str| format!("round {number}, {what}");
    for (what, run) in round.runs() {
        let Run { outcome, wall, worker, waited, rest, resident } = run;
        let (worker, rest) = (worker * 100.0, rest * 100.0);
        let times = Times::of(outcome.times.iter().map(|(_, took)| *took));
        let (waited, load) = (millis(*waited), millis(outcome.waited));
        section.figure(
            name(what),
            format!(
                "{times}; {wall:.1} s, worker {worker:.0} %, rest of the proxy {rest:.0} % of a core; \
                 ready to run without a core: worker {waited}, load {load} ms; {} afterwards",
                mebibytes(*resident)
            ),
        );
    }
    let seen = round.swapping.outcome.seen.len();
    section.figure(name("generations that answered"), format!("{seen} of {swaps} swaps{}", round.flaw(time)));
}

/// What swaps make of something, against no swaps and against swaps beside.
fn compare(section: &mut Section, what: &str, rounds: &[Round], of: fn(&Run) -> f64) {
    let bases: [(&str, Base); 2] = [("no swaps", |round| &round.quiet), ("swaps beside", |round| &round.beside)];
    for (against, base) in bases {
        let mut ratios: Vec<_> = rounds.iter().map(|round| of(&round.swapping) / of(base(round))).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
        let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        section.figure(
            format!("{what} with swaps over that with {against}, median of the rounds"),
            format!("{middle:.2} [{}]", each.join(", ")),
        );
    }
}

fn p99(outcome: &Outcome) -> Duration {
    Times::of(outcome.times.iter().map(|(_, took)| *took)).per_mille(990)
}

/// The p99 of the median second, which moments that the machine was elsewhere leave alone.
fn of_a_second(outcome: &Outcome) -> Duration {
    let mut seconds: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    for (at, took) in &outcome.times {
        seconds.entry(at.as_secs()).or_default().push(*took);
    }
    Times::of(seconds.into_values().map(|second| Times::of(second).per_mille(990))).per_mille(500)
}

/// Resident memory fresh, before the rounds and after them.
pub(super) fn remember(section: &mut Section, (fresh, before, after): (u64, u64, u64), seen: &Seen) {
    let [fresh, before, peak, after] = [fresh, before, seen.peak(), after].map(mebibytes);
    section.figure(
        "resident memory after the start / after as many swaps unmeasured / peak / after the last round",
        format!("{fresh} / {before} / {peak} / {after}"),
    );
}
