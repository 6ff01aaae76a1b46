//! Everything is measured in turns with a filter that does nothing, so that what disturbs the machine for a while disturbs
//! both.

use std::cmp::Reverse;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_abi::{CallbackKind, Engine, EngineError, EngineSettings, HeaderMap as _};
use tollgate_config::Isolation;

use crate::filter::compile::CompileError;
use crate::filter::digest::Digest;
use crate::filter::rehearsal;
use crate::toll::compile::{Code, Compilers};
use crate::toll::filter::Filter;
use crate::toll::ledger::{Entries, Notes};
use crate::toll::native::{self, without};
use crate::toll::noop;
use crate::toll::observe::Seen;
use crate::toll::report::{
    Broken, CallbackToll, Exchange, FORMAT, FilterToll, Flaw, HostcallToll, Machine, Native, Others, Parts, Repeated,
    Report, Times, Unmeasured,
};
use crate::toll::request::Asked;
use crate::toll::runner::{Plain, Runner};
use crate::toll::sample::Sample;
use crate::toll::series::{Series, middle};
use crate::toll::starts::{images, starts};

/// Rounds in which everything has its turn.
const ROUNDS: u32 = 10;
/// Readings of the clock of which the middle one counts.
const READINGS: usize = 1_001;

/// How much is done for each filter.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Exchanges.
    pub requests: u32,
    /// The most time for them, and for those through a filter that does nothing: there are fewer where they take longer.
    pub time: Duration,
    /// The program that compiles, which answers to `compile` as `tollgate` does; `None` compiles in this process.
    pub program: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { requests: 100_000, time: Duration::from_secs(20), program: None }
    }
}

impl Plan {
    /// Exchanges of one round; those of all rounds come to `requests`.
    fn of_round(&self, round: u32) -> u32 {
        self.requests / ROUNDS + u32::from(round < self.requests % ROUNDS)
    }
}

/// Measures filters, each alone. One that fails keeps no other from being measured.
///
/// # Errors
/// There is no engine on this machine.
pub fn measure(filters: &[Filter], asked: &Asked, plan: &Plan) -> Result<Report, EngineError> {
    let engine = Engine::new(&EngineSettings::default())?;
    let mut bench =
        Bench { compilers: Compilers::new(&engine, plan.program.clone()), sample: Sample::new(asked), plan };
    let mut report = Report {
        format: FORMAT,
        tollgate: env!("CARGO_PKG_VERSION").to_owned(),
        optimised: !cfg!(debug_assertions),
        machine: machine(),
        exchange: exchange(&bench.sample),
        filters: Vec::new(),
        unmeasured: Vec::new(),
    };
    for filter in filters {
        match bench.toll(filter) {
            Ok(toll) => report.filters.push(toll),
            Err(flaw) => report.unmeasured.push(Unmeasured { name: filter.name.clone(), flaw }),
        }
    }
    Ok(report)
}

/// What all filters are measured with.
struct Bench<'a> {
    compilers: Compilers,
    sample: Sample,
    plan: &'a Plan,
}

impl Bench<'_> {
    fn toll(&mut self, filter: &Filter) -> Result<FilterToll, Flaw> {
        let first = self.compilers.first(filter).map_err(uncompiled)?;
        let seen = Seen::of(&first.module, filter, &self.sample)?;
        let nothing = noop::beside(filter, &first.module, &seen.notes);
        let code = self.compilers.code(first, (filter, nothing)).map_err(uncompiled)?;
        let (starts, image) = (starts(&code, filter)?, images(&code, filter)?);
        let mut runner: Plain<'_> = Runner::new(&code.module, filter, &self.sample)?;
        let mut nothing = Runner::new(&code.nothing_module, &code.nothing, &self.sample)?;
        let Rounds { own, noop, native, flaw } = self.rounds((&mut runner, filter), &mut nothing, &seen);
        let outcomes = outcomes(&runner.outcomes);
        let (Some((most, others)), Some(memory_first)) = (outcomes.split_first(), runner.memory_first) else {
            return Err(flaw.unwrap_or_default());
        };
        // One of the two readings around each exchange lies within what they measure.
        let reading = middle(READINGS, || ());
        let (request, requests) = (own.times().less(reading), u32::try_from(own.len()).unwrap_or(u32::MAX));
        let broken = |flaw| Broken { exchange: requests.saturating_add(1), flaw };
        let notes = (&runner.take_notes(), &nothing.take_notes());
        let callbacks = callbacks(notes, (&seen, reading), (requests, &noop.middles));
        Ok(FilterToll {
            isolated: filter.isolation == Isolation::Request,
            outcome: most.outcome,
            others: others.to_vec(),
            requests,
            failure: flaw.map(broken),
            request,
            parts: parts(request.median, &callbacks),
            noop: noop.times().less(reading),
            native: Native { done: repeated(&seen, &native, reading), without: without(&seen.notes) },
            ratios: ratios(&own.middles, &noop.middles, reading),
            slowest_ratios: ratios(&own.slowest, &noop.slowest, reading),
            noise: own.noise(),
            noop_noise: noop.noise(),
            copied: callbacks.iter().fold(0.0, |sum, callback| sum + callback.calls * callback.copied),
            callbacks,
            hostcalls: hostcalls(&seen, reading),
            memory_first,
            memory_last: runner.memory,
            start: starts.whole,
            instantiate: starts.instance,
            image,
            ..about(filter, code)
        })
    }

    /// The filter, the one that does nothing, and the same in Rust, in turns.
    fn rounds(&self, (runner, filter): (&mut Plain<'_>, &Filter), nothing: &mut Plain<'_>, seen: &Seen) -> Rounds {
        let began = Instant::now();
        let mut rounds = Rounds::default();
        let steps = seen.steps.as_deref().unwrap_or_default();
        let facts = self.sample.facts(&filter.manners);
        let mut native = native::Native::new(steps, (filter.lines, Arc::clone(&seen.series)), (&self.sample, facts));
        for round in 0..ROUNDS {
            let until = began + self.plan.time * (round + 1) / ROUNDS;
            let before = rounds.own.len();
            let passed = runner.round(&mut rounds.own, self.plan.of_round(round), until);
            let count = u32::try_from(rounds.own.len() - before).unwrap_or(u32::MAX);
            // As many of the others, within as much time.
            let until = Instant::now() + self.plan.time / ROUNDS;
            let passed = passed.and(nothing.round(&mut rounds.noop, count, until));
            for _ in 0..if steps.is_empty() { 0 } else { count } {
                rounds.native.add(native.replay());
            }
            rounds.close();
            runner.close();
            nothing.close();
            if let Err(flaw) = passed {
                rounds.flaw = Some(flaw);
                break;
            }
        }
        rounds
    }
}

/// What came of all rounds.
#[derive(Default)]
struct Rounds {
    own: Series,
    noop: Series,
    native: Series,
    /// Why there are no more.
    flaw: Option<Flaw>,
}

impl Rounds {
    fn close(&mut self) {
        [&mut self.own, &mut self.noop, &mut self.native].into_iter().for_each(Series::close);
    }
}

/// What is known of a filter before anything passes it.
fn about(filter: &Filter, code: Code) -> FilterToll {
    FilterToll {
        name: filter.name.clone(),
        sha256: Digest::of(&filter.module).to_string(),
        config_sha256: filter.config_digest().to_string(),
        bytes: filter.module.len(),
        abi: code.module.abi_version().to_string(),
        compile_cold: code.cold,
        compile_cached: code.cached,
        ..FilterToll::default()
    }
}

fn uncompiled(error: CompileError) -> Flaw {
    Flaw { message: error.to_string(), ..Flaw::default() }
}

/// What became of most exchanges first.
fn outcomes(all: &[(rehearsal::Outcome, u32)]) -> Vec<Others> {
    let others = all.iter().map(|(outcome, exchanges)| Others { outcome: (*outcome).into(), exchanges: *exchanges });
    let mut others: Vec<Others> = others.collect();
    others.sort_by_key(|others| Reverse(others.exchanges));
    others
}

fn callbacks(
    (own, noop): (&Notes, &Notes),
    (seen, reading): (&Seen, f64),
    (requests, exchanges): (u32, &[f64]),
) -> Vec<CallbackToll> {
    let least = noop.callbacks.iter().map(|(_, entries)| entries.times.times().median).min_by(f64::total_cmp);
    let callback = |(kind, entries): &(CallbackKind, Entries)| {
        let time = entries.times.times();
        // The answer of a callout never reaches a filter that asks for none: it enters the filter as any callback does.
        let crossing = noop.callback(*kind).map(|entries| entries.times.times().median).or(least).unwrap_or(0.0);
        let inside = seen.notes.callback(*kind).cloned().unwrap_or_default();
        let hostcalls = share(inside.hostcalls, inside.count);
        // One of the two readings around each hostcall lies within what they measure.
        let host = (Times::of(&mut inside.inside.clone()).median - reading * hostcalls).max(0.0);
        CallbackToll {
            name: kind.as_str().to_owned(),
            calls: share(entries.count, requests.into()),
            time,
            parts: Parts::of(time.median, crossing, host),
            ratios: ratios(&entries.times.middles, exchanges, 0.0),
            hostcalls,
            copied: inside.copied as f64 / inside.count.max(1) as f64,
        }
    };
    own.callbacks.iter().map(callback).collect()
}

/// Round by round, the first over the second; none where one has rounds that the other lacks.
fn ratios(own: &[f64], noop: &[f64], reading: f64) -> Vec<f64> {
    if own.len() != noop.len() {
        return Vec::new();
    }
    own.iter().zip(noop).map(|(own, noop)| (own - reading).max(1.0) / (noop - reading).max(1.0)).collect()
}

fn repeated(seen: &Seen, native: &Series, reading: f64) -> Repeated {
    match &seen.steps {
        None => Repeated::TooMuch,
        Some(steps) if steps.is_empty() => Repeated::Nothing,
        Some(_) => Repeated::Took(native.times().less(reading)),
    }
}

/// What callbacks come to in one exchange, and the way between them.
fn parts(whole: f64, callbacks: &[CallbackToll]) -> Parts {
    let sum = |part: fn(&Parts) -> f64| callbacks.iter().fold(0.0, |sum, one| sum + one.calls * part(&one.parts));
    let (host, guest) = (sum(|parts| parts.host), sum(|parts| parts.guest));
    Parts::of(whole, whole - host - guest, host)
}

fn hostcalls(seen: &Seen, reading: f64) -> Vec<HostcallToll> {
    let hostcall = |(name, entries): (&&'static str, &Entries)| HostcallToll {
        name: (*name).to_owned(),
        calls: share(entries.count, seen.exchanges.into()),
        time: entries.times.times().less(reading),
        copied: entries.copied as f64 / entries.count.max(1) as f64,
    };
    seen.notes.hostcalls.iter().map(hostcall).collect()
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn exchange(sample: &Sample) -> Exchange {
    Exchange {
        request_sha256: sample.digest.to_string(),
        request_fields: sample.request().len(),
        request_bytes: sample.body.len(),
        answer_fields: sample.answer.len(),
        answer_bytes: sample.answer_body.len(),
    }
}

fn machine() -> Machine {
    let described = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = described.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Machine {
        architecture: std::env::consts::ARCH.to_owned(),
        processor: processor.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::toll::request::{USUAL, parse};

    #[test]
    fn rounds_come_to_as_many_exchanges_as_were_asked_for() {
        for requests in [1, 9, 10, 15, 99_999] {
            let plan = Plan { requests, ..Plan::default() };

            let rounds: Vec<u32> = (0..ROUNDS).map(|round| plan.of_round(round)).collect();

            assert_eq!(rounds.iter().sum::<u32>(), requests);
            assert!(rounds.iter().max().unwrap() - rounds.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn time_bounds_how_many_exchanges_there_are() {
        let module = Bytes::from(tollgate_abi::testing::guest(""));
        let filter = Filter::new("a".to_owned(), module, Vec::new());
        let plan = Plan { requests: 1_000, time: Duration::ZERO, program: None };

        let report = measure(&[filter], &parse(USUAL).unwrap(), &plan).unwrap();

        // The first of each round passes whatever time it is.
        assert_eq!(report.filters[0].requests, ROUNDS);
    }
}
