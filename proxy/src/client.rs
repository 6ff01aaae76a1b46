//! A client's connection as its exchanges, its I/O and its watchdog know it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Reason;
use crate::exchange::Exchange;
use crate::exchange::forwarded;
use crate::exchange::hop::host::Host;
use crate::proxy_protocol::Passed;
use crate::snapshot::ListenerId;
use crate::tls::secured::Secured;
use crate::upstream::cluster::original::Traveller;
use crate::worker::Worker;

/// What the exchanges of a connection know about it.
pub struct Client {
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// Its listener.
    pub listener: ListenerId,
    /// The client: who connected, or whom a PROXY header told.
    pub source: SocketAddr,
    /// The address that the client connected to, of which a PROXY header may tell, too.
    pub destination: SocketAddr,
    /// True where that is somebody else's, and the kernel led it here.
    pub intercepted: bool,
    /// Its number in this process.
    pub id: u64,
    /// Present when it speaks TLS.
    pub secured: Option<Arc<Secured>>,
    /// What its I/O knows.
    pub progress: Rc<Progress>,
    /// Exchanges under way.
    pub in_flight: Cell<usize>,
    /// Exchanges that ever began.
    pub begun: Cell<u64>,
    /// Of those under way, the ones whose client may be as slow as it likes.
    pub lasting: Cell<usize>,
    /// The exchange that began last, for the task of its stream.
    pub newest: Cell<Option<Rc<Exchange>>>,
    /// True for HTTP/1.0, where the end of the connection may be the only end of an answer.
    pub ends_by_closing: Cell<bool>,
    /// How the worker reaches it.
    pub handle: Handle,
    /// The client's address as fields have it, once a request needed it.
    pub written: OnceCell<HeaderValue>,
    /// The host that it asked for last.
    pub host: Host,
    /// Who takes the socket over once a 101 is written. Whoever serves the connection empties it: it knows the client.
    pub upgraded: Cell<Option<Box<dyn Successor>>>,
    /// Who goes on with a stream of HTTP/2 behind the answer that its task is writing. That task empties it, for the same
    /// reason.
    pub tunnel: Cell<Option<Pin<Box<dyn Future<Output = Ending>>>>>,
}

/// How a tunnel on a stream of HTTP/2 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All was written that was to be written.
    Said,
    /// Its client is to take nothing for a whole conversation.
    Reset,
}

/// Goes on with a connection after HTTP.
pub trait Successor {
    /// Takes its socket over, with what was read of it already, until its end.
    fn go_on(self: Box<Self>, socket: Box<dyn Socket>, early: Bytes) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// A client's socket, with TLS or without.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Has it closed with a reset when it is dropped, so that the client takes nothing for a whole conversation.
    fn close_by_reset(&self);

    /// Has it closed with an end behind all that was written.
    fn close_by_end(&self);
}

impl Client {
    /// The client as its requests are marked with it.
    pub fn peer(&self, version: http::Version) -> forwarded::Peer<'_> {
        let address = self.source.ip().to_canonical();
        let written = self.written.get_or_init(|| forwarded::written(address));
        forwarded::Peer { address, written, version, host: &self.host }
    }

    /// The client as it is on its way to an endpoint.
    pub fn traveller(&self) -> Traveller {
        Traveller { source: self.source, destination: self.destination, intercepted: self.intercepted }
    }

    /// Its ends as they are told on.
    pub fn passed(&self) -> Passed {
        Passed { source: self.source, destination: self.destination }
    }

    /// An exchange begins.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.progress.unread_head.set(false);
    }

    /// An exchange ended.
    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.progress.unread_head.set(false);
        self.progress.end();
    }
}

/// How the worker reaches a connection.
#[derive(Clone, Default)]
pub struct Handle(Rc<Bell>);

/// True once the connection is to drain, and whom to wake for it; and whether its client is sending a head, or it is idle.
#[derive(Default)]
struct Bell {
    draining: Cell<bool>,
    asking: Cell<bool>,
    idle: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Handle {
    /// The connection ends after the exchange in flight, or at once.
    pub fn drain(&self) {
        self.0.draining.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Nobody listened when `drain` was called.
    pub fn forget(&self) {
        self.0.draining.set(false);
    }

    /// True once `drain` was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// Notes whether the client has sent a part of a head.
    pub fn set_asking(&self, asking: bool) {
        self.0.asking.set(asking);
    }

    /// True while the client has sent a part of a head.
    pub fn is_asking(&self) -> bool {
        self.0.asking.get()
    }

    /// Notes whether the connection waits for a request and may be closed at any time.
    pub fn set_idle(&self, idle: bool) {
        self.0.idle.set(idle);
    }

    /// True while it waits for a request and was not told to drain.
    pub fn is_idle(&self) -> bool {
        self.0.idle.get() && !self.is_draining()
    }

    /// Whom `drain` wakes.
    pub fn register(&self, waker: &Waker) {
        remember(&self.0.waker, waker);
    }
}

/// Keeps a waker, without cloning one that is known.
fn remember(cell: &Cell<Option<Waker>>, waker: &Waker) {
    let kept = cell.take().filter(|known| known.will_wake(waker));
    cell.set(Some(kept.unwrap_or_else(|| waker.clone())));
}

/// What a connection's I/O, its exchanges and its watchdog tell each other.
#[derive(Default)]
pub struct Progress {
    /// Bytes read since the last exchange began or ended; in HTTP/2 only those of a head that is not whole.
    pub unread_head: Cell<bool>,
    /// Writes of which the client took something.
    pub writes: Cell<u64>,
    /// True while a write waits for the client.
    pub stalled: Cell<bool>,
    /// Why the next request to be served is refused: it stands for one that was not read.
    pub refused: Cell<Option<Reason>>,
    /// True once the connection's bytes are no longer HTTP/1.1: they go on as they come.
    pub is_tunnel: Cell<bool>,
    /// From the head of an HTTP/1.1 request until its exchange ended: what comes behind it waits.
    busy: Cell<bool>,
    /// True while something waits for that end.
    waits: Cell<bool>,
    /// Interim answers (RFC 9110 §15.2) to be written before the next byte of hyper's.
    pub interim: RefCell<BytesMut>,
    waker: Cell<Option<Waker>>,
}

impl Progress {
    /// The head of an HTTP/1.1 request was read.
    pub fn begin(&self) {
        self.busy.set(true);
    }

    /// True until its exchange ended.
    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// What was read next waits for that.
    pub fn waits(&self) {
        self.waits.set(true);
    }

    /// The exchange ended.
    fn end(&self) {
        self.busy.set(false);
        if let Some(waker) = self.waits.take().then(|| self.waker.take()).flatten() {
            waker.wake();
        }
    }

    /// Has an interim answer written as soon as the connection is polled, and polls it. While something waits to be written, which
    /// may belong to the answer before, it is lost: nobody can tell where that ends.
    pub fn slip_in(&self, bytes: &[u8]) {
        if self.stalled.get() {
            return;
        }
        self.interim.borrow_mut().extend_from_slice(bytes);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whom `slip_in` and the end of an exchange wake.
    pub fn register(&self, waker: &Waker) {
        remember(&self.waker, waker);
    }
}
