//! Everything is measured in turns, so that what disturbs the machine for a while disturbs all of it.

use std::fs;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tollgate_abi::{Engine, EngineSettings, Failure, HeaderMap as _, Module, Vm};
use tollgate_config::TestRequest;

use crate::exchange::stream::FilterStream;
use crate::filter::digest::Digest;
use crate::toll::clerk::Clerk;
use crate::toll::compile::{Code, settings, start_time};
use crate::toll::observe::{Blind, Seen, Watched};
use crate::toll::passing::pass;
use crate::toll::report::{CallbackToll, Exchange, FORMAT, FilterToll, Machine, Outcome, Report, Times};
use crate::toll::series::{Series, middle};
use crate::toll::subject::Sample;
use crate::toll::{Filter, TollError, noop};

/// Turns that everything has.
const ROUNDS: u32 = 10;
/// Exchanges by which the time for all is guessed.
const TRIAL: u32 = 50;
/// VMs that are made of an image, of which the middle one counts.
const IMAGES: usize = 99;

/// How much is done for each filter.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Exchanges.
    pub requests: u32,
    /// The most time for them; fewer are made where they would take longer.
    pub time: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self { requests: 100_000, time: Duration::from_secs(20) }
    }
}

impl Plan {
    /// Exchanges of one round, where one takes so long.
    fn round(self, each: Duration) -> u32 {
        let fitting = self.time.as_nanos() / each.as_nanos().max(1);
        (self.requests / ROUNDS).min(u32::try_from(fitting).unwrap_or(u32::MAX) / ROUNDS).max(1)
    }
}

/// Measures filters, each alone.
///
/// # Errors
/// The first filter that cannot be compiled, started or passed is the error, with what it said.
pub fn measure(filters: &[Filter], request: &TestRequest, plan: Plan) -> Result<Report, TollError> {
    let engine = Engine::new(&EngineSettings::default())?;
    let sample = Sample::new(request);
    let nothing = Filter { name: "noop".to_owned(), module: noop::module(), config: Vec::new() };
    let mut noop = Runner::start(&code(&engine, &nothing)?.module, &nothing, &sample)?;
    let measured = filters.iter().map(|filter| one(&engine, filter, &mut noop, plan));
    let filters = measured.collect::<Result<_, _>>()?;
    Ok(Report {
        format: FORMAT,
        tollgate: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine(),
        exchange: Exchange {
            request_fields: sample.stream()?.request.len(),
            request_bytes: sample.request_body.len(),
            answer_fields: sample.answer.len(),
            answer_bytes: sample.answer_body.len(),
        },
        noop: noop.series.times(),
        noise_percent: noop.series.noise(),
        filters,
    })
}

fn one(engine: &Engine, filter: &Filter, noop: &mut Runner<'_>, plan: Plan) -> Result<FilterToll, TollError> {
    let Code { module, cold, cached } = code(engine, filter)?;
    let began = Instant::now();
    let mut runner = Runner::start(&module, filter, noop.sample)?;
    let start = start_time::<Clerk<Box<FilterStream>, false>>(&module, filter, began.elapsed());
    let image = runner.vm.image().ok();
    let image = image.map(|image| middle(IMAGES, || drop(Vm::from_image(&image, Clerk::default()))));
    let outcome = runner.pass()?.1;
    let memory_first = runner.vm.memory_bytes();
    let seen = observe(&module, filter, noop.sample)?;
    let (native, requests) = rounds(&mut runner, noop, &seen, plan)?;
    let request = runner.series.times();
    let host = seen.host().min(request.median);
    Ok(FilterToll {
        name: filter.name.clone(),
        sha256: Digest::of(&filter.module).to_string(),
        bytes: filter.module.len(),
        abi: module.abi_version().to_string(),
        outcome,
        requests,
        request,
        host,
        guest: request.median - host,
        native: native.times(),
        callbacks: runner.callbacks(requests),
        copied: seen.trace.replay(noop.sample)?.1,
        hostcalls: seen.hostcalls,
        memory_first,
        memory_last: runner.vm.memory_bytes(),
        start,
        image,
        compile_cold: cold,
        compile_cached: cached,
    })
}

fn code(engine: &Engine, filter: &Filter) -> Result<Code, TollError> {
    Code::of(engine, &filter.module).map_err(|source| TollError::Module { name: filter.name.clone(), source })
}

fn observe(module: &Module, filter: &Filter, sample: &Sample) -> Result<Seen, TollError> {
    let mut vm: Watched = Vm::start(module, settings(filter), Clerk::default())
        .map_err(|(failure, clerk)| failed(&filter.name, failure, clerk.lines))?;
    Seen::of(&mut vm, sample).map_err(|blind| match blind {
        Blind::Failed(failure) => failed(&filter.name, failure, vm.host().lines.clone()),
        Blind::Unfit(unfit) => unfit.into(),
    })
}

/// The filter, the one that does nothing, and the same in Rust, in turns. Answers with the last of them and how many
/// exchanges each had.
fn rounds(filter: &mut Runner<'_>, noop: &mut Runner<'_>, seen: &Seen, plan: Plan) -> Result<(Series, u32), TollError> {
    let began = Instant::now();
    filter.round(TRIAL)?;
    let each = plan.round(began.elapsed() / TRIAL);
    filter.clear();
    let mut native = Series::default();
    for _ in 0..ROUNDS {
        filter.round(each)?;
        noop.round(each)?;
        native.round(each, || seen.trace.replay(noop.sample).map(|(time, _)| time))?;
    }
    Ok((native, each * ROUNDS))
}

/// A VM that is timed.
struct Runner<'a> {
    name: String,
    vm: Vm<Clerk<Box<FilterStream>, false>>,
    sample: &'a Sample,
    series: Series,
}

impl<'a> Runner<'a> {
    fn start(module: &Module, filter: &Filter, sample: &'a Sample) -> Result<Self, TollError> {
        let vm = Vm::start(module, settings(filter), Clerk::default());
        let vm = vm.map_err(|(failure, clerk)| failed(&filter.name, failure, clerk.lines))?;
        Ok(Self { name: filter.name.clone(), vm, sample, series: Series::default() })
    }

    fn round(&mut self, count: u32) -> Result<(), TollError> {
        let mut series = std::mem::take(&mut self.series);
        let outcome = series.round(count, || self.pass().map(|(time, _)| time));
        self.series = series;
        outcome
    }

    /// One exchange, which is made and dropped outside of what is timed.
    fn pass(&mut self) -> Result<(Duration, Outcome), TollError> {
        let exchange = (Box::new(self.sample.stream()?), self.sample.answer.clone());
        let started = Instant::now();
        let passed = pass(&mut self.vm, exchange, self.sample);
        let time = started.elapsed();
        match passed {
            Ok((_, outcome)) => Ok((time, outcome)),
            Err(failure) => Err(failed(&self.name, failure, self.vm.host().lines.clone())),
        }
    }

    /// Forgets what was measured.
    fn clear(&mut self) {
        self.series = Series::default();
        self.vm.host_mut().clear();
    }

    fn callbacks(&self, requests: u32) -> Vec<CallbackToll> {
        let entered = self.vm.host().callbacks().map(|(kind, samples)| CallbackToll {
            name: kind.as_str().to_owned(),
            calls: samples.len() as f64 / f64::from(requests),
            time: Times::of(&mut samples.to_vec()),
        });
        entered.collect()
    }
}

fn failed(name: &str, failure: Failure, lines: Vec<String>) -> TollError {
    TollError::Failed { name: name.to_owned(), failure: Box::new(failure), lines }
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
