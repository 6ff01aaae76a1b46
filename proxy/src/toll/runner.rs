//! A VM that exchanges are passed through, one after another; with `isolation: request` each through one of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_abi::{Failure, Image, Module, NoImage, Vm};
use tollgate_config::Isolation;

use crate::exchange::head::ResponseHead;
use crate::exchange::stream::{Facts, FilterStream};
use crate::filter::fault::FaultKind;
use crate::filter::manners::Manners;
use crate::filter::rehearsal::{Carrier, Outcome, Rehearsal};
use crate::telemetry::metrics::PluginSeries;
use crate::toll::clerk::Clerk;
use crate::toll::filter::Filter;
use crate::toll::ledger::{Account, Ledger, Notes};
use crate::toll::report::Flaw;
use crate::toll::sample::Sample;
use crate::toll::series::{Series, timed};
use crate::toll::traced::Trail;

/// See the module. Timed is the way through the VM, and what makes the next VM where each exchange has its own: exchanges are
/// made before and dropped afterwards.
pub(super) struct Runner<'a, S: Carrier, const METERED: bool> {
    /// Absent once it has failed.
    vm: Option<Vm<Clerk<S, METERED>>>,
    /// What the VM of each exchange is made of, where none has two.
    image: Option<Image<Clerk<S, METERED>>>,
    manners: Manners,
    facts: Facts,
    sample: &'a Sample,
    ledger: Ledger,
    /// Where metrics count.
    pub(super) series: Arc<PluginSeries>,
    /// What became of exchanges, with how many, in the order in which it first happened.
    pub(super) outcomes: Vec<(Outcome, u32)>,
    /// Linear memory after the first exchange.
    pub(super) memory_first: Option<usize>,
    /// Linear memory after the last.
    pub(super) memory: usize,
}

/// A VM that nothing looks into.
pub(super) type Plain<'a> = Runner<'a, Box<FilterStream>, false>;

/// One more VM, with nobody in it, and how long its start took.
pub(super) fn start<S: Carrier, const METERED: bool>(
    module: &Module,
    filter: &Filter,
) -> Result<(Duration, Vm<Clerk<S, METERED>>), Flaw> {
    let (settings, clerk) = (filter.settings(), Clerk::new(filter));
    let (time, started) = timed(|| Vm::start(module, settings, clerk).map_err(Box::new));
    started.map(|vm| (time, vm)).map_err(|failed| {
        let (failure, clerk) = *failed;
        flaw(failure, clerk.said())
    })
}

impl<'a, S: Carrier + From<Box<FilterStream>>, const METERED: bool> Runner<'a, S, METERED> {
    pub(super) fn new(module: &Module, filter: &Filter, sample: &'a Sample) -> Result<Self, Flaw> {
        let (_, mut vm) = start(module, filter)?;
        let image = match filter.isolation {
            Isolation::Worker => None,
            Isolation::Request => Some(vm.image().map_err(no_image)?),
        };
        match &image {
            // What the start asked for is answered to the VM that stays, and to none of an exchange.
            Some(image) => vm = renewed(vm, image)?,
            None => Clerk::answer(&mut vm).map_err(|failure| flaw(failure, vm.host().said()))?,
        }
        // What was entered before the first exchange is none of its own.
        vm.host_mut().account = Account::default();
        Ok(Self {
            series: Arc::clone(&vm.host().series),
            vm: Some(vm),
            image,
            manners: filter.manners,
            facts: sample.facts(&filter.manners),
            sample,
            ledger: Ledger::default(),
            outcomes: Vec::new(),
            memory_first: None,
            memory: 0,
        })
    }

    /// One exchange; it comes back with the time that it took.
    pub(super) fn pass(&mut self) -> Result<(Duration, S), Flaw> {
        let Some(mut vm) = self.vm.take() else { return Err(Flaw::default()) };
        let carrier = S::from(self.sample.exchange(&self.facts));
        let mut answer = self.sample.answer.clone();
        let (time, passed) = timed(|| through(&mut vm, self.manners, carrier, (self.sample, &mut answer)));
        let (outcome, carrier) = passed.map_err(|failure| flaw(failure, vm.host().said()))?;
        self.ledger.count(&mut vm.host_mut().account);
        self.note(outcome, vm.memory_bytes());
        let Some(image) = &self.image else {
            self.vm = Some(vm);
            return Ok((time, carrier));
        };
        let (renewing, renewed) = timed(|| renewed(vm, image));
        self.vm = Some(renewed?);
        Ok((time + renewing, carrier))
    }

    /// The same, with everything that the filter did with lines and metrics.
    pub(super) fn pass_remembered(&mut self) -> Result<(S, Trail), Flaw> {
        if let Some(vm) = &mut self.vm {
            vm.host_mut().trail = Some(Trail::default());
        }
        let (_, carrier) = self.pass()?;
        let trail = self.vm.as_mut().and_then(|vm| vm.host_mut().trail.take());
        Ok((carrier, trail.unwrap_or_default()))
    }

    fn note(&mut self, outcome: Outcome, memory: usize) {
        self.memory_first.get_or_insert(memory);
        self.memory = memory;
        match self.outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, exchanges)) => *exchanges += 1,
            None => self.outcomes.push((outcome, 1)),
        }
    }

    /// Ends a round: no time that is noted afterwards is of it.
    pub(super) fn close(&mut self) {
        self.ledger.close();
    }

    /// At most so many, the first of them whatever time it is, the others until then. Those before a failure count.
    pub(super) fn round(&mut self, series: &mut Series, count: u32, until: Instant) -> Result<(), Flaw> {
        for place in 0..count {
            if place > 0 && Instant::now() >= until {
                break;
            }
            let (time, _) = self.pass()?;
            series.add(time);
        }
        Ok(())
    }

    /// What was noted since the last call of this.
    pub(super) fn take_notes(&mut self) -> Notes {
        self.ledger.take_notes()
    }
}

/// From the head of the request to the end of the exchange.
fn through<S: Carrier, const METERED: bool>(
    vm: &mut Vm<Clerk<S, METERED>>,
    manners: Manners,
    carrier: S,
    (sample, answer): (&Sample, &mut ResponseHead),
) -> Result<(Outcome, S), Failure> {
    let mut rehearsal = Rehearsal::new(vm, manners, carrier);
    let outcome = rehearsal.run(&sample.body, (answer, &sample.answer_body))?;
    rehearsal.end().map(|carrier| (outcome, carrier))
}

/// The VM as the image has it, or another where that is cheaper, as with a plugin of a proxy.
fn renewed<S: Carrier, const METERED: bool>(
    mut vm: Vm<Clerk<S, METERED>>,
    image: &Image<Clerk<S, METERED>>,
) -> Result<Vm<Clerk<S, METERED>>, Flaw> {
    let clerk = vm.host_mut().successor();
    let renewed = vm.rewind(clerk).or_else(|clerk| Vm::from_image(image, clerk).map_err(Box::new));
    renewed.map_err(|failed| {
        let (failure, clerk) = *failed;
        flaw(failure, clerk.said())
    })
}

fn no_image(why: NoImage) -> Flaw {
    Flaw { message: FaultKind::NoImage(why).to_string(), ..Flaw::default() }
}

fn flaw(failure: Failure, lines: Vec<String>) -> Flaw {
    Flaw { message: failure.to_string(), backtrace: failure.backtrace, lines }
}
