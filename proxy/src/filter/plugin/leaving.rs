//! How a plugin ends on its worker: its root context is told and may ask for time, then its VM goes.

use std::sync::atomic::Ordering::Relaxed;

use super::Plugin;

impl Plugin {
    /// Tells the root context that its plugin goes away. Exchanges that are still there are abandoned. A root context that
    /// asks for time still hears of ticks, queues, timers and callouts, until it says that it is done or [`Plugin::end`].
    pub fn retire(&self) {
        if self.retiring.replace(true) {
            return;
        }
        self.incarnation.set(self.incarnation.get().wrapping_add(1));
        self.contexts.abandon();
        self.enter_root(|vm| {
            vm.host_mut().follow(0);
            vm.finish().map(drop)
        });
    }

    /// Abandons its exchanges, and stays for the connections that are passed on.
    pub fn shut_out_exchanges(&self) {
        if !self.shut.replace(true) {
            self.contexts.abandon_exchanges();
        }
    }

    /// True once exchanges are to go without it, or not at all.
    pub fn shuts_out_exchanges(&self) -> bool {
        self.whole().shut.get()
    }

    /// Completes when no VM is left after [`Plugin::retire`].
    pub async fn retired(&self) {
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.vm.borrow().is_none() {
                return;
            }
            gone.await;
        }
    }

    /// Ends the VM in order, whether its root context is done or not.
    pub fn end(&self) {
        self.retire();
        let vm = self.vm.borrow_mut().take();
        self.sample();
        if let Some(vm) = vm {
            vm.retire();
        }
        self.mail.close();
        self.leave();
        self.gone.notify_waiters();
    }

    /// The generation counts this worker no longer.
    pub(super) fn leave(&self) {
        if self.resident.replace(false) {
            self.generation.residents.fetch_sub(1, Relaxed);
        }
    }
}
