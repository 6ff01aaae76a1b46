//! What a filter asks of its host during an exchange. Looking takes time, so that nothing here is timed as a whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_abi::Module;

use crate::exchange::stream::FilterStream;
use crate::telemetry::metrics::PluginSeries;
use crate::toll::filter::Filter;
use crate::toll::ledger::Notes;
use crate::toll::native;
use crate::toll::report::Flaw;
use crate::toll::runner::Runner;
use crate::toll::sample::Sample;
use crate::toll::traced::{Step, TracedStream};

/// Exchanges that are traced, the last of which counts.
const TRACED: u32 = 10;
/// Exchanges before those whose hostcalls are timed.
const WARM_UP: u32 = 100;
/// Exchanges whose hostcalls are timed; fewer where they take longer.
const METERED: u32 = 1_000;
const TIME: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Seen {
    /// What one exchange read and changed; `None` where that is more than is repeated.
    pub(super) steps: Option<Vec<Step>>,
    /// Where that counts.
    pub(super) series: Arc<PluginSeries>,
    /// What hostcalls took.
    pub(super) notes: Notes,
    /// In so many exchanges.
    pub(super) exchanges: u32,
}

/// A VM whose hostcalls are timed.
type Metered<'a> = Runner<'a, Box<FilterStream>, true>;
/// A VM whose exchanges remember.
type Traced<'a> = Runner<'a, TracedStream, false>;

impl Seen {
    /// Looks at a filter in two VMs, one after the other. One that fails in its first exchange cannot be looked at; later
    /// only what was seen before counts.
    pub(super) fn of(module: &Module, filter: &Filter, sample: &Sample) -> Result<Self, Flaw> {
        let mut traced: Traced<'_> = Runner::new(module, filter, sample)?;
        let series = Arc::clone(&traced.series);
        let steps = trace(&mut traced)?;
        let mut runner: Metered<'_> = Runner::new(module, filter, sample)?;
        let (mut exchanges, broken) = meter(&mut runner, WARM_UP)?;
        let mut notes = runner.take_notes();
        if !broken && let Ok((warm, _)) = meter(&mut runner, METERED) {
            (exchanges, notes) = (warm, runner.take_notes());
        }
        let steps = steps.and_then(|steps| native::with_clock(steps, &notes, exchanges));
        Ok(Self { steps, series, notes, exchanges })
    }
}

fn trace(runner: &mut Traced<'_>) -> Result<Option<Vec<Step>>, Flaw> {
    let (began, mut last) = (Instant::now(), runner.pass_remembered()?);
    for _ in 1..TRACED {
        match runner.pass_remembered() {
            Ok(passed) if began.elapsed() < TIME => last = passed,
            _ => break,
        }
    }
    let (carrier, trail) = last;
    Ok(carrier.into_trail().with(trail).map(native::steps))
}

/// How many exchanges passed of so many, and whether the filter failed in the next.
fn meter(runner: &mut Metered<'_>, count: u32) -> Result<(u32, bool), Flaw> {
    let began = Instant::now();
    runner.pass()?;
    for passed in 1..count {
        if began.elapsed() >= TIME {
            return Ok((passed, false));
        }
        if runner.pass().is_err() {
            return Ok((passed, true));
        }
    }
    Ok((count, false))
}
