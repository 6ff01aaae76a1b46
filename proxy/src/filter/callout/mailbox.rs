//! Where shared queues leave word for a plugin on its worker, from any thread; a task of the worker reads it.
//!
//! It keeps a number for each queue, never a message, so word that comes faster than it is read costs nothing. It outlives
//! VMs, so that each word is told once: a message that kills its reader does not kill the next one too.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tollgate_abi::{QueueId, QueueWaker, SharedQueues};

/// See the module.
#[derive(Debug)]
pub struct Mailbox {
    /// Queues with word that was not read, and how much, in turn. Guarded for one addition or subtraction.
    waiting: Mutex<VecDeque<(QueueId, usize)>>,
    bell: Notify,
    /// The most messages that a queue can hold: more word than that is of messages that somebody else took.
    limit: usize,
}

impl Mailbox {
    /// An empty one, for queues of at most `limit` messages.
    pub fn new(limit: usize) -> Self {
        Self { waiting: Mutex::default(), bell: Notify::new(), limit: limit.max(1) }
    }

    /// The queue of the next word, one queue after the other; waits for one. There is one reader.
    pub async fn next(&self) -> QueueId {
        loop {
            if let Some(queue) = self.take() {
                return queue;
            }
            // A ring that came meanwhile is kept.
            self.bell.notified().await;
        }
    }

    fn take(&self) -> Option<QueueId> {
        let mut waiting = self.waiting();
        let (queue, count) = waiting.pop_front()?;
        if count > 1 {
            waiting.push_back((queue, count - 1));
        }
        Some(queue)
    }

    fn add(&self, queue: QueueId) {
        let mut waiting = self.waiting();
        match waiting.iter_mut().find(|(known, _)| *known == queue) {
            Some((_, count)) => *count = count.saturating_add(1).min(self.limit),
            None => waiting.push_back((queue, 1)),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(QueueId, usize)>> {
        // Every change is complete before the guard drops.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueWaker for Mailbox {
    fn queue_ready(&self, queue: QueueId) {
        self.add(queue);
        self.bell.notify_one();
    }
}

/// The queues that a plugin listens to on one worker.
#[derive(Default)]
pub struct Mail {
    queues: RefCell<BTreeSet<QueueId>>,
    /// Absent until there is a queue.
    mailbox: OnceCell<Reading>,
}

/// A mailbox with somebody who reads it.
struct Reading {
    mailbox: Arc<dyn QueueWaker>,
    reader: AbortHandle,
    queues: Arc<SharedQueues>,
}

impl Mail {
    /// Has word of this queue left here from now on, in place of whoever got it; once, whichever VM registers it.
    /// `read` begins to read a mailbox when there was none.
    pub fn listen(
        &self,
        queue: QueueId,
        (queues, limit): &(Arc<SharedQueues>, usize),
        read: impl FnOnce(Arc<Mailbox>) -> AbortHandle,
    ) {
        let reading = self.mailbox.get_or_init(|| {
            let mailbox = Arc::new(Mailbox::new(*limit));
            Reading { mailbox: Arc::clone(&mailbox) as _, reader: read(mailbox), queues: Arc::clone(queues) }
        });
        if self.queues.borrow_mut().insert(queue) {
            queues.listen(queue, &reading.mailbox);
        }
    }

    /// Nobody reads any more. Word that was not read, and what comes, is for whoever listened before.
    pub fn close(&self) {
        let Some(reading) = self.mailbox.get() else { return };
        reading.reader.abort();
        for queue in std::mem::take(&mut *self.queues.borrow_mut()) {
            reading.queues.leave(queue, &reading.mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_abi::{QueueLimits, SharedQueues};

    use super::*;

    fn queues() -> [QueueId; 2] {
        let all = SharedQueues::default();
        [b"a", b"b"].map(|name| all.register("vm", name, &QueueLimits::default()).unwrap())
    }

    #[test]
    fn queues_have_word_read_in_turn_and_never_more_than_they_can_hold() {
        let [a, b] = queues();
        let mailbox = Mailbox::new(2);

        for queue in [a, a, a, a, b] {
            mailbox.queue_ready(queue);
        }

        let read: Vec<_> = std::iter::from_fn(|| mailbox.take()).collect();
        assert_eq!(read, [a, b, a]);
    }

    #[test]
    fn word_from_another_thread_wakes_the_reader() {
        let [a, _] = queues();
        let mailbox = std::sync::Arc::new(Mailbox::new(1));
        let sender = std::sync::Arc::clone(&mailbox);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let sending = std::thread::spawn(move || sender.queue_ready(a));
        let read =
            runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), mailbox.next()).await });

        assert_eq!(read, Ok(a));
        sending.join().unwrap();
    }
}
