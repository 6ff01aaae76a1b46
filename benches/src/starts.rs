//! How long a proxy takes from its start to its first answer, and what it has in memory then.

use crate::cast::Who;
use crate::error::BenchError;
use crate::field::Field;
use crate::results::Start;
use crate::target::{Chain, Door, Setting, Target};

/// Without filters and with one, and of Tollgate's with one both where it was never seen and where its code is kept.
pub fn measure(field: &Field) -> Result<Vec<Start>, BenchError> {
    let (none, one) = (Chain::None, Chain::Noops(1));
    let setting = field.setting(Door::Plain, 1);
    let mut starts = vec![cold(field, Who::Tollgate(one), &setting)?];
    for who in [Who::Tollgate(one), Who::Tollgate(none), Who::Nginx, Who::Haproxy, Who::Envoy(none), Who::Envoy(one)] {
        // What the first start makes for later ones is there.
        if let Some(target) = start(field, who, &setting)? {
            let name = target.name.clone();
            drop(target);
            starts.push(again(field, who, &setting, name)?);
        }
    }
    Ok(starts)
}

/// Each time in a folder of its own, so that nothing is kept.
fn cold(field: &Field, who: Who, setting: &Setting<'_>) -> Result<Start, BenchError> {
    let mut found = Start { target: "tollgate, 1 noop filter, cold".to_owned(), ..Start::default() };
    for _ in 0..field.amount.rounds {
        let folder = tempfile::tempdir().map_err(BenchError::while_doing("making a folder"))?;
        record(&mut found, start(field, who, &Setting { folder: folder.path(), ..*setting })?)?;
    }
    Ok(found)
}

fn again(field: &Field, who: Who, setting: &Setting<'_>, target: String) -> Result<Start, BenchError> {
    let mut found = Start { target, ..Start::default() };
    for _ in 0..field.amount.rounds {
        record(&mut found, start(field, who, setting)?)?;
    }
    Ok(found)
}

fn start(field: &Field, who: Who, setting: &Setting<'_>) -> Result<Option<Target>, BenchError> {
    let plan = field.cast.plan(who, setting)?;
    plan.map(|plan| field.start_anywhere(plan, setting)).transpose()
}

fn record(found: &mut Start, target: Option<Target>) -> Result<(), BenchError> {
    let Some(target) = target else { return Ok(()) };
    let used = target.memory().map_err(BenchError::while_doing("reading memory"))?;
    found.millis.push(target.start.as_secs_f64() * 1e3);
    found.resident.push(used.resident as f64 / f64::from(1 << 20));
    Ok(())
}
