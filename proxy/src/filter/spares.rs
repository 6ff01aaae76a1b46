//! VMs in waiting: when a worker's VM dies, a ready one takes its place at once, and the control side starts the next.
//!
//! The lock guards a short queue and is taken only when a VM has died. A plugin whose VMs die as fast as they are
//! replaced is slowed down: starting VMs for it would cost its neighbours their CPU.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::filter::generation::{Fault, Generation, ReadyVm};

/// VMs of one plugin that are kept ready.
const READY: usize = 1;
/// A VM that served fewer exchanges died young; so many in a row, and restarts are slowed down.
const YOUNG: u64 = 2;
const YOUNG_DEATHS: u32 = 100;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The VMs in waiting of one generation.
#[derive(Default)]
pub struct Spares {
    ready: Mutex<VecDeque<ReadyVm>>,
    /// Rung for workers when a VM was added or starting is slowed down.
    arrived: Notify,
    /// Rung for the control side when a VM was taken or is missed.
    wanted: Notify,
    /// Workers without a VM.
    missing: AtomicU32,
    young_deaths: AtomicU32,
    failed_starts: AtomicU32,
}

impl Spares {
    /// Takes a VM that is ready, and has the next one started. `again`: this worker asked before, in vain.
    pub fn take(&self, again: bool) -> Option<ReadyVm> {
        let vm = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match (&vm, again) {
            (None, false) => drop(self.missing.fetch_add(1, Relaxed)),
            (Some(_), true) => drop(self.missing.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.wanted.notify_one();
        vm
    }

    /// Adds a VM that is ready.
    pub fn add(&self, vm: ReadyVm) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(vm);
        self.arrived.notify_waiters();
    }

    /// Completes when a VM was added, or waiting for one makes no sense.
    pub fn arrived(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }

    /// A VM died after it had served so many exchanges.
    pub fn died(&self, served: u64) {
        if served < YOUNG {
            self.young_deaths.fetch_add(1, Relaxed);
        } else {
            self.young_deaths.store(0, Relaxed);
        }
    }

    /// How long the next start is held back; zero unless VMs fail to start or die young in a row.
    pub fn delay(&self) -> Duration {
        let deaths = self.young_deaths.load(Relaxed).saturating_sub(YOUNG_DEATHS);
        let doublings = deaths.max(self.failed_starts.load(Relaxed));
        match doublings {
            0 => Duration::ZERO,
            n => FIRST_DELAY.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_DELAY),
        }
    }

    fn lacking(&self) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).len();
        let missing = usize::try_from(self.missing.load(Relaxed)).unwrap_or(0);
        ready < READY.saturating_add(missing)
    }

    fn started(&self, vm: ReadyVm) {
        self.failed_starts.store(0, Relaxed);
        self.add(vm);
    }

    fn failed(&self, fault: &Fault) {
        self.failed_starts.fetch_add(1, Relaxed);
        self.arrived.notify_waiters();
        tracing::error!(filter = fault.plugin, "{fault}");
    }
}

/// Keeps the spares of a generation filled until the task is aborted. Starting runs on a blocking thread, never here.
pub async fn keep(generation: Arc<Generation>) {
    let spares = &generation.spares;
    loop {
        while spares.lacking() {
            tokio::time::sleep(spares.delay()).await;
            let starting = Arc::clone(&generation);
            match tokio::task::spawn_blocking(move || starting.start_vm()).await {
                Ok(Ok(vm)) => spares.started(vm),
                Ok(Err(fault)) => spares.failed(&fault),
                Err(_) => return,
            }
        }
        spares.wanted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_not_held_back_for_a_vm_that_served() {
        let spares = Spares::default();

        (0..10_000).for_each(|_| spares.died(YOUNG));

        assert_eq!(spares.delay(), Duration::ZERO);
    }

    #[test]
    fn restarts_of_vms_that_die_young_slow_down_to_a_minute() {
        let spares = Spares::default();

        (0..YOUNG_DEATHS).for_each(|_| spares.died(0));
        assert_eq!(spares.delay(), Duration::ZERO);
        spares.died(0);
        assert_eq!(spares.delay(), FIRST_DELAY);
        spares.died(1);
        assert_eq!(spares.delay(), FIRST_DELAY * 2);
        (0..1000).for_each(|_| spares.died(0));
        assert_eq!(spares.delay(), LONGEST_DELAY);
        spares.died(YOUNG);
        assert_eq!(spares.delay(), Duration::ZERO);
    }
}
