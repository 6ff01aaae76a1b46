//! How long a VM takes to start, what of it makes the instance, and how long one takes that is made of an image. Whether code
//! was compiled before does not matter here: it was.

use std::time::{Duration, Instant};

use tollgate_abi::{Image, Module, Vm};

use crate::exchange::stream::FilterStream;
use crate::toll::clerk::Clerk;
use crate::toll::compile::Code;
use crate::toll::filter::Filter;
use crate::toll::report::{Flaw, Times, Turns};
use crate::toll::runner::start;
use crate::toll::series::{nanoseconds, timed};

/// Turns of starts, and the time after which no other begins.
const STARTS: usize = 9;
const STARTS_TIME: Duration = Duration::from_secs(5);
/// VMs that are made of an image in one turn, of which the middle one counts.
const IMAGES: usize = 11;

/// What starts take.
pub(super) struct Starts {
    pub(super) whole: Turns,
    /// All but callbacks.
    pub(super) instance: Turns,
}

/// Starts of the filter and of the one that does nothing, in turns.
pub(super) fn starts(code: &Code, filter: &Filter) -> Result<Starts, Flaw> {
    let began = Instant::now();
    let (mut whole, mut instance) = (Vec::new(), Vec::new());
    while whole.is_empty() || (whole.len() < STARTS && began.elapsed() < STARTS_TIME) {
        let own = one_start(&code.module, filter)?;
        let noop = one_start(&code.nothing_module, &code.nothing)?;
        whole.push((own.0, noop.0));
        instance.push((own.1, noop.1));
    }
    Ok(Starts { whole: Turns::of(&whole), instance: Turns::of(&instance) })
}

/// Nanoseconds of a start, and of what it took beside its callbacks.
fn one_start(module: &Module, filter: &Filter) -> Result<(f64, f64), Flaw> {
    let (time, vm) = start::<Box<FilterStream>, false>(module, filter)?;
    let inside = vm.host().account.within_callbacks();
    Ok((time.as_secs_f64() * 1e9, time.saturating_sub(inside).as_secs_f64() * 1e9))
}

/// How long a VM takes that is made of the image of another, where there is one, in turns with the same of the filter that
/// does nothing.
pub(super) fn images(code: &Code, filter: &Filter) -> Result<Option<Turns>, Flaw> {
    let taken = |module: &Module, filter: &Filter| {
        let (_, mut vm) = start::<Box<FilterStream>, false>(module, filter)?;
        Ok(vm.image().ok())
    };
    let (own, noop) = (taken(&code.module, filter)?, taken(&code.nothing_module, &code.nothing)?);
    let (Some(own), Some(noop)) = (own, noop) else { return Ok(None) };
    let turn = |_| Some((hatching(&own, filter)?, hatching(&noop, &code.nothing)?));
    let turns: Vec<(f64, f64)> = (0..STARTS).filter_map(turn).collect();
    Ok((!turns.is_empty()).then(|| Turns::of(&turns)))
}

/// The middle of some VMs that are made of an image, in nanoseconds; `None` where there is no room for them.
fn hatching(image: &Image<Clerk<Box<FilterStream>, false>>, filter: &Filter) -> Option<f64> {
    let one = |_| {
        let clerk = Clerk::new(filter);
        let (time, made) = timed(|| Vm::from_image(image, clerk).map_err(Box::new));
        made.is_ok().then_some(nanoseconds(time))
    };
    let times: Option<Vec<u32>> = (0..IMAGES).map(one).collect();
    times.map(|mut times| Times::of(&mut times).median)
}
