//! How long a proxy takes from its start to its first answer, and what it has in memory then.

use crate::cast::Who;
use crate::error::BenchError;
use crate::field::Field;
use crate::results::{Absent, Start};
use crate::target::{Chain, Door, Setting, Target};

/// Tollgate's with a filter that it has not seen.
const COLD: &str = "tollgate, 1 noop filter, cold";

/// Without filters and with one, and of Tollgate's with one both where it was never seen and where its code is kept; of these
/// whom `only` names, unless it is empty. Beside them, those that failed.
pub fn measure(field: &Field, only: &[String]) -> (Vec<Start>, Vec<Absent>) {
    let (none, one) = (Chain::None, Chain::Noops(1));
    let setting = field.setting(Door::Plain, 1);
    let (mut starts, mut failed) = (Vec::new(), Vec::new());
    let mut keep = |name: &str, found: Result<Option<Start>, BenchError>| match found {
        Ok(start) => starts.extend(start),
        Err(error) => failed.push(Absent::of(&format!("start of {name}"), &error)),
    };
    let ours = Who::Tollgate(one);
    if ours.is_meant(only) {
        keep(COLD, cold(field, ours, &setting).map(Some));
    }
    let all = [ours, Who::Tollgate(none), Who::Nginx, Who::Haproxy, Who::Envoy(none), Who::Envoy(one)];
    for who in all.into_iter().filter(|who| who.is_meant(only)) {
        keep(&who.name(), warm(field, who, &setting));
    }
    (starts, failed)
}

/// Each time in a folder of its own, so that nothing is kept.
fn cold(field: &Field, who: Who, setting: &Setting<'_>) -> Result<Start, BenchError> {
    let mut found = Start { target: COLD.to_owned(), ..Start::default() };
    for _ in 0..field.amount.rounds {
        let folder = tempfile::tempdir().map_err(BenchError::while_doing("making a folder"))?;
        record(&mut found, start(field, who, &Setting { folder: folder.path(), ..*setting })?)?;
    }
    Ok(found)
}

/// After a start that made what later ones find; `None` where it is not there.
fn warm(field: &Field, who: Who, setting: &Setting<'_>) -> Result<Option<Start>, BenchError> {
    let Some(first) = start(field, who, setting)? else { return Ok(None) };
    drop(first);
    let mut found = Start { target: who.name(), ..Start::default() };
    for _ in 0..field.amount.rounds {
        record(&mut found, start(field, who, setting)?)?;
    }
    Ok(Some(found))
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
