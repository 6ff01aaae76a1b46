//! A proxy that knows more routes, or has more workers.

use std::fmt::Write;

use super::{Reach, line};
use crate::error::BenchError;
use crate::field::Field;
use crate::load::Ask;
use crate::results::{Curve, Round};
use crate::rounds::Job;
use crate::stats::Spread;
use crate::target::tollgate::{MARK_NOTHING, NAME, route};
use crate::target::{Door, Setting, Target};

const CONNECTIONS: usize = 32;
const MIB: f64 = 1048576.0;

/// Ten to a hundred thousand, of which one is asked for again and again.
pub(super) fn routes(field: &Field, reach: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = reach.sizes(&[10, 100, 1_000, 10_000, 30_000, 100_000]);
    let setting = field.setting(Door::Plain, CONNECTIONS);
    let start = |count: &usize| {
        let said = format!("{MARK_NOTHING}{}", table(*count, &setting));
        field.start(field.cast.tollgate.plan_of(format!("{NAME}, {count} routes"), &said, &setting)?, &setting)
    };
    let mut targets = counts.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let ask = |target: &Target, count: usize| Ask {
        path: format!("/service-{}/x", count / 2),
        ..Ask::new(target.address, CONNECTIONS)
    };
    let job = |(place, (target, count)): (usize, (&Target, &usize))| Job {
        target: place,
        ask: ask(target, *count),
        rate: None,
    };
    let jobs: Vec<Job> = targets.iter().zip(&counts).enumerate().map(job).collect();
    let found = field.all_rounds(&mut targets, &jobs)?;
    let memory = |target: &Target| target.memory().map(|used| vec![used.resident as f64 / MIB]);
    let memory = targets.iter().map(memory).collect::<Result<Vec<_>, _>>();
    let memory = memory.map_err(BenchError::while_doing("reading memory"))?;
    let cost = Curve {
        name: "routes".into(),
        x: "routes of the listener".into(),
        y: "CPU µs a request".into(),
        tenfold: true,
        unit: "µs for ten times as many".into(),
        scale: 1.0,
        // A slope of some hundredths of a microsecond is less than rounds differ by.
        wanted: "logarithmic; instructions decide it, which `route-cost` counts".into(),
        most: None,
        note: String::new(),
        series: vec![line("prefixes of paths", counts.iter().copied().zip(found.iter().map(|rounds| cpu(rounds))))],
    };
    let memory = Curve {
        name: "routes-memory".into(),
        y: "MiB in memory".into(),
        tenfold: false,
        unit: "KiB a route".into(),
        scale: 1024.0,
        wanted: "at most 1 KiB a route".into(),
        most: Some(1.0),
        series: vec![line("prefixes of paths", counts.iter().copied().zip(memory))],
        ..cost.clone()
    };
    Ok(vec![cost, memory])
}

fn table(count: usize, setting: &Setting<'_>) -> String {
    let (mut text, to) = ("  routes:\n".to_owned(), setting.origin);
    for place in 0..count {
        // A string takes every write.
        let _ = writeln!(text, "  - {{ match: {{ path: /service-{place}/ }}, to: \"http://{to}\" }}");
    }
    let _ = writeln!(text, "  - {{ to: \"http://{to}\" }}");
    text
}

/// One to eight, on all cores that there are. More than there are cores shows only that none waits for another.
pub(super) fn workers(field: &Field, _: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = [1, 2, 3, 4, 6, 8];
    let setting = field.setting(Door::Plain, CONNECTIONS);
    let said = format!("{MARK_NOTHING}{}", route(&setting));
    let start = |count: usize| {
        let plan = field.cast.tollgate.plan_with(format!("{NAME}, {count} workers"), count, "", &said, &setting)?;
        field.start_anywhere(plan, &setting)
    };
    let mut targets = counts.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let job = |(place, target): (usize, &Target)| Job {
        target: place,
        ask: Ask::new(target.address, CONNECTIONS * 2),
        rate: None,
    };
    let jobs: Vec<Job> = targets.iter().enumerate().map(job).collect();
    let found = field.all_rounds(&mut targets, &jobs)?;
    Ok(vec![Curve {
        name: "workers".into(),
        x: format!("workers, on {} cores", field.cores()),
        y: "CPU µs a request".into(),
        tenfold: false,
        unit: "µs a worker".into(),
        scale: 1.0,
        wanted: "a request costs within a tenth of what it does with one".into(),
        most: None,
        note: limit(&found),
        series: vec![line("no filter", counts.into_iter().zip(found.iter().map(|rounds| cpu(rounds))))],
    }])
}

/// How much the load could ask of the workers, whose number differs from point to point.
fn limit(found: &[Vec<Round>]) -> String {
    let medians = |figure: &dyn Fn(&Round) -> f64| {
        Spread::of(found.iter().map(|rounds| Spread::of(rounds.iter().map(figure)).median))
    };
    let (share, load) = (medians(&|round| round.share), medians(&|round| round.load.unwrap_or_default()));
    format!(
        "Load and origin are one thread on one of the cores, which had something to do in {:.0} to {:.0} % of the time; all workers \
         together used {:.2} to {:.2} cores. Where it had in all of it, it was the limit: the curve tells whether a request costs more \
         where there are more workers, and not how many requests they answer.",
        load.min * 100.0,
        load.max * 100.0,
        share.min,
        share.max
    )
}

fn cpu(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|round| round.cpu_micros).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_told_of_the_medians_at_each_number_of_workers() {
        let round = |share, load| Round { share, load: Some(load), ..Round::default() };
        let one = vec![round(0.9, 0.97), round(1.0, 0.98), round(0.1, 0.1)];
        let two = vec![round(1.25, 1.0); 3];

        let told = limit(&[one, two]);

        assert!(told.contains("in 97 to 100 % of the time; all workers together used 0.90 to 1.25 cores."), "{told}");
    }
}
