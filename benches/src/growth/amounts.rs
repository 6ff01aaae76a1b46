//! A request that carries more, or passes more filters.

use std::time::Duration;

use super::{READINGS, Reach, line};
use crate::error::BenchError;
use crate::field::Field;
use crate::http;
use crate::load::{Ask, Load};
use crate::results::{Curve, Round};
use crate::rounds::{self, Job};
use crate::target::{Chain, Door, Target};

const CONNECTIONS: usize = 32;
/// Connections where bodies are large.
const FEW: usize = 8;
const KIB: usize = 1024;
/// How long bodies of one size are sent before the memory they took is looked at.
const SENT: Duration = Duration::from_millis(700);

/// One and more filters that do nothing.
pub(super) fn filters(field: &Field, _: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = [0, 1, 2, 4, 6, 8, 10];
    let chain = |count| if count == 0 { Chain::None } else { Chain::Noops(count) };
    let mut targets = start(field, &counts.map(chain))?;
    let jobs: Vec<Job> = targets.iter().enumerate().map(|(place, target)| job(place, plain(target))).collect();
    let found = field.all_rounds(&mut targets, &jobs)?;
    let none = found.first().cloned().unwrap_or_default();
    let added = |rounds: &Vec<Round>| paired(rounds, &none);
    let points = counts.into_iter().zip(found.iter().map(added)).skip(1);
    Ok(vec![Curve {
        name: "filters".into(),
        x: "noop filters in the chain".into(),
        y: "CPU µs a request more than without".into(),
        unit: "µs a filter".into(),
        scale: 1.0,
        wanted: "linear, at most 0.8 µs each".into(),
        most: Some(0.8),
        note: String::new(),
        series: vec![line("noop filters", points)],
        tenfold: false,
    }])
}

/// Five to a hundred fields, which the filter does not read.
pub(super) fn headers(field: &Field, _: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = [5, 10, 25, 50, 75, 100];
    let names = ["no filter", "1 header filter"];
    let mut targets = start(field, &[Chain::None, Chain::Headers])?;
    let ask =
        |target: &Target, count: usize| Ask { fields: http::filling(count - http::FIELDS.len()), ..plain(target) };
    let jobs = each(&targets, &counts, ask);
    let found = field.all_rounds(&mut targets, &jobs)?;
    let (bare, filtered) = found.split_at(counts.len());
    let cpu = |rounds: &Vec<Round>| rounds.iter().map(|round| round.cpu_micros).collect();
    let series = |(name, found): (&str, &[Vec<Round>])| line(name, counts.into_iter().zip(found.iter().map(cpu)));
    let whole = names.into_iter().zip([bare, filtered]).map(series).collect();
    let added = filtered.iter().zip(bare).map(|(filtered, bare)| paired(filtered, bare));
    let curve = Curve {
        name: "headers".into(),
        x: "fields of the request".into(),
        y: "CPU µs a request".into(),
        unit: "µs a field".into(),
        scale: 1.0,
        wanted: "at most 0.2 µs a field".into(),
        most: Some(0.2),
        note: String::new(),
        series: whole,
        tenfold: false,
    };
    let added = Curve {
        name: "headers-added".into(),
        y: "CPU µs that the header filter adds".into(),
        unit: "µs a field".into(),
        wanted: "what a filter adds that does not read them stays the same".into(),
        most: None,
        series: vec![line("1 header filter", counts.into_iter().zip(added))],
        ..curve.clone()
    };
    Ok(vec![curve, added])
}

/// Nothing to ten mebibytes, past a filter that has no callback for bodies to do anything in.
pub(super) fn body(field: &Field, reach: Reach) -> Result<Vec<Curve>, BenchError> {
    let most = if reach == Reach::Whole { 10 * KIB } else { KIB };
    let sizes: Vec<usize> = [0, 1, 16, 64, 256, KIB, 10 * KIB].into_iter().filter(|kib| *kib <= most).collect();
    let names = ["no filter", "1 noop filter"];
    let mut targets = start(field, &[Chain::None, Chain::Noops(1)])?;
    let ask = |target: &Target, kib: usize| Ask {
        path: format!("{}{}", http::BYTES, kib * KIB),
        body: Some(kib * KIB),
        connections: FEW,
        ..plain(target)
    };
    let jobs = each(&targets, &sizes, ask);
    let found = field.all_rounds(&mut targets, &jobs)?;
    let cpu = |rounds: &Vec<Round>| rounds.iter().map(|round| round.cpu_micros).collect();
    let series = |(name, found): (&str, &[Vec<Round>])| line(name, sizes.iter().copied().zip(found.iter().map(cpu)));
    let curve = Curve {
        name: "body".into(),
        x: "KiB of an answer's body".into(),
        y: "CPU µs a request".into(),
        unit: "µs a KiB".into(),
        scale: 1.0,
        wanted: "at most 0.5 µs a KiB".into(),
        most: Some(0.5),
        note: String::new(),
        series: names.into_iter().zip(found.chunks(sizes.len())).map(series).collect(),
        tenfold: false,
    };
    let mut peaks = Vec::new();
    if let Some(target) = targets.last_mut() {
        for kib in &sizes {
            let ask = ask(target, *kib);
            let readings = (0..READINGS).map(|_| peak(target, &ask)).collect::<Result<_, _>>()?;
            peaks.push((*kib, readings));
        }
    }
    let memory = Curve {
        name: "body-memory".into(),
        y: format!("MiB at the most, {FEW} bodies at a time"),
        unit: "KiB an exchange for each MiB of body".into(),
        scale: 1024.0 * 1024.0 / FEW as f64,
        wanted: "constant: at most 256 KiB an exchange, whatever the body".into(),
        most: Some(25.0),
        series: vec![line("1 noop filter", peaks)],
        ..curve.clone()
    };
    Ok(vec![curve, memory])
}

/// Mebibytes that the target had at the most while bodies went through.
fn peak(target: &mut Target, ask: &Ask) -> Result<f64, BenchError> {
    let looking = || BenchError::while_doing("reading memory");
    target.forget_peak().map_err(looking())?;
    let mut load = Load::open(ask).map_err(BenchError::while_doing("driving a target"))?;
    let tally = load.run(SENT).and_then(|some| Ok([some, load.drain()?]));
    rounds::accept(target, &tally.map_err(BenchError::while_doing("driving a target"))?)?;
    Ok(target.peak().map_err(looking())? as f64 / f64::from(1 << 20))
}

fn start(field: &Field, chains: &[Chain]) -> Result<Vec<Target>, BenchError> {
    let setting = field.setting(Door::Plain, CONNECTIONS);
    let plan = |chain: &Chain| field.cast.tollgate.plan(*chain, &setting);
    chains.iter().map(|chain| field.start(plan(chain)?, &setting)).collect()
}

fn plain(target: &Target) -> Ask {
    Ask::new(target.address, CONNECTIONS)
}

fn job(target: usize, ask: Ask) -> Job {
    Job { target, ask, rate: None }
}

/// All sizes of the first target, then all of the next.
fn each(targets: &[Target], sizes: &[usize], ask: impl Fn(&Target, usize) -> Ask) -> Vec<Job> {
    let of = |(place, target)| sizes.iter().map(|size| job(place, ask(target, *size))).collect::<Vec<_>>();
    targets.iter().enumerate().flat_map(of).collect()
}

/// What one took more than the other, round by round.
fn paired(more: &[Round], less: &[Round]) -> Vec<f64> {
    more.iter().zip(less).map(|(more, less)| more.cpu_micros - less.cpu_micros).collect()
}
