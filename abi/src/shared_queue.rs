//! Queues that VMs of any `vm_id` fill and empty, on every worker. They outlive VMs and generations.
//!
//! A queue tells its latest listener that a message came; who takes the message is not its business.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::QueueLimits;
use crate::types::QueueId;

/// Whoever is told that a message came. It is called on the thread of the sender, with no lock held, and must not block.
pub trait QueueWaker: Send + Sync {
    /// One message came, or was waiting when this waker began to listen.
    fn queue_ready(&self, queue: QueueId);
}

/// Every queue of one process. The embedder keeps one and hands the same `Arc` to all of its VMs.
#[derive(Default)]
pub struct SharedQueues {
    /// Guards queues, names and sums together. Held for one look-up or one message, never across a guest call or a waker.
    table: Mutex<Table>,
}

/// Why a queue did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// No queue has that number.
    #[error("there is no such queue")]
    NotFound,
    /// The queue has no message.
    #[error("the queue is empty")]
    Empty,
    /// A bound of the `vm_id` is reached.
    #[error("over the limit: {0}")]
    Limit(&'static str),
}

#[derive(Default)]
struct Table {
    queues: HashMap<QueueId, Queue>,
    owners: HashMap<String, Owner>,
    last: u32,
}

struct Queue {
    owner: String,
    messages: VecDeque<Vec<u8>>,
    /// The last one is told; each of the others when those after it have left.
    listeners: Vec<Arc<dyn QueueWaker>>,
}

impl Queue {
    /// Whoever is told, once for each message that waits.
    fn news(&self) -> (Option<Arc<dyn QueueWaker>>, usize) {
        (self.listeners.last().cloned(), self.messages.len())
    }
}

/// What the queues of one `vm_id` come to.
struct Owner {
    names: HashMap<Vec<u8>, QueueId>,
    limits: QueueLimits,
    bytes: usize,
}

impl SharedQueues {
    /// The queue of this name, made when there is none. Bounds of a `vm_id` only ever widen.
    pub fn register(&self, vm_id: &str, name: &[u8], limits: &QueueLimits) -> Result<QueueId, QueueError> {
        let mut table = self.table();
        let next = QueueId(table.last.wrapping_add(1).max(1));
        let owner = table.owners.entry(vm_id.to_owned());
        let owner = owner.or_insert_with(|| Owner { names: HashMap::new(), limits: *limits, bytes: 0 });
        owner.limits = owner.limits.widest(limits);
        if let Some(known) = owner.names.get(name) {
            return Ok(*known);
        }
        if owner.names.len() >= owner.limits.queues {
            return Err(QueueError::Limit("shared queues"));
        }
        owner.names.insert(name.to_owned(), next);
        table.last = next.0;
        let queue = Queue { owner: vm_id.to_owned(), messages: VecDeque::new(), listeners: Vec::new() };
        table.queues.insert(next, queue);
        Ok(next)
    }

    /// Has `waker` told of messages from now on, in place of whoever was; of those that wait already, at once.
    pub fn listen(&self, queue: QueueId, waker: &Arc<dyn QueueWaker>) {
        self.change(queue, |listeners| {
            listeners.retain(|known| !Arc::ptr_eq(known, waker));
            listeners.push(Arc::clone(waker));
            true
        });
    }

    /// Tells `waker` nothing any more. Where it was told, whoever was before it is told again, of those that wait at once.
    pub fn leave(&self, queue: QueueId, waker: &Arc<dyn QueueWaker>) {
        self.change(queue, |listeners| {
            let was_told = listeners.last().is_some_and(|last| Arc::ptr_eq(last, waker));
            listeners.retain(|known| !Arc::ptr_eq(known, waker));
            was_told
        });
    }

    /// Changes who listens; true has whoever is told now told of all that wait.
    fn change(&self, queue: QueueId, change: impl FnOnce(&mut Vec<Arc<dyn QueueWaker>>) -> bool) {
        let mut table = self.table();
        let Some(known) = table.queues.get_mut(&queue) else { return };
        let (listener, waiting) = if change(&mut known.listeners) { known.news() } else { (None, 0) };
        drop(table);
        if let Some(listener) = listener {
            (0..waiting).for_each(|_| listener.queue_ready(queue));
        }
    }

    /// The queue that a VM of `vm_id` registered under this name.
    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<QueueId> {
        self.table().owners.get(vm_id)?.names.get(name).copied()
    }

    /// Puts a message at the end and tells the listener.
    pub fn enqueue(&self, queue: QueueId, message: &[u8]) -> Result<(), QueueError> {
        let listener = self.table().push(queue, message)?;
        if let Some(listener) = listener {
            listener.queue_ready(queue);
        }
        Ok(())
    }

    /// Takes the oldest message.
    pub fn dequeue(&self, queue: QueueId) -> Result<Vec<u8>, QueueError> {
        let mut table = self.table();
        let Table { queues, owners, .. } = &mut *table;
        let known = queues.get_mut(&queue).ok_or(QueueError::NotFound)?;
        let message = known.messages.pop_front().ok_or(QueueError::Empty)?;
        if let Some(owner) = owners.get_mut(&known.owner) {
            owner.bytes = owner.bytes.saturating_sub(message.len());
        }
        Ok(message)
    }

    /// Forgets the messages of a `vm_id`; its queues keep their numbers and listeners.
    pub fn clear(&self, vm_id: &str) {
        let mut table = self.table();
        let Table { queues, owners, .. } = &mut *table;
        let Some(owner) = owners.get_mut(vm_id) else { return };
        owner.bytes = 0;
        for id in owner.names.values() {
            if let Some(queue) = queues.get_mut(id) {
                queue.messages.clear();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is complete before the guard drops, so a panic elsewhere leaves nothing half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn push(&mut self, queue: QueueId, message: &[u8]) -> Result<Option<Arc<dyn QueueWaker>>, QueueError> {
        let known = self.queues.get_mut(&queue).ok_or(QueueError::NotFound)?;
        let owner = self.owners.get_mut(&known.owner).ok_or(QueueError::NotFound)?;
        if known.messages.len() >= owner.limits.messages {
            return Err(QueueError::Limit("messages of a shared queue"));
        }
        let bytes = owner.bytes.saturating_add(message.len());
        if bytes > owner.limits.bytes {
            return Err(QueueError::Limit("bytes of all shared queues"));
        }
        owner.bytes = bytes;
        known.messages.push_back(message.to_owned());
        Ok(known.listeners.last().cloned())
    }
}

impl fmt::Debug for SharedQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedQueues").field("queues", &self.table().queues.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const SMALL: QueueLimits = QueueLimits { queues: 2, messages: 2, bytes: 5 };

    #[derive(Default)]
    struct Bell(Mutex<Vec<u32>>);

    impl QueueWaker for Bell {
        fn queue_ready(&self, queue: QueueId) {
            self.0.lock().unwrap().push(queue.get());
        }
    }

    #[test]
    fn each_bound_holds_at_its_value_and_one_past_it() {
        let queues = SharedQueues::default();
        let one = queues.register("a", b"one", &SMALL).unwrap();
        queues.register("a", b"two", &SMALL).unwrap();

        assert_eq!(queues.register("a", b"three", &SMALL), Err(QueueError::Limit("shared queues")));
        assert_eq!(queues.enqueue(one, b"123"), Ok(()));
        assert_eq!(queues.enqueue(one, b"456"), Err(QueueError::Limit("bytes of all shared queues")));
        assert_eq!(queues.enqueue(one, b"45"), Ok(()));
        assert_eq!(queues.enqueue(one, b""), Err(QueueError::Limit("messages of a shared queue")));
        assert_eq!(queues.dequeue(one), Ok(b"123".to_vec()));
        assert_eq!(queues.enqueue(one, b"678"), Ok(()));
    }

    #[test]
    fn one_name_is_one_queue_per_vm_id_and_its_latest_listener_hears_of_what_waits() {
        let queues = SharedQueues::default();
        let queue = queues.register("a", b"jobs", &SMALL).unwrap();
        let (first, second) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let (early, late): (Arc<dyn QueueWaker>, Arc<dyn QueueWaker>) = (first.clone(), second.clone());

        queues.listen(queue, &early);
        queues.enqueue(queue, b"x").unwrap();
        queues.listen(queue, &late);
        queues.enqueue(queue, b"y").unwrap();

        assert_eq!(queues.register("a", b"jobs", &SMALL), Ok(queue));
        assert_ne!(queues.register("b", b"jobs", &SMALL), Ok(queue));
        assert_eq!(*first.0.lock().unwrap(), [queue.get()]);
        assert_eq!(*second.0.lock().unwrap(), [queue.get(); 2]);
    }

    #[test]
    fn a_cleared_queue_keeps_its_number_and_frees_its_bytes() {
        let queues = SharedQueues::default();
        let queue = queues.register("a", b"jobs", &SMALL).unwrap();
        queues.enqueue(queue, b"12345").unwrap();

        queues.clear("a");

        assert_eq!(queues.dequeue(queue), Err(QueueError::Empty));
        assert_eq!(queues.enqueue(queue, b"12345"), Ok(()));
        assert_eq!(queues.dequeue(QueueId(99)), Err(QueueError::NotFound));
    }

    #[test]
    fn who_listened_before_hears_again_when_the_latest_listener_has_left() {
        let queues = SharedQueues::default();
        let queue = queues.register("a", b"jobs", &SMALL).unwrap();
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        let wakers: [Arc<dyn QueueWaker>; 2] = [bells[0].clone(), bells[1].clone()];
        let heard = || bells.clone().map(|bell| bell.0.lock().unwrap().len());
        wakers.iter().for_each(|waker| queues.listen(queue, waker));
        queues.enqueue(queue, b"x").unwrap();

        queues.leave(queue, &wakers[1]);
        queues.enqueue(queue, b"y").unwrap();

        assert_eq!(heard(), [2, 1]);
        queues.leave(queue, &wakers[0]);
        queues.dequeue(queue).unwrap();
        queues.enqueue(queue, b"z").unwrap();
        assert_eq!(heard(), [2, 1]);
    }
}
