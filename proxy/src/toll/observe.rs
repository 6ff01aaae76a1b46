//! What a filter asks of its host during one exchange. Looking takes time, so this is never what is timed as a whole.

use std::time::{Duration, Instant};

use tollgate_abi::{Failure, Vm};

use crate::exchange::unsent::Unfit;
use crate::toll::clerk::Clerk;
use crate::toll::passing::pass;
use crate::toll::report::HostcallToll;
use crate::toll::series;
use crate::toll::subject::Sample;
use crate::toll::traced::{Trace, TracedStream};

/// Exchanges that are looked at; fewer where they take longer.
const EXCHANGES: u32 = 1_000;
const TIME: Duration = Duration::from_secs(2);
/// Readings of the clock of which the middle one counts.
const READINGS: usize = 1_001;

/// A VM that is looked at.
pub(super) type Watched = Vm<Clerk<Box<TracedStream>, true>>;

/// See the module.
pub(super) struct Seen {
    /// What the last exchange read and changed.
    pub(super) trace: Trace,
    /// Each hostcall, per exchange.
    pub(super) hostcalls: Vec<HostcallToll>,
}

/// Why a filter could not be looked at.
pub(super) enum Blind {
    Failed(Failure),
    Unfit(Unfit),
}

impl Seen {
    /// Passes exchanges through a VM that has started.
    pub(super) fn of(vm: &mut Watched, sample: &Sample) -> Result<Self, Blind> {
        let (began, mut exchanges, mut trace) = (Instant::now(), 0, Trace::default());
        vm.host_mut().clear();
        while exchanges == 0 || (exchanges < EXCHANGES && began.elapsed() < TIME) {
            let stream = TracedStream::new(sample.stream().map_err(Blind::Unfit)?);
            let (stream, _) = pass(vm, (stream, sample.answer.clone()), sample).map_err(Blind::Failed)?;
            trace = stream.into_trace();
            exchanges += 1;
        }
        Ok(Self { trace, hostcalls: hostcalls(vm, exchanges) })
    }

    /// Nanoseconds of one exchange inside hostcalls.
    pub(super) fn host(&self) -> f64 {
        self.hostcalls.iter().fold(0.0, |sum, hostcall| sum + hostcall.calls * hostcall.time)
    }
}

fn hostcalls(vm: &Watched, exchanges: u32) -> Vec<HostcallToll> {
    // One of the two readings around a hostcall lies within what they measure.
    let reading = series::middle(READINGS, || {});
    let seen = vm.host().hostcalls.iter().map(|(name, (calls, time))| HostcallToll {
        name: (*name).to_owned(),
        calls: f64::from(*calls) / f64::from(exchanges),
        time: (time.as_secs_f64() * 1e9 / f64::from((*calls).max(1)) - reading).max(0.0),
    });
    seen.collect()
}
