//! The end of the process: announce it, let exchanges finish, then close.
//!
//! Until the last exchange ends, new connections are accepted and served once, so that nobody who has not heard of the
//! end yet is refused. Outbound listeners serve as usual until the others are done: an application that is asked for
//! something asks others for it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use tollgate_config::Direction;

use crate::snapshot::Listener;
use crate::worker::{First, Shared};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long clients may take to fetch last bytes and close, once no exchange is left.
const FAREWELL: Duration = Duration::from_millis(500);
/// What is left of the time, at the most, once outbound listeners drain, too: a fifth of it, or this.
const LAST_TURN: Duration = Duration::from_secs(5);
/// How long a filter may take to end once it was told.
const ROOT_PATIENCE: Duration = Duration::from_secs(5);

/// What the workers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything as usual.
    Serving,
    /// Connections close after their exchange, but for those of outbound listeners.
    DrainingFirst,
    /// Connections close after their exchange.
    Draining,
    /// Filters are told that they go away; those that ask for time get it.
    Retiring,
    /// Workers end, whatever is left.
    Ended,
}

/// What a running proxy may be told by its own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End gracefully; said twice, end at once.
    Drain,
}

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them over; must be called on a runtime.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
    }
}

/// Whatever tells the process to end.
pub struct Bells {
    /// Absent in a process that belongs to somebody else.
    pub signals: Option<Signals>,
    /// From `Running`.
    pub ordered: mpsc::UnboundedReceiver<Order>,
    /// Another process has taken the place of this one.
    pub succeeded: Arc<Notify>,
    /// True once that rang, and nothing else.
    pub by_successor: bool,
}

impl Bells {
    /// Completes at the first signal or order, when nobody is left to give one, or when a successor serves.
    pub async fn ring(&mut self) {
        let succeeded = Arc::clone(&self.succeeded);
        tokio::select! {
            () = self.told() => {}
            () = succeeded.notified() => self.by_successor = true,
        }
    }

    /// Completes at the next one, which is not the signal that commonly follows a successor, nor a successor.
    async fn ring_again(&mut self) {
        if self.by_successor {
            self.told().await;
            self.by_successor = false;
        }
        self.told().await;
    }

    async fn told(&mut self) {
        match &mut self.signals {
            Some(signals) => signals.received().await,
            None => drop(self.ordered.recv().await),
        }
    }
}

/// Drains the workers within `timeout`; another ring hurries. Afterwards the workers end.
pub async fn drain(shared: &Shared, phase: &watch::Sender<Phase>, timeout: Duration, bells: &mut Bells) {
    let deadline = Instant::now() + timeout;
    let mut hurried = false;
    if has_order(shared) {
        phase.send_replace(Phase::DrainingFirst);
        let turn = deadline - (timeout / 5).min(LAST_TURN);
        hurried = unless_rung(bells, first_finished(shared, turn)).await;
    }
    if !hurried {
        phase.send_replace(Phase::Draining);
        hurried = unless_rung(bells, finished(shared, deadline)).await;
    }
    let left = exchanges(shared);
    if left > 0 {
        tracing::warn!(exchanges = left, "ended with exchanges in flight");
    }
    if !hurried {
        phase.send_replace(Phase::Retiring);
        unless_rung(bells, retired(shared, deadline.min(Instant::now() + ROOT_PATIENCE))).await;
    }
    phase.send_replace(Phase::Ended);
}

/// Waits for `end`; true when told to end at once instead.
async fn unless_rung(bells: &mut Bells, end: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = end => false,
        () = bells.ring_again() => {
            tracing::warn!("told twice: ending at once");
            true
        }
    }
}

/// True where some listeners drain before others.
fn has_order(shared: &Shared) -> bool {
    let snapshot = shared.snapshot.load();
    let is_last = |listener: &&Arc<Listener>| listener.direction == Direction::Outbound;
    let last = snapshot.listeners.iter().filter(is_last).count();
    last > 0 && last < snapshot.listeners.len()
}

async fn first_finished(shared: &Shared, deadline: Instant) {
    let sum = |count: fn(&First) -> &AtomicUsize| -> usize {
        shared.loads.iter().map(|load| count(&load.first).load(Relaxed)).sum()
    };
    // What a worker has is known once it has looked.
    let counted = || shared.loads.iter().all(|load| load.first.counted.load(Acquire));
    let busy = || if counted() { sum(|first| &first.busy) } else { 1 };
    quiet(deadline, busy, || sum(|first| &first.connections)).await;
}

async fn finished(shared: &Shared, deadline: Instant) {
    quiet(deadline, || exchanges(shared) + heads(shared), || shared.connections.load(Relaxed)).await;
}

/// Waits until nothing is under way, and clients have closed or had time for it.
async fn quiet(deadline: Instant, busy: impl Fn() -> usize, connections: impl Fn() -> usize) {
    let mut quiet_since = None;
    while Instant::now() < deadline {
        let quiet = busy() == 0;
        let since = *quiet_since.get_or_insert_with(Instant::now);
        if quiet && (connections() == 0 || since.elapsed() >= FAREWELL) {
            return;
        }
        if !quiet {
            quiet_since = None;
        }
        sleep(LOOK).await;
    }
}

/// Waits until every worker's filters are gone.
async fn retired(shared: &Shared, deadline: Instant) {
    while Instant::now() < deadline && shared.serving.load(Relaxed) > 0 {
        sleep(LOOK).await;
    }
}

/// Requests that are on their way.
fn heads(shared: &Shared) -> usize {
    shared.loads.iter().map(|load| load.heads.load(Relaxed)).sum()
}

fn exchanges(shared: &Shared) -> usize {
    shared.loads.iter().map(|load| load.exchanges.load(Relaxed) + load.passages.load(Relaxed)).sum()
}
