//! A VM that exchanges are passed through, one after another.

use std::time::{Duration, Instant};

use tollgate_abi::{Failure, Module, Vm};

use crate::exchange::stream::{Facts, FilterStream};
use crate::filter::manners::Manners;
use crate::filter::rehearsal::{Carrier, Outcome, Rehearsal};
use crate::toll::clerk::Clerk;
use crate::toll::filter::Filter;
use crate::toll::ledger::{Account, Ledger, Notes};
use crate::toll::report::Flaw;
use crate::toll::sample::Sample;
use crate::toll::series::{Series, timed};

/// See the module. Timed is the way through the VM alone: exchanges are made before and dropped afterwards.
pub(super) struct Runner<'a, S: Carrier, const METERED: bool> {
    vm: Vm<Clerk<S, METERED>>,
    manners: Manners,
    facts: Facts,
    sample: &'a Sample,
    ledger: Ledger,
    /// What became of the last exchange.
    pub(super) outcome: Option<Outcome>,
    /// Linear memory after the first.
    pub(super) memory_first: Option<usize>,
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
        Clerk::answer(&mut vm).map_err(|failure| flaw(failure, vm.host().said()))?;
        // What was entered before the first exchange is none of its own.
        vm.host_mut().account = Account::default();
        let (manners, facts) = (filter.manners, sample.facts(&filter.manners));
        Ok(Self { vm, manners, facts, sample, ledger: Ledger::default(), outcome: None, memory_first: None })
    }

    /// One exchange; it comes back with the time that it took.
    pub(super) fn pass(&mut self) -> Result<(Duration, S), Flaw> {
        let carrier = S::from(self.sample.exchange(&self.facts));
        let mut answer = self.sample.answer.clone();
        let (time, passed) = timed(|| {
            let mut rehearsal = Rehearsal::new(&mut self.vm, self.manners, carrier);
            let outcome = rehearsal.run(&self.sample.body, (&mut answer, &self.sample.answer_body))?;
            rehearsal.end().map(|carrier| (outcome, carrier))
        });
        let (outcome, carrier) = passed.map_err(|failure| flaw(failure, self.vm.host().said()))?;
        self.ledger.count(&mut self.vm.host_mut().account);
        self.outcome = Some(outcome);
        self.memory_first.get_or_insert(self.vm.memory_bytes());
        Ok((time, carrier))
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

    /// Linear memory now.
    pub(super) fn memory(&self) -> usize {
        self.vm.memory_bytes()
    }

    /// What was noted since the last call of this.
    pub(super) fn take_notes(&mut self) -> Notes {
        self.ledger.take_notes()
    }
}

fn flaw(failure: Failure, lines: Vec<String>) -> Flaw {
    Flaw { message: failure.to_string(), backtrace: failure.backtrace, lines }
}
