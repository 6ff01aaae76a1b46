//! What reaches a plugin's root context from outside an exchange: ticks, and word of messages in queues.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::Failure;

use super::{Plugin, SPARE_WAIT};
use crate::filter::callout::mailbox::Mailbox;
use crate::filter::generation::ReadyVm;
use crate::filter::host::Ticker;
use crate::filter::spares;

impl Plugin {
    fn tick(&self) {
        // A VM that died when none was to spare is replaced here even if no exchange asks for it.
        self.revive();
        let before = self.incarnation.get();
        self.enter_root(|vm| {
            vm.host_mut().follow(0);
            vm.tick()
        });
        if self.incarnation.get() == before {
            self.failed_ticks.set(0);
        }
    }

    /// How long ticks rest after some that killed their VM. Exchanges have a fresh one meanwhile.
    fn rest(&self) -> Duration {
        spares::delay(self.failed_ticks.get())
    }

    /// Has the root context look at something that no exchange is charged for.
    pub(super) fn enter_root(&self, call: impl FnOnce(&mut ReadyVm) -> Result<(), Failure>) {
        let mut guard = self.vm.borrow_mut();
        let Some(vm) = guard.as_mut() else { return };
        let outcome = call(vm);
        self.charge(vm.host_mut().take_times().0);
        let over = self.retiring.get() && vm.is_done();
        match outcome {
            Err(failure) => {
                *guard = None;
                drop(guard);
                self.replace(&failure);
            }
            Ok(()) => {
                drop(guard);
                if over {
                    self.end();
                }
            }
        }
    }
}

/// Tells the VM of messages, one word after the other, as long as there is a plugin. Without a VM, waits for one: no
/// exchange may ever ask for it.
pub(super) async fn read(plugin: Weak<Plugin>, mailbox: Arc<Mailbox>) {
    loop {
        let queue = mailbox.next().await;
        loop {
            let Some(plugin) = plugin.upgrade() else { return };
            if plugin.vm.borrow().is_some() || plugin.ready().await {
                plugin.enter_root(|vm| {
                    vm.host_mut().follow(0);
                    vm.queue_ready(queue)
                });
                break;
            }
            drop(plugin);
            tokio::time::sleep(SPARE_WAIT).await;
        }
        // However many messages wait, exchanges have their turn.
        tokio::task::yield_now().await;
    }
}

/// Rings the root context's timer, and ends with the plugin.
pub(super) async fn tick(plugin: Weak<Plugin>, ticker: Rc<Ticker>) {
    loop {
        let due = match ticker.period.get() {
            Some(period) => tokio::time::timeout(period, ticker.changed.notified()).await.is_err(),
            None => {
                ticker.changed.notified().await;
                false
            }
        };
        let Some(plugin) = plugin.upgrade() else { return };
        if !due {
            continue;
        }
        plugin.tick();
        let rest = plugin.rest();
        drop(plugin);
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
    }
}
