//! One HTTP/2 connection and the streams on it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use hyper::client::conn::http2::{Connection, SendRequest};
use tokio::sync::OwnedSemaphorePermit;

use crate::upstream::connect::{self, LocalExecutor};
use crate::upstream::h2::Pool;
use crate::upstream::h2::upload::Upload;
use crate::upstream::h2::wire::{Shears, Wire};
use crate::upstream::pool::{Ends, Transport};

/// See the module. It closes when it is dropped and its last stream has ended.
pub(super) struct Session {
    /// Where requests go in.
    pub(super) sender: SendRequest<Upload>,
    /// The ends of the connection.
    pub(super) ends: Rc<Ends>,
    /// Absent once it takes no more requests.
    connection: Rc<RefCell<Option<Connection<Wire, Upload, LocalExecutor>>>>,
    shears: Rc<Shears>,
    /// Streams of which a half is still open.
    streams: Cell<usize>,
    /// Exchanges that wait for an answer or read one.
    exchanges: Cell<usize>,
    /// Exchanges that ever began.
    pub(super) begun: Cell<u64>,
    /// When the last exchange ended.
    idle_since: Cell<Instant>,
    /// An exchange that failed on the connection may hold the session for longer than its place.
    permit: Cell<Option<OwnedSemaphorePermit>>,
}

impl Session {
    /// Speaks HTTP/2 on a fresh socket.
    pub(super) async fn open(
        (stream, ends): (Transport, Ends),
        pool: &Pool,
        permit: OwnedSemaphorePermit,
    ) -> io::Result<Rc<Self>> {
        connect::watch(connect::socket(&stream))?;
        let shears = Rc::<Shears>::default();
        let wire = Wire::new(stream, Rc::clone(&shears), pool.series(), pool.clock());
        let (sender, connection) = connect::http2(wire, pool.bounds().peer).await?;
        let connection = Rc::new(RefCell::new(Some(connection)));
        tokio::task::spawn_local(drive(Rc::clone(&connection), ends.address));
        Ok(Rc::new(Self {
            sender,
            ends: Rc::new(ends),
            connection,
            shears,
            streams: Cell::new(0),
            exchanges: Cell::new(0),
            begun: Cell::new(0),
            idle_since: Cell::new(pool.now()),
            permit: Cell::new(Some(permit)),
        }))
    }

    /// True while one more stream has room, within `bound` and what the endpoint allows.
    pub(super) fn has_room(&self, bound: usize) -> bool {
        if self.sender.is_closed() {
            return false;
        }
        // Lent to its task at this very moment: then the bound alone counts, and hyper keeps to the endpoint's.
        let allowed = self
            .connection
            .try_borrow()
            .map_or(bound, |connection| connection.as_ref().map_or(0, Connection::current_max_send_streams));
        self.streams.get() < bound.min(allowed)
    }

    /// Exchanges that wait for an answer or read one.
    pub(super) fn exchanges(&self) -> usize {
        self.exchanges.get()
    }

    /// Ends it, and answers true, when it is of no use any more: closed, or unused since before `oldest`. What is left of
    /// its streams is cut, and its place among the connections is free.
    pub(super) fn ends(&self, oldest: Option<Instant>) -> bool {
        if self.exchanges.get() > 0 {
            return false;
        }
        let unused = oldest.is_some_and(|oldest| self.idle_since.get() <= oldest);
        if unused {
            // An endpoint that answered early may leave the rest of a request unread for ever.
            self.shears.cut();
        }
        let ends = unused || (self.sender.is_closed() && self.streams.get() == 0);
        if ends {
            drop(self.permit.take());
        }
        ends
    }
}

/// Polls a connection until it takes no more requests; its streams go on in tasks of their own.
async fn drive(connection: Rc<RefCell<Option<Connection<Wire, Upload, LocalExecutor>>>>, address: SocketAddr) {
    let ended = poll_fn(|cx| match connection.borrow_mut().as_mut() {
        Some(connection) => Pin::new(connection).poll(cx),
        None => Poll::Ready(Ok(())),
    });
    if let Err(error) = ended.await {
        tracing::debug!(%address, %error, "upstream connection ended");
    }
    let ended = connection.borrow_mut().take();
    drop(ended);
}

/// A place among the streams of a connection, held by the exchange and by what is still being sent.
pub(super) struct Stream {
    pub(super) session: Rc<Session>,
    pool: Rc<Pool>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.session.streams.set(self.session.streams.get().saturating_sub(1));
        self.pool.stream_ended();
    }
}

/// The exchange's hold on its stream; dropping it before the answer ended resets the stream.
pub struct Lease {
    pub(super) stream: Rc<Stream>,
}

impl Lease {
    /// A stream of `session`.
    pub(super) fn new(pool: &Rc<Pool>, session: &Rc<Session>) -> Self {
        session.streams.set(session.streams.get() + 1);
        session.exchanges.set(session.exchanges.get() + 1);
        Self { stream: Rc::new(Stream { session: Rc::clone(session), pool: Rc::clone(pool) }) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let session = &self.stream.session;
        session.exchanges.set(session.exchanges.get().saturating_sub(1));
        session.idle_since.set(self.stream.pool.now());
    }
}
