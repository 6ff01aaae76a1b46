//! The bodies that go to an upstream and come back from one.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::clock::Clock;
use crate::error::{Abort, Malformed, Reason};
use crate::exchange::{Exchange, Half};
use crate::tls::failure::late_word;
use crate::upstream::{Lease, h1};

/// The client's body, counted, with its end noted.
pub struct ClientBody {
    body: hyper::body::Incoming,
    exchange: Rc<Exchange>,
    clock: Rc<Clock>,
}

impl ClientBody {
    /// Counts what `body` brings towards `exchange`.
    pub fn new(body: hyper::body::Incoming, exchange: Rc<Exchange>, clock: Rc<Clock>) -> Self {
        Self { body, exchange, clock }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if self.exchange.interrupted() {
            return Poll::Ready(Some(Err(Abort)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.exchange.pace.await_body(frame.is_pending());
        let frame = ready!(frame);
        let (exchange, now) = (&self.exchange, self.clock.now());
        match &frame {
            Some(Ok(frame)) => {
                exchange.touch(now);
                count(&exchange.request_bytes, frame.data_ref());
            }
            Some(Err(error)) => {
                exchange.interrupt(Malformed::found_in(error).cloned().unwrap_or(Reason::ClientGone));
            }
            None => {}
        }
        if frame.is_none() || self.body.is_end_stream() {
            exchange.end_request(now);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| Abort)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Nobody waits for what nobody reads.
impl Drop for ClientBody {
    fn drop(&mut self) {
        self.exchange.pace.await_body(false);
    }
}

fn count(counter: &std::cell::Cell<u64>, data: Option<&Bytes>) {
    let length = data.map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    counter.set(counter.get().saturating_add(length));
}

/// What is sent to an upstream.
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// The client's body as it comes.
    Direct(ClientBody),
    /// The client's body through filters, of which this floor knows nothing.
    Filtered(Box<dyn Body<Data = Bytes, Error = Abort> + Unpin>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Direct(body) => Pin::new(body).poll_frame(cx),
            Self::Filtered(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Direct(body) => body.is_end_stream(),
            Self::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Direct(body) => body.size_hint(),
            Self::Filtered(body) => body.size_hint(),
        }
    }
}

/// An answer's body as its connection brings it.
pub enum Incoming {
    /// Over HTTP/1.1.
    Http1(h1::Incoming),
    /// Over HTTP/2.
    Http2(hyper::body::Incoming),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Reason;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(|error| broken(&error)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// Whose fault it is that a stream of HTTP/2 broke off.
fn broken(error: &hyper::Error) -> Reason {
    late_word(error).map_or(Reason::UpstreamReset, |why| Reason::UpstreamTls { why, sent: true })
}

/// What comes back: an upstream's body with its connection, or bytes of our own.
pub enum AnswerBody {
    /// Bytes that the proxy made.
    Bytes(Bytes),
    /// The upstream's body; its connection is given back at the end.
    Upstream {
        /// The body.
        body: Incoming,
        /// The connection, until the body ended.
        lease: Option<Lease>,
        /// The exchange whose answer it is.
        exchange: Rc<Exchange>,
        /// For activity.
        clock: Rc<Clock>,
    },
}

impl AnswerBody {
    /// An upstream's body. One without bytes gives its connection back at once.
    pub fn upstream(body: Incoming, lease: Lease, exchange: Rc<Exchange>, clock: Rc<Clock>) -> Self {
        let ended = body.is_end_stream();
        let lease = if ended { give_back(Some(lease), &exchange) } else { Some(lease) };
        Self::Upstream { body, lease, exchange, clock }
    }

    /// Takes the body out, leaving an empty one.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Bytes(Bytes::new()))
    }
}

/// Filters may ask how long the answer took, so for them the clock is looked at once more.
fn note_end(exchange: &Exchange, clock: &Clock) {
    if exchange.answer_ended.get().is_none() && exchange.is_filtered() {
        exchange.answer_ended.set(Some(clock.look()));
    }
}

/// A connection may be used again only when the request had been read to its end.
fn give_back(lease: Option<Lease>, exchange: &Exchange) -> Option<Lease> {
    if let Some(lease) = lease.filter(|_| exchange.request_ended()) {
        lease.give_back();
    }
    None
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Upstream { body, lease, exchange, clock } => {
                if exchange.interrupted() {
                    return Poll::Ready(Some(Err(Abort)));
                }
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    exchange.register(Half::Response, cx.waker());
                    return Poll::Pending;
                };
                exchange.touch(clock.now());
                if let Some(Err(reason)) = &frame {
                    exchange.note(reason.clone());
                }
                if frame.is_none() || body.is_end_stream() {
                    note_end(exchange, clock);
                    *lease = give_back(lease.take(), exchange);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Abort)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Upstream { body, .. } => body.size_hint(),
        }
    }
}
