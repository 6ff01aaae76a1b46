//! The reloader at work: takes orders, publishes what is ready, and judges canaries.

mod ahead;
mod configure;
mod plugins;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use self::ahead::Ahead;
use self::configure::Deferred;
use super::{Answer, Asked, Order, Orders, Refused, Reloader};
use crate::filter::modules::Ready;
use crate::filter::rollout::{Cause, Followed, Rollout, Trigger};
use crate::filter::slot::Slot;
use crate::filter::spares;
use crate::listener::Socket;
use crate::snapshot::{ListenerId, Snapshot};
use crate::upstream::resolve::Resolvers;
use crate::worker::Shared;

/// How often canaries are judged and what waits is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long it sleeps when there is nothing to look at.
const REST: Duration = Duration::from_secs(3600);
/// The same while something waits for the time of day, which may be set.
const NAP: Duration = Duration::from_secs(60);
/// The shortest time between two publications: of faster changes the newest wins.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a worker is told about its sockets.
#[derive(Debug)]
pub(in crate::app) enum Change {
    /// Accept here too.
    Open(Vec<Socket>),
    /// Accept no more for this listener, and let its connections end.
    Close(ListenerId),
}

/// What the reloader acts on.
pub(in crate::app) struct Surroundings {
    /// What the workers read.
    pub(in crate::app) shared: Arc<Shared>,
    /// Where the starters of spare VMs run.
    pub(in crate::app) control: Handle,
    /// One for each worker.
    pub(in crate::app) hands: Vec<mpsc::UnboundedSender<Change>>,
    /// Which files are to be followed.
    pub(in crate::app) follow: watch::Sender<Vec<Followed>>,
    /// Who looks up the names of endpoints.
    pub(in crate::app) resolvers: Arc<Resolvers>,
}

/// See the module.
pub(in crate::app) struct Live {
    reloader: Reloader,
    around: Surroundings,
    sight: Arc<ArcSwap<super::Sight>>,
    asked: Receiver<Asked>,
    /// Taken from `asked` and not yet carried out.
    waiting: VecDeque<Asked>,
    deferred: Option<Deferred>,
    ahead: Ahead,
    /// Orders that were taken, and the one that is carried out.
    taken: u64,
    number: u64,
    /// Snapshots that were replaced, until no worker has them: dropping one of many routes takes longer than a worker may.
    replaced: Vec<Arc<Snapshot>>,
    /// When the last snapshot was published.
    published: Instant,
    /// When it last looked around.
    looked: Instant,
}

impl Live {
    /// A reloader at work, and where it takes orders.
    pub(in crate::app) fn new(reloader: Reloader, around: Surroundings) -> (Self, Orders) {
        let (send, asked) = channel();
        let sight = Arc::new(ArcSwap::from_pointee(reloader.sight()));
        let orders = Orders { send: Arc::new(send), sight: Arc::clone(&sight) };
        let (waiting, now) = (VecDeque::new(), Instant::now());
        let ahead = Ahead::new(Arc::downgrade(&orders.send));
        let (deferred, replaced, published, looked) = (None, Vec::new(), now, now);
        let (taken, number) = (0, 0);
        let live = Self {
            reloader,
            around,
            sight,
            asked,
            waiting,
            deferred,
            ahead,
            taken,
            number,
            replaced,
            published,
            looked,
        };
        live.introduce(&live.reloader.slots());
        live.keep();
        live.show();
        (live, orders)
    }

    /// Carries orders out until nobody is left to give any.
    pub(in crate::app) fn run(mut self) {
        loop {
            match self.next() {
                Ok(Some(asked)) => {
                    // One that needs code comes back with it.
                    if let Some(asked) = self.contained(|live| live.admit(asked)).flatten() {
                        self.turn(asked);
                    }
                }
                Ok(None) => {
                    self.contained(Live::look);
                    // Afterwards, so that orders have their turn however long a look takes.
                    self.looked = Instant::now();
                }
                Err(()) => return,
            }
        }
    }

    fn turn(&mut self, asked: Asked) {
        let Asked { order, began, reply, number, .. } = asked;
        self.number = number;
        let answer = self.contained(|live| live.carry_out(order, began)).unwrap_or(Err(Refused::Bug));
        self.reloader.modules.take(Ready::default());
        self.show();
        // Whoever reads the log is seldom whoever asked.
        match &answer {
            // An order that makes no sense is nobody's trouble but its sender's.
            Err(refused @ (Refused::Unknown { .. } | Refused::Nothing(..))) => tracing::warn!("{refused}"),
            Err(refused) => tracing::error!("{refused}"),
            Ok(_) => {}
        }
        // Whoever asked may have gone.
        drop(reply.map(|reply| reply.send(answer)));
    }

    /// A bug of ours ends what it strikes and not what comes after: whatever is changed is put in place as a whole.
    fn contained<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        // The hook has said what there is to say.
        outcome.inspect_err(|_| self.reloader.give_up()).ok()
    }

    /// The next order; `None` when it is time to look around; `Err` when there will be none.
    fn next(&mut self) -> Result<Option<Asked>, ()> {
        // However many orders come, rules are asked.
        if self.is_moving() && self.looked.elapsed() >= LOOK {
            return Ok(None);
        }
        if self.waiting.is_empty() {
            let patience = if self.is_moving() { LOOK } else { self.rest() };
            match self.asked.recv_timeout(patience) {
                Ok(asked) => self.take(asked),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(()),
            }
        }
        while let Ok(asked) = self.asked.try_recv() {
            self.take(asked);
        }
        Ok(self.waiting.pop_front())
    }

    fn take(&mut self, mut asked: Asked) {
        // One that comes back has its number.
        if asked.number == 0 {
            self.taken += 1;
            asked.number = self.taken;
        }
        self.waiting.push_back(asked);
    }

    /// True while something may change without an order.
    fn is_moving(&self) -> bool {
        let reloader = &self.reloader;
        let leaving = !reloader.gone.is_empty() || !self.replaced.is_empty();
        self.deferred.is_some() || leaving || self.is_due() || reloader.rollouts.iter().any(Rollout::is_moving)
    }

    /// True once files may be good that were refused for the time.
    fn is_due(&self) -> bool {
        self.reloader.tls.due().is_some_and(|due| due <= SystemTime::now())
    }

    /// How long nothing is to be looked at, without an order.
    fn rest(&self) -> Duration {
        let left = |due: SystemTime| due.duration_since(SystemTime::now()).unwrap_or_default();
        self.reloader.tls.due().map_or(REST, |due| left(due).min(NAP))
    }

    fn carry_out(&mut self, order: Order, began: Instant) -> Answer {
        let cause = |trigger| Cause { trigger, began };
        match order {
            Order::Reload(trigger) => self.reload(cause(trigger)),
            Order::Configure(config) => self.configure(*config, cause(Trigger::Admin)),
            Order::Look(files) => self.look_at(&files, cause(Trigger::File)),
            Order::Stage(name, bytes) => self.stage(&name, bytes, cause(Trigger::Admin)),
            Order::Promote(name) => self.promote(&name, cause(Trigger::Admin)),
            Order::Rollback(name) => self.roll_back(&name, cause(Trigger::Admin)),
            Order::Canary(name, share) => self.try_out(&name, share, cause(Trigger::Admin)),
        }
    }

    /// Judges canaries, and takes up what waited for room or for its time.
    fn look(&mut self) {
        for place in 0..self.reloader.rollouts.len() {
            let rollout = &mut self.reloader.rollouts[place];
            rollout.tidy();
            if let Some((steps, cause)) = rollout.unpark() {
                self.step(place, steps, cause);
            }
            self.judge(place);
        }
        if self.is_due() {
            let (_, unfit) = self.reloader.tls.refresh(&[], &self.around.shared.registry);
            unfit.iter().for_each(|fault| tracing::error!("{fault}"));
        }
        self.reloader.gone.retain(|generation| generation.residents() > 0);
        self.replaced.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.resume();
        self.show();
    }

    /// One store; exchanges that begin from here on see it.
    fn publish(&mut self, snapshot: impl FnOnce(&Snapshot, &Reloader) -> Snapshot) {
        std::thread::sleep(INTERVAL.saturating_sub(self.published.elapsed()));
        let shared = &self.around.shared;
        let fresh = snapshot(&shared.snapshot.load(), &self.reloader);
        self.introduce(&fresh.slots);
        self.replaced.push(shared.snapshot.swap(Arc::new(fresh)));
        self.published = Instant::now();
    }

    /// Names what serves to whoever counts, and has its spares filled as long as there is one.
    fn introduce(&self, slots: &[Slot]) {
        let generations = || slots.iter().flat_map(Slot::generations);
        self.around.shared.registry.set_modules(generations().map(|generation| generation.describe()));
        for generation in generations().filter(|generation| generation.spares.begin()) {
            self.around.control.spawn(spares::keep(Arc::downgrade(generation), Arc::clone(&generation.spares)));
        }
    }

    /// Has somebody look after the endpoints of every cluster.
    fn keep(&self) {
        let Self { reloader, around, .. } = self;
        let clients = reloader.tls.parties(&reloader.config).clients;
        let clusters = reloader.fleets.iter().zip(clients);
        clusters.for_each(|(fleet, tls)| fleet.keep(&around.control, &around.resolvers, tls));
    }

    fn show(&self) {
        self.sight.store(Arc::new(self.reloader.sight()));
        let files = self.reloader.files();
        self.around.follow.send_if_modified(|known| {
            let differs = *known != files;
            *known = files;
            differs
        });
    }
}
