//! What a VM asks of others: checked at once, kept until the VM settles on its worker, then handed to its desk.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fragile::Fragile;
use tollgate_abi::{CalloutId, CalloutRefusal, ContextId, GrpcCall, GrpcEvent, HttpCall, QueueId};

use crate::exchange::lent::Lent;
use crate::filter::callout::desk::Desk;
use crate::filter::callout::grpc::GrpcQuestion;
use crate::filter::callout::grpc::outbox::Outbox;
use crate::filter::callout::http::HttpQuestion;
use crate::filter::callout::{Event, Question, Reach, Task, hops, ledger};
use crate::telemetry::metrics::CalloutSeries;

/// The shortest one-shot timer: a faster one would be a loop through the worker.
const SHORTEST_TIMER: Duration = Duration::from_millis(1);

/// See the module.
pub struct Asking {
    reach: Arc<Reach>,
    /// What was asked before the VM settled, at most as much as a VM may have under way.
    kept: Vec<Question>,
    /// Where messages of gRPC streams go that the guest may still send on.
    outboxes: HashMap<CalloutId, Outbox>,
    /// Queues that were registered before the VM settled: a spare VM must not take their word from one that serves.
    queues: Vec<QueueId>,
    desk: Option<Fragile<Rc<Desk>>>,
    /// How many callouts led to what the guest is told of at the moment.
    base: u8,
    /// How many led to the exchange that it turned to, if more.
    hops: u8,
    /// The context that it turned to.
    turned: Option<ContextId>,
    /// For whom a callout was refused because it would go round.
    looped: Vec<Option<ContextId>>,
    /// Where refused callouts are counted.
    nowhere: Arc<CalloutSeries>,
}

impl Asking {
    /// Nothing asked yet. `nowhere` counts what a starting VM is refused.
    pub fn new(reach: Arc<Reach>, nowhere: Arc<CalloutSeries>) -> Self {
        Self {
            reach,
            kept: Vec::new(),
            outboxes: HashMap::new(),
            queues: Vec::new(),
            desk: None,
            base: 0,
            hops: 0,
            turned: None,
            looped: Vec::new(),
            nowhere,
        }
    }

    /// Hands over what was kept. Timers run from here.
    pub(super) fn settle(&mut self, desk: Rc<Desk>) {
        self.nowhere = Arc::clone(desk.nowhere());
        std::mem::take(&mut self.queues).into_iter().for_each(|queue| desk.listen(queue));
        std::mem::take(&mut self.kept).into_iter().for_each(|question| desk.take(question));
        self.desk = Some(Fragile::new(desk));
    }

    /// Queues that were registered before it settled.
    pub(super) fn queues(&self) -> &[QueueId] {
        &self.queues
    }

    /// True while the guest waits for a callout or a look-up.
    pub(super) fn is_waiting(&self) -> bool {
        self.desk().is_some_and(|desk| desk.is_waiting())
    }

    /// True when that desk is this VM's.
    pub(super) fn is_of(&self, desk: &Desk) -> bool {
        self.desk().is_some_and(|own| std::ptr::eq(Rc::as_ptr(own), desk))
    }

    /// What the guest is told of next came after so many callouts.
    pub(super) fn follow(&mut self, hops: u8) {
        (self.base, self.hops) = (hops, hops);
        self.turned = None;
        self.looped.clear();
    }

    /// The guest turns to another exchange.
    pub(super) fn turn_to(&mut self, context: ContextId, lent: &Lent) {
        if !self.reach.calls.is_empty() {
            self.turned = Some(context);
            self.hops = self.base.max(hops::of_lent(lent));
        }
    }

    /// The guest is about to hear of the end of this.
    pub(super) fn forget(&mut self, event: &Event) {
        if let Event::Grpc(id, GrpcEvent::Closed { .. }) = event {
            self.outboxes.remove(id);
        }
    }

    /// True when a callout was refused since `follow` because it would go round: one for this context, if the guest turned
    /// to it, or for the one it was entered with.
    pub(super) fn looped(&self, turned: Option<ContextId>) -> bool {
        self.looped.contains(&turned)
    }

    /// A callout was refused, here or before it came here.
    pub(super) fn refused(&self, hostcall: &str, why: &CalloutRefusal) {
        ledger::refused(&self.nowhere, hostcall, why);
    }

    pub(super) fn http(&mut self, id: CalloutId, call: HttpCall) -> Result<(), CalloutRefusal> {
        self.look_for_loop();
        let question = HttpQuestion::new(call, &self.reach, self.hops)?;
        self.ask(Question::Http(id, Box::new(question)));
        Ok(())
    }

    pub(super) fn grpc(&mut self, id: CalloutId, call: GrpcCall) -> Result<(), CalloutRefusal> {
        self.look_for_loop();
        let (question, outbox) = GrpcQuestion::new(call, &self.reach, self.hops)?;
        self.outboxes.extend(outbox.map(|outbox| (id, outbox)));
        self.ask(Question::Grpc(id, Box::new(question)));
        Ok(())
    }

    /// A message that finds no room closes its stream, which the guest hears of later.
    pub(super) fn grpc_send(&mut self, id: CalloutId, message: &[u8], end_of_stream: bool) {
        let room = self.outboxes.get(&id).is_some_and(|outbox| outbox.push(message));
        if room && end_of_stream {
            self.grpc_close(id);
        }
    }

    pub(super) fn grpc_close(&mut self, id: CalloutId) {
        self.outboxes.remove(&id);
    }

    pub(super) fn resolve(&mut self, token: u32, name: &str) -> Result<(), CalloutRefusal> {
        if !self.reach.resolves(name) {
            return Err(CalloutRefusal::Invalid(format!("this filter may not look {name:?} up")));
        }
        self.ask(Question::Resolve(token, name.to_owned()));
        Ok(())
    }

    pub(super) fn timer(&mut self, timer: u32, after: Duration) {
        self.ask(Question::Timer(timer, after.max(SHORTEST_TIMER)));
    }

    pub(super) fn cancel_timer(&mut self, timer: u32) {
        self.give_up(Task::Timer(timer));
    }

    pub(super) fn cancel(&mut self, id: CalloutId) {
        self.outboxes.remove(&id);
        self.give_up(Task::Callout(id));
    }

    pub(super) fn registered(&mut self, queue: QueueId) {
        match self.desk() {
            Some(desk) => desk.listen(queue),
            None if self.queues.contains(&queue) => {}
            None => self.queues.push(queue),
        }
    }

    fn look_for_loop(&mut self) {
        if hops::next(self.hops).is_err() && !self.looped.contains(&self.turned) {
            self.looped.push(self.turned);
        }
    }

    fn give_up(&mut self, task: Task) {
        match self.desk() {
            Some(desk) => desk.cancel(task),
            None => self.kept.retain(|question| question.task() != task),
        }
    }

    fn ask(&mut self, question: Question) {
        match self.desk() {
            Some(desk) => desk.take(question),
            None => self.kept.push(question),
        }
    }

    fn desk(&self) -> Option<&Rc<Desk>> {
        self.desk.as_ref().map(Fragile::get)
    }
}

/// Nobody is left to hear of an answer.
impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(desk) = self.desk() {
            desk.close();
        }
    }
}
