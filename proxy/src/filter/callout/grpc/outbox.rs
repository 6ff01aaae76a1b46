//! The messages that a guest sends on a gRPC callout, on their way to the upstream: bounded in bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{Notify, mpsc};

use crate::error::Abort;
use crate::filter::callout::grpc::frame::framed;

/// The guest's end. Dropped, it half-closes the stream.
#[derive(Debug)]
pub struct Outbox {
    sender: mpsc::UnboundedSender<Bytes>,
    shared: Arc<Shared>,
    /// The most bytes that wait.
    limit: usize,
}

/// What both ends look at. They are on one thread once the VM serves.
#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    /// Rung once when a message did not find room.
    full: Notify,
}

/// The upstream's end: the body of the request.
#[derive(Debug)]
pub struct Outbound {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
}

/// Tells when a message did not find room.
#[derive(Debug)]
pub struct Overflow(Arc<Shared>);

/// Two ends between which `limit` bytes may wait.
pub fn outbox(limit: usize) -> (Outbox, Outbound) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::<Shared>::default();
    (Outbox { sender, shared: Arc::clone(&shared), limit }, Outbound { receiver, shared })
}

impl Outbox {
    /// Adds a message. One that finds no room ends the stream, which the other end hears of; false then.
    pub fn push(&self, message: &[u8]) -> bool {
        let room = self.limit.saturating_sub(self.shared.waiting.load(Relaxed));
        let Some(frame) = framed(message).filter(|frame| frame.len() <= room) else {
            self.shared.full.notify_one();
            return false;
        };
        self.shared.waiting.fetch_add(frame.len(), Relaxed);
        // An upstream that reads no more has said so, or will.
        let _ = self.sender.send(frame);
        true
    }
}

impl Outbound {
    /// Tells when a message did not find room.
    pub fn overflow(&self) -> Overflow {
        Overflow(Arc::clone(&self.shared))
    }
}

impl Overflow {
    /// Completes when a message did not find room.
    pub async fn happened(&self) {
        self.0.full.notified().await;
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let frame = ready!(self.receiver.poll_recv(cx));
        if let Some(frame) = &frame {
            self.shared.waiting.fetch_sub(frame.len(), Relaxed);
        }
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn messages_wait_up_to_the_limit_and_room_comes_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (outbox, mut outbound) = outbox(16);

        assert!(outbox.push(b"123") && outbox.push(b"456"));
        let first = runtime.block_on(outbound.frame()).unwrap().unwrap().into_data().unwrap();

        assert_eq!(&first[..], b"\0\0\0\0\x03123");
        assert!(outbox.push(b"789"));
        assert!(!outbox.push(b"x"));
        runtime.block_on(outbound.overflow().happened());
    }

    #[test]
    fn a_dropped_outbox_ends_the_body_after_what_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (outbox, outbound) = outbox(16);
        assert!(outbox.push(b"1"));

        drop(outbox);

        let all = runtime.block_on(outbound.collect()).unwrap().to_bytes();
        assert_eq!(&all[..], b"\0\0\0\0\x011");
    }
}
