//! The desk of one VM on its worker: carries out what the VM asked for, and tells it what came of it.
//!
//! It ends with its VM: what is under way then is dropped, and nobody else hears of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::task::AbortHandle;
use tollgate_abi::{CalloutFailure, CalloutId, GrpcEvent, QueueId, SharedQueues};

use crate::filter::callout::dns::Resolver;
use crate::filter::callout::grpc::GrpcQuestion;
use crate::filter::callout::ledger::{self, Ledger};
use crate::filter::callout::{CalleeId, Event, Question, Reach, Task};
use crate::filter::plugin::Plugin;
use crate::telemetry::metrics::{CalloutKind, CalloutSeries, PluginSeries};
use crate::upstream::cluster::Cluster;
use crate::upstream::resolve::Resolve;

/// What gRPC calls the failure of a callout that reaches nobody.
const UNAVAILABLE: u32 = 14;

/// What a desk works with, on one worker.
#[derive(Clone)]
pub struct Means {
    /// What the plugin may reach.
    pub reach: Arc<Reach>,
    /// Who looks names up for it.
    pub resolver: Arc<dyn Resolve>,
    /// The clusters of [`Reach::calls`], in that order, as this worker uses them at the moment.
    pub callees: Rc<RefCell<Vec<LocalCallee>>>,
    /// What this worker counts about the plugin, and about callouts that were refused.
    pub series: (Arc<PluginSeries>, Arc<CalloutSeries>),
    /// Exchanges and connections in flight on this worker.
    pub crowd: Rc<Cell<usize>>,
    /// The queues of the process, and the most messages in one of the plugin's own.
    pub queues: (Arc<SharedQueues>, usize),
}

/// A cluster that a plugin may call, on one worker.
#[derive(Clone)]
pub struct LocalCallee {
    /// Its connections; absent once the configuration has no cluster of that name.
    pub cluster: Option<Rc<Cluster>>,
    /// What this worker counts about the plugin's callouts to it.
    pub series: Arc<CalloutSeries>,
}

/// See the module.
pub struct Desk {
    plugin: Weak<Plugin>,
    means: Means,
    resolver: Resolver,
    /// Bounded by what the VM may ask for at one time.
    tasks: RefCell<HashMap<Task, AbortHandle>>,
}

impl Desk {
    /// The desk of a VM that arrives at the plugin's worker.
    pub fn new(plugin: Weak<Plugin>, means: Means) -> Rc<Self> {
        let resolver = Resolver::new(&means.resolver);
        Rc::new(Self { plugin, means, resolver, tasks: RefCell::default() })
    }

    /// Where refused callouts are counted.
    pub fn nowhere(&self) -> &Arc<CalloutSeries> {
        &self.means.series.1
    }

    /// Begins what the VM asks for.
    pub fn take(self: &Rc<Self>, question: Question) {
        match question {
            Question::Http(id, question) => {
                let (hops, limit) = (question.hops.saturating_sub(1), self.means.reach.body);
                let Some((cluster, series)) = self.callee(question.callee) else {
                    let nobody = std::future::ready(Event::HttpEnded(id, Err(CalloutFailure::Connect)));
                    return self.run(Task::Callout(id), hops, nobody);
                };
                let ledger = self.ledger(&series, CalloutKind::Http);
                self.run(Task::Callout(id), hops, async move {
                    let outcome = question.ask(&cluster, limit).await;
                    ledger.close(ledger::outcome(&outcome));
                    Event::HttpEnded(id, outcome)
                });
            }
            Question::Grpc(id, question) => self.talk(id, *question),
            Question::Resolve(token, name) => {
                let desk = Rc::clone(self);
                self.run(Task::Resolve(token), 0, async move {
                    Event::Resolved(token, desk.resolver.resolve(&name, desk.means.reach.patience).await)
                });
            }
            Question::Timer(timer, after) => self.run(Task::Timer(timer), 0, async move {
                tokio::time::sleep(after).await;
                Event::TimerFired(timer)
            }),
        }
    }

    fn talk(self: &Rc<Self>, id: CalloutId, question: GrpcQuestion) {
        let (hops, limit) = (question.hops.saturating_sub(1), self.means.reach.body);
        let Some((cluster, series)) = self.callee(question.callee) else {
            let closed = GrpcEvent::Closed { status: UNAVAILABLE, message: CalloutFailure::Connect.to_string() };
            return self.run(Task::Callout(id), hops, std::future::ready(Event::Grpc(id, closed)));
        };
        let ledger = self.ledger(&series, CalloutKind::Grpc);
        let desk = Rc::clone(self);
        let talking = tokio::task::spawn_local(async move {
            let tell = |event| desk.tell(hops, Event::Grpc(id, event));
            let (last, ending) = question.talk(&cluster, limit, tell).await;
            ledger.close(ending.outcome);
            desk.tasks.borrow_mut().remove(&Task::Callout(id));
            last.into_iter().for_each(tell);
        });
        self.tasks.borrow_mut().insert(Task::Callout(id), talking.abort_handle());
    }

    /// Has the plugin told of the messages of a queue from now on.
    pub fn listen(&self, queue: QueueId) {
        if let Some(plugin) = self.plugin.upgrade() {
            plugin.listen(queue);
        }
    }

    /// True while a callout or a look-up is under way.
    pub fn is_waiting(&self) -> bool {
        self.tasks.borrow().keys().any(|task| !matches!(task, Task::Timer(_)))
    }

    /// Drops something under way.
    pub fn cancel(&self, task: Task) {
        if let Some(task) = self.tasks.borrow_mut().remove(&task) {
            task.abort();
        }
    }

    /// Drops everything: the VM is gone.
    pub fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.into_values().for_each(|task| task.abort());
    }

    fn callee(&self, CalleeId(place): CalleeId) -> Option<(Rc<Cluster>, Arc<CalloutSeries>)> {
        let callees = self.means.callees.borrow();
        let LocalCallee { cluster, series } = callees.get(place)?;
        Some((cluster.clone()?, Arc::clone(series)))
    }

    fn ledger(&self, series: &Arc<CalloutSeries>, kind: CalloutKind) -> Ledger {
        Ledger::open(Arc::clone(&self.means.series.0), Arc::clone(series), kind)
    }

    /// Works on a task of its own, and tells the VM what came of it. `hops`: how many callouts led to what asked.
    fn run(self: &Rc<Self>, task: Task, hops: u8, work: impl Future<Output = Event> + 'static) {
        let desk = Rc::clone(self);
        let working = tokio::task::spawn_local(async move {
            let event = work.await;
            desk.tasks.borrow_mut().remove(&task);
            desk.tell(hops, event);
        });
        self.tasks.borrow_mut().insert(task, working.abort_handle());
    }

    fn tell(&self, hops: u8, event: Event) {
        if let Some(plugin) = self.plugin.upgrade() {
            plugin.deliver(self, hops, event);
        }
    }
}
