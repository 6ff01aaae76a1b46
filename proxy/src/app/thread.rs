//! A worker's thread: takes its sockets, obeys the phases of the process, and looks after timeouts.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::app::drain::Phase;
use crate::app::reload::Change;
use crate::listener::{self, Handed};
use crate::snapshot::ListenerId;
use crate::telemetry::panics::outlive;
use crate::worker::{Shared, Worker};

/// How often timeouts are looked at: the slack of every timeout.
const SWEEP: Duration = Duration::from_millis(100);
/// A round that takes longer was held up.
const LATE: Duration = Duration::from_millis(500);
/// Sweeps between looks at what costs more than a comparison.
const SLOW_SWEEP: u32 = 10;

/// What a worker is started with.
pub(super) struct Assignment {
    /// Its number.
    pub(super) index: usize,
    /// What all workers share.
    pub(super) shared: Arc<Shared>,
    /// Which sockets it accepts connections on, first and later.
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
    /// Connections that other workers accepted for it.
    pub(super) handed: mpsc::UnboundedReceiver<Handed>,
    /// Where it hands connections to others.
    pub(super) hand: Vec<mpsc::UnboundedSender<Handed>>,
    /// What the process is doing.
    pub(super) phase: watch::Receiver<Phase>,
}

/// Runs a worker until the phase is `Retiring`, and until its filters are gone or the phase is `Ended`. Its tasks end with its runtime.
pub(super) async fn run(assignment: Assignment) {
    let Assignment { index, shared, changes, handed, hand, mut phase } = assignment;
    let worker = Worker::new(index, shared);
    let hand: Rc<[_]> = hand.into();
    let accepting = [
        tokio::task::spawn_local(accept(Rc::clone(&worker), changes, hand)),
        tokio::task::spawn_local(listener::receive(Rc::clone(&worker), handed)),
    ];
    let swept = Rc::downgrade(&worker);
    tokio::task::spawn_local(outlive(async move || sweep(&swept).await));
    worker.shared.registry.beat(index, Instant::now());
    outlive(async || obey(&worker, &mut phase).await).await;
    // Nobody is let in to filters that go away.
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    outlive(async || worker.retire(ended(&mut phase)).await).await;
    worker.shared.serving.fetch_sub(1, Relaxed);
    worker.shared.registry.end_beat(index);
}

/// Accepts connections on the sockets that the worker is given, until it is told to leave them or ends.
async fn accept(
    worker: Rc<Worker>,
    mut changes: mpsc::UnboundedReceiver<Change>,
    hand: Rc<[mpsc::UnboundedSender<Handed>]>,
) {
    let mut open: HashMap<ListenerId, Vec<oneshot::Sender<()>>> = HashMap::new();
    // Aborted with this task.
    let mut accepting = JoinSet::new();
    let mut serves = false;
    while let Some(change) = changes.recv().await {
        match change {
            Change::Open(sockets) => {
                for socket in sockets {
                    let (close, closing) = oneshot::channel();
                    open.entry(socket.listener).or_default().push(close);
                    accepting.spawn_local(listener::accept(Rc::clone(&worker), socket, Rc::clone(&hand), closing));
                }
                if !std::mem::replace(&mut serves, true) {
                    worker.shared.serving.fetch_add(1, Relaxed);
                }
            }
            Change::Close(id) => {
                drop(open.remove(&id));
                seen().await;
                worker.drain_listener(id);
            }
        }
        while accepting.try_join_next().is_some() {}
    }
}

async fn obey(worker: &Worker, phase: &mut watch::Receiver<Phase>) {
    loop {
        #[cfg(test)]
        crate::telemetry::panics::sabotage::pass("obey");
        let told = *phase.borrow_and_update();
        seen().await;
        match told {
            Phase::Serving => {}
            Phase::DrainingFirst => worker.drain_first(),
            Phase::Draining => worker.drain(),
            Phase::Retiring | Phase::Ended => return,
        }
        // The sender lives as long as the process serves; without it there is nothing left to obey.
        if phase.changed().await.is_err() {
            return;
        }
    }
}

/// Completes once the runtime has seen what came until now, so that connections read it before they hear of an end.
async fn seen() {
    tokio::task::yield_now().await;
}

/// Completes when nobody has time any more.
async fn ended(phase: &mut watch::Receiver<Phase>) {
    // Without a sender there is nobody to give any.
    let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
}

/// Looks after timeouts until the worker is gone.
async fn sweep(worker: &Weak<Worker>) {
    let (mut rounds, mut leniency) = (0_u32, Leniency::default());
    loop {
        let slept = Instant::now();
        tokio::time::sleep(SWEEP).await;
        let Some(worker) = worker.upgrade() else { return };
        let now = worker.clock.look();
        worker.shared.registry.beat(worker.index, now);
        if leniency.skips(now.duration_since(slept)) {
            continue;
        }
        #[cfg(test)]
        crate::telemetry::panics::sabotage::pass("sweep");
        worker.sweep_exchanges();
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(SLOW_SWEEP) {
            worker.sweep_slowly();
        }
    }
}

/// What arrived while the worker was held up, or the process stopped, is read before anything counts as overdue.
#[derive(Default)]
struct Leniency {
    /// True once the last round was skipped: a worker that is held up over and over looks after every other round.
    skipped: bool,
}

impl Leniency {
    /// True when nothing is to count as overdue after a round that took so long.
    fn skips(&mut self, round: Duration) -> bool {
        self.skipped = round > LATE && !self.skipped;
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_held_up_all_the_time_still_looks_at_timeouts() {
        let mut leniency = Leniency::default();
        let late = LATE + Duration::from_millis(1);

        let skips = [late, late, late, LATE, late].map(|round| leniency.skips(round));

        assert_eq!(skips, [true, false, true, false, true]);
    }
}
