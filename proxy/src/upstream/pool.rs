//! Connections to one endpoint: idle ones are used again, the youngest first; new ones are made within a bound.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::client::TlsStream;
use tollgate_config::ProxyProtocol;

use crate::clock::Clock;
use crate::error::Reason;
use crate::proxy_protocol::{self, Passed};
use crate::telemetry::metrics::{ClusterSeries, RetryCause};
use crate::tls::client::{Client, Dialer, Offer};
use crate::tls::failure::HandshakeError;
use crate::tls::secured::Secured;
use crate::tls::stream::Stream;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::PeerLimits;
use crate::upstream::fleet::member::Member;
use crate::upstream::h1::{self, Hints};
use crate::upstream::outgoing::Noted;
use crate::upstream::{Answer, Attempt, attempt, connect};

/// What a pool may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For a name, and for a connection.
    pub connect_timeout: Duration,
    /// For one of the connections, where there may be no more.
    pub pool_timeout: Duration,
    /// For an unused connection.
    pub idle_timeout: Duration,
    /// Exchanges on the endpoint at one time, each on a connection of its own.
    pub connections: usize,
    /// Exchanges that wait for one.
    pub pending: usize,
    /// What a connection may bring.
    pub peer: PeerLimits,
    /// The mark of its socket.
    pub mark: Option<u32>,
    /// The header that says whose a connection is. With it, none serves a second exchange, which may be another client's.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// One connection, between exchanges or in one.
pub struct Connection {
    /// What speaks on it.
    pub speaker: Rc<h1::Connection>,
    /// Its two ends.
    pub ends: Rc<Ends>,
}

/// The ends of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The endpoint's address.
    pub address: SocketAddr,
    /// This end's address.
    pub local: SocketAddr,
    /// Present when it speaks TLS.
    pub secured: Option<Arc<Secured>>,
    /// Present where connections of this process may be led back to it.
    pub noted: Option<Arc<Noted>>,
}

/// What a connection to an endpoint is made of.
pub type Transport = Stream<TlsStream<TcpStream>>;

/// No connection could be made.
pub(super) struct Miss {
    words: String,
    /// What was wrong with TLS, if it was that.
    tls: Option<&'static str>,
}

impl Miss {
    /// For whoever waits for the connection.
    pub(super) fn reason(&self) -> Reason {
        self.tls.map_or(Reason::UpstreamConnect, |why| Reason::UpstreamTls { why, sent: false })
    }
}

/// Why no connection could be made: the words are left beside the request.
#[derive(Clone, Debug)]
pub struct Unreached(pub String);

/// See the module.
pub struct Pool {
    /// The host as it is written.
    host: String,
    address: SocketAddr,
    tls: Option<Dialer>,
    pub(super) bounds: Bounds,
    pub(super) series: Arc<ClusterSeries>,
    pub(super) clock: Rc<Clock>,
    idle: RefCell<Vec<(Connection, Instant)>>,
    /// True once its endpoint is none any more: a connection that comes back is closed.
    retired: Cell<bool>,
    permits: Arc<Semaphore>,
    pending: Cell<usize>,
}

impl Pool {
    /// A pool without connections.
    pub fn new(
        member: &Member,
        (bounds, tls): (Bounds, Option<Dialer>),
        (series, clock): (Arc<ClusterSeries>, Rc<Clock>),
    ) -> Self {
        let permits = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
        Self {
            host: member.host.clone(),
            address: member.address,
            tls,
            bounds,
            series,
            clock,
            idle: RefCell::default(),
            retired: Cell::new(false),
            permits,
            pending: Cell::new(0),
        }
    }

    /// True for the pool of that endpoint under these bounds and with this TLS.
    pub(super) fn fits(&self, member: &Member, (bounds, tls): (Bounds, Option<&Arc<Client>>)) -> bool {
        let same_tls = self.tls.as_ref().map_or(tls.is_none(), |own| own.is_of(tls));
        self.host == member.host && self.address == member.address && self.bounds == bounds && same_tls
    }

    /// True where TLS is spoken.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Exchanges that have a connection or wait for one.
    pub(super) fn active(&self) -> usize {
        let most = self.bounds.connections.min(Semaphore::MAX_PERMITS);
        most.saturating_sub(self.permits.available_permits()) + self.pending.get()
    }

    /// The right to use one connection, and the wait for it in a bounded queue. The endpoint knows nothing of that wait.
    pub async fn permit(&self) -> Result<(OwnedSemaphorePermit, Duration), Reason> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok((permit, Duration::ZERO));
        }
        if self.pending.get() >= self.bounds.pending {
            return Err(Reason::UpstreamOverflow);
        }
        let (waiting, since) = (Waiting::new(&self.pending), Instant::now());
        let permit = tokio::time::timeout(self.bounds.pool_timeout, Arc::clone(&self.permits).acquire_owned()).await;
        drop(waiting);
        let permit = permit.ok().and_then(Result::ok).ok_or(Reason::UpstreamBusy)?;
        Ok((permit, since.elapsed()))
    }

    /// Sends the request, with the right to do so, on an idle connection or a fresh one. On failure `request` is only left
    /// whole when no connection could be made.
    pub async fn send(
        self: &Rc<Self>,
        (permit, mut waited): (OwnedSemaphorePermit, Duration),
        request: &mut Request<RequestBody>,
        hints: Option<&dyn Hints>,
    ) -> Result<Answer, Reason> {
        let mut repeated = false;
        loop {
            // The youngest first. One that ended meanwhile says so before anything is written to it.
            let idle = if repeated { None } else { self.idle.borrow_mut().pop() };
            let idle = idle.map(|(connection, _)| connection);
            let reused = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                None => {
                    let since = Instant::now();
                    let passed = request.extensions().get::<Passed>().copied();
                    // Boxed, so that exchanges on a connection that is there do not carry its state.
                    let connected = Box::pin(self.connect(passed)).await;
                    waited += since.elapsed();
                    connected.map_err(|miss| unreached(request, miss))?
                }
            };
            let ends = Rc::clone(&connection.ends);
            match attempt(connection, request, reused, hints).await {
                Attempt::Answered(response, connection) => {
                    let lease = Lease { pool: Rc::clone(self), connection: Some(connection), _permit: permit };
                    let lease = super::Lease::http1(lease);
                    let attempts = 1 + u32::from(repeated);
                    return Ok(Answer { response, lease, ends, waited, attempts });
                }
                Attempt::NotBegun if reused => {}
                // A fresh connection that takes no request is as good as none.
                Attempt::NotBegun => {
                    let words = "the endpoint spoke before it was asked, or left".to_owned();
                    return Err(unreached(request, Miss { words, tls: None }));
                }
                Attempt::Repeat => {
                    self.series.retries[RetryCause::Reset.index()].inc();
                    repeated = true;
                }
                Attempt::Failed(reason) => return Err(reason),
            }
        }
    }

    async fn connect(&self, passed: Option<Passed>) -> Result<Connection, Miss> {
        let offer = Offer::Protocol;
        self.in_time(async { Ok(connect::http1(self.dial(passed, offer).await?, self.bounds.peer, &self.series)) })
            .await
    }

    /// A socket to the endpoint, which has heard whose connection it is where that is said.
    async fn dial(&self, passed: Option<Passed>, offer: Offer) -> io::Result<(Transport, Ends)> {
        let (mut stream, mut ends) = connect::dial(self.address, self.bounds.mark).await?;
        if let Some(version) = self.bounds.proxy_protocol {
            stream.write_all(&proxy_protocol::header(version, passed)).await?;
        }
        let Some(tls) = &self.tls else { return Ok((Stream::Plain(stream), ends)) };
        let (stream, secured) = tls.connect(stream, offer).await?;
        ends.secured = Some(Arc::new(secured));
        Ok((Stream::Tls(Box::new(stream)), ends))
    }

    /// Connects for a client, and has `speak` take the socket up, within the time for a connection.
    pub(super) async fn connected<T>(
        &self,
        passed: Option<Passed>,
        speak: impl AsyncFnOnce((Transport, Ends)) -> io::Result<T>,
    ) -> Result<T, Reason> {
        let speaking = async { speak(self.dial(passed, Offer::Protocol).await?).await };
        self.in_time(speaking).await.map_err(|miss| miss.reason())
    }

    /// Connects for a client whose bytes are passed on, whatever they are.
    pub(super) async fn opened(&self, passed: Passed) -> Result<(Transport, Ends), Reason> {
        self.in_time(self.dial(Some(passed), Offer::Nothing)).await.map_err(|miss| miss.reason())
    }

    /// The right to one more connection, if there is one at this moment.
    pub(super) fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// True while there is a right to one more connection.
    pub(super) fn has_permit(&self) -> bool {
        self.permits.available_permits() > 0
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = io::Result<T>>) -> Result<T, Miss> {
        match tokio::time::timeout(self.bounds.connect_timeout, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => {
                tracing::debug!(host = self.host, address = %self.address, %error, "cannot connect");
                Err(Miss { words: error.to_string(), tls: HandshakeError::word_of(&error) })
            }
            Err(_) => Err(Miss { words: "timed out".to_owned(), tls: None }),
        }
    }

    /// Closes idle connections at once, and others after their exchange.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
    }

    /// Closes what nobody uses at this moment.
    pub(super) fn close_idle(&self) {
        // Taken first: what ends with a connection may look at the pool.
        drop(self.idle.take());
    }

    /// Drops idle connections that died or are past their time, and what others keep in memory for the next exchange.
    pub fn sweep(&self) {
        let now = self.clock.now();
        let fresh = |since: Instant| now.saturating_duration_since(since) < self.bounds.idle_timeout;
        self.idle.borrow_mut().retain(|(connection, since)| fresh(*since) && connection.speaker.is_silent());
        self.idle.borrow().iter().for_each(|(connection, _)| connection.speaker.give_up_buffers());
    }
}

/// Leaves the words beside the request, where whoever sent it finds them.
fn unreached(request: &mut Request<RequestBody>, miss: Miss) -> Reason {
    let reason = miss.reason();
    request.extensions_mut().insert(Unreached(miss.words));
    reason
}

/// A connection in use; dropping it closes the connection.
pub struct Lease {
    pool: Rc<Pool>,
    /// Absent once it is given back.
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the connection back for the next exchange.
    pub fn give_back(mut self) {
        let is_anybodys = self.pool.bounds.proxy_protocol.is_none() && !self.pool.retired.get();
        if let Some(connection) = self.connection.take_if(|own| is_anybodys && own.speaker.may_serve_on()) {
            let now = self.pool.clock.now();
            self.pool.idle.borrow_mut().push((connection, now));
        }
    }

    /// What speaks on the connection.
    pub(super) fn speaker(&self) -> Option<&Rc<h1::Connection>> {
        self.connection.as_ref().map(|connection| &connection.speaker)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Whoever still has a part of the exchange reads and sends nothing more.
        if let Some(connection) = &self.connection {
            connection.speaker.close();
        }
    }
}

/// A place in the queue, left also when the exchange is dropped.
pub(super) struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    /// Counts one more.
    pub(super) fn new(pending: &'a Cell<usize>) -> Self {
        pending.set(pending.get() + 1);
        Self(pending)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
