//! VMs in waiting: a worker takes one when it takes a generation up, and another at once when its own dies; the control side
//! starts the next.
//!
//! The lock guards a short queue and is taken only then. Starts that fail are slowed down: each costs its neighbours CPU.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::filter::fault::Fault;
use crate::filter::generation::{Generation, ReadyVm};

/// VMs of one plugin that are kept ready.
pub const READY: usize = 1;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// How long the next try is held back after so many failures in a row; zero after none.
pub fn delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST_DELAY.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_DELAY),
    }
}

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
    failed_starts: AtomicU32,
    /// True once somebody keeps them filled.
    begun: AtomicBool,
    /// True once nobody takes VMs any more.
    closed: AtomicBool,
}

impl Spares {
    /// Takes a VM that is ready, and has the next one started. `again`: this worker asked before, in vain.
    pub fn take(&self, again: bool) -> Option<ReadyVm> {
        let vm = self.ready().pop_front();
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
        self.ready().push_back(vm);
        self.arrived.notify_waiters();
    }

    /// True when a VM waits.
    pub fn has_ready(&self) -> bool {
        !self.ready().is_empty()
    }

    /// Completes when a VM was added, or waiting for one makes no sense.
    pub fn arrived(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }

    /// How long the next start is held back.
    pub fn delay(&self) -> Duration {
        delay(self.failed_starts.load(Relaxed))
    }

    /// True once: whoever asks first keeps them filled.
    pub fn begin(&self) -> bool {
        !self.begun.swap(true, Relaxed)
    }

    /// Nobody takes VMs any more: those that wait go, and none is started.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
        let gone = std::mem::take(&mut *self.ready());
        drop(gone);
        self.wanted.notify_one();
    }

    fn lacking(&self) -> bool {
        let ready = self.ready().len();
        let missing = usize::try_from(self.missing.load(Relaxed)).unwrap_or(0);
        ready < READY.saturating_add(missing)
    }

    fn started(&self, vm: ReadyVm) {
        self.failed_starts.store(0, Relaxed);
        self.add(vm);
    }

    /// A start came to nothing: the next one is held back, and whoever waits looks again.
    fn hold_back(&self) {
        self.failed_starts.fetch_add(1, Relaxed);
        self.arrived.notify_waiters();
    }

    fn failed(&self, fault: &Fault) {
        self.hold_back();
        tracing::error!(filter = fault.plugin, "{fault}");
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<ReadyVm>> {
        // Every change is complete before the guard drops.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the spares of a generation filled as long as there is one. Starting runs on a blocking thread, never here.
pub async fn keep(generation: Weak<Generation>, spares: Arc<Spares>) {
    while !spares.closed.load(Relaxed) {
        if !spares.lacking() {
            spares.wanted.notified().await;
            continue;
        }
        tokio::time::sleep(spares.delay()).await;
        let Some(starting) = generation.upgrade() else { return };
        match tokio::task::spawn_blocking(move || starting.start_vm()).await {
            Ok(Ok(vm)) => spares.started(vm),
            Ok(Err(fault)) => spares.failed(&fault),
            // A bug of the proxy's own, which was logged where it happened, must not end the filling for good.
            Err(error) if error.is_panic() => spares.hold_back(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_that_fail_slow_down_to_a_minute() {
        assert_eq!(delay(0), Duration::ZERO);
        assert_eq!(delay(1), FIRST_DELAY);
        assert_eq!(delay(2), FIRST_DELAY * 2);
        assert_eq!(delay(1000), LONGEST_DELAY);
    }
}
