//! One client connection whose bytes are passed on to an endpoint as they come, and the endpoint's to the client. Where
//! either side speaks TLS, it is what is in it.
//!
//! An end that one side says is said on to the other, and the opposite way goes on. All else is told with a reset, for a mere
//! end would look like a whole conversation: a side that breaks off, an endpoint that cannot be reached, a filter that failed,
//! a connection that stalls with bytes in hand, a worker that ends. So sockets are closed by a reset from the beginning, and by
//! an end once they have come to one. A filter that closes a connection has what left the filters written before, as far as it
//! is taken within `limits.write_timeout`.

use std::future::Future;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::HeaderMap;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::time::Sleep;
use tollgate_abi::{Cause, PeerType};
use tollgate_config::{Limits, Protocol};

use crate::client::Handle;
use crate::clock::Clock;
use crate::closing;
use crate::error::Reason;
use crate::exchange::passage::{Passage, PassageFacts};
use crate::filter::tcp::TcpChain;
use crate::listener::connection::{Active, Known};
use crate::listener::io::{Transport, say, socket};
use crate::listener::told::{self, Due};
use crate::listener::{Accepted, Admission, opening};
use crate::proxy_protocol::Passed;
use crate::relay::{Relay, Stop};
use crate::snapshot::{LocalListener, LocalTcp};
use crate::tls::secured::Secured;
use crate::tls::stream::Stream;
use crate::upstream::cluster::original::Traveller;
use crate::upstream::tunnel::{self, Tunnel};
use crate::worker::Worker;

/// How long a peer may take to hear the end that it was told.
const FAREWELL: Duration = Duration::from_millis(500);

/// Passes a connection on until either side ends it, nothing moves for `limits.stream_idle_timeout`, a filter ends it, or
/// the worker does. It came at `since`.
pub(super) fn serve(
    worker: Rc<Worker>,
    (listener, tcp): (Rc<LocalListener>, Rc<LocalTcp>),
    (client, due, since): (Accepted, Due, Instant),
    admission: Admission,
) -> impl Future<Output = ()> {
    // Here and not when the future is first polled: a snapshot that is taken up by then would end filters that nobody uses.
    let held = (
        Known::new(&worker, listener.listener.id, Handle::default(), admission),
        Active::new(&listener.series),
        Busy::new(&worker, &tcp),
    );
    let deadline = since + listener.listener.limits.header_timeout;
    let is_known = due == Due::Nothing && listener.listener.tls.is_none();
    let known = is_known.then(|| chain(&worker, &listener, &tcp, (Caller::of(&client), None)));
    async move {
        let _held = held;
        match known {
            Some(chain) => {
                let caller = Caller::of(&client);
                pass_on(&worker, &listener, &tcp, (caller, Stream::Plain(client.stream)), chain.as_ref()).await;
            }
            // Boxed, so that other connections do not carry its state.
            None => Box::pin(pass_on_once_known(&worker, &listener, client, (due, deadline.into()))).await,
        }
    }
}

/// Passes a connection on whose header is due, or with which hands are to be shaken. What it is passed on to is looked up
/// once that is done: it is kept from ending by exchanges alone, not by those who wait.
async fn pass_on_once_known(
    worker: &Worker,
    listener: &LocalListener,
    mut client: Accepted,
    (due, deadline): (Due, tokio::time::Instant),
) {
    if due == Due::Header && !told::hear(&mut client, deadline, &listener.series).await {
        return;
    }
    let caller = Caller::of(&client);
    let (transport, secured) = match &listener.listener.tls {
        None => (Stream::Plain(client.stream), None),
        Some(server) => {
            // A reset might overtake the words that tell a client why hands are not shaken.
            closing::by_end(&client.stream);
            let Some((stream, secured)) = opening::secure(client.stream, server, (deadline, &listener.series)).await
            else {
                return;
            };
            let transport = Stream::Tls(stream);
            closing::by_reset(socket(&transport));
            (transport, Some(secured))
        }
    };
    let local = worker.local();
    let current = local.listener(listener.listener.id);
    let Some((listener, tcp)) = current.and_then(|known| Some((known, known.tcp.as_ref()?))) else { return };
    let chain = chain(worker, listener, tcp, (caller, secured));
    pass_on(worker, listener, tcp, (caller, transport), chain.as_ref()).await;
}

async fn pass_on(
    worker: &Worker,
    listener: &LocalListener,
    tcp: &LocalTcp,
    (caller, mut client): (Caller, Transport),
    chain: Option<&TcpChain>,
) {
    let serving = Serving { worker, limits: &listener.listener.limits, tcp, chain, caller };
    let peer = serving.run(&mut client).await;
    if let Some(chain) = chain {
        chain.end(peer);
    }
}

/// Whose connection it is.
#[derive(Clone, Copy)]
struct Caller {
    source: SocketAddr,
    destination: SocketAddr,
    intercepted: bool,
}

impl Caller {
    fn of(accepted: &Accepted) -> Self {
        let Accepted { source, destination, intercepted, .. } = *accepted;
        Self { source, destination, intercepted }
    }
}

/// The filters of a connection; `None` where there are none.
fn chain(
    worker: &Worker,
    listener: &LocalListener,
    tcp: &LocalTcp,
    (caller, secured): (Caller, Option<Arc<Secured>>),
) -> Option<TcpChain> {
    if tcp.filters.chain.is_empty() {
        return None;
    }
    let facts = PassageFacts {
        names: Arc::clone(&tcp.names),
        quotas: Arc::clone(&tcp.filters.quotas),
        source: caller.source,
        destination: caller.destination,
        secured,
        connection: worker.shared.connection_ids.fetch_add(1, Relaxed),
    };
    let buffer = listener.listener.limits.buffer.as_usize();
    Some(TcpChain::new(Rc::new(Passage::new(facts)), tcp.filters.pick(), buffer))
}

struct Serving<'a> {
    worker: &'a Worker,
    limits: &'a Limits,
    tcp: &'a LocalTcp,
    chain: Option<&'a TcpChain>,
    caller: Caller,
}

impl Serving<'_> {
    /// Answers who ended the client's connection.
    async fn run(&self, client: &mut Transport) -> PeerType {
        // Nothing is read yet, so a client that leaves is seen by its error alone.
        let gone = socket(client).ready(Interest::ERROR);
        let connected = tokio::select! {
            connected = self.connect() => connected,
            _ = gone => Err(Reason::ClientGone),
        };
        match connected {
            Ok(tunnel) => self.pass(client, tunnel).await,
            Err(Reason::ClientGone) => PeerType::Remote,
            Err(Reason::FilterClosed(_)) => {
                farewell(client).await;
                PeerType::Local
            }
            Err(reason) => {
                self.note(&reason);
                PeerType::Local
            }
        }
    }

    async fn connect(&self) -> Result<Tunnel, Reason> {
        if let Some(plugin) = &self.tcp.filters.barred {
            return Err(Reason::FilterFailed { plugin: plugin.to_string(), cause: Cause::Refused });
        }
        if let Some(chain) = self.chain {
            chain.begin().await?;
        }
        let cluster = &self.tcp.cluster;
        let Caller { source, destination, intercepted } = self.caller;
        let client = Traveller { source, destination, intercepted };
        let original = cluster.toward(client, Protocol::Http1, &self.worker.shared.own)?;
        let affinity = cluster.affinity(&HeaderMap::new(), source.ip());
        let hash = affinity.and_then(|affinity| affinity.hash);
        let tunnel = tunnel::open(cluster, hash, Passed { source, destination }, original).await?;
        // Nothing was read from the client: if it is this process, it may not have known before that it was connected.
        cluster.check_return(client)?;
        if let Some(chain) = self.chain {
            chain.connected(tunnel.address)?;
        }
        Ok(tunnel)
    }

    async fn pass(&self, client: &mut Transport, mut tunnel: Tunnel) -> PeerType {
        closing::by_reset(tunnel.socket());
        let mut relay = Relay::new(client, &mut tunnel.transport, self.chain);
        let mut idle = Idle::new(&self.worker.clock, self.limits.stream_idle_timeout);
        let outcome = std::future::poll_fn(|cx| {
            if let Some(chain) = self.chain {
                chain.passage().register(cx.waker());
            }
            loop {
                let moved = match self.advance(&mut relay, cx) {
                    (Poll::Ready(outcome), _) => return Poll::Ready(outcome),
                    (Poll::Pending, moved) => moved,
                };
                let holder = self.chain.and_then(TcpChain::holder);
                match std::task::ready!(idle.poll(cx, moved, self.patience(&relay), holder.map(|(_, time)| time))) {
                    Over::Idle if relay.owes() => return Poll::Ready(Err(Stop::Failed(Reason::StreamIdle))),
                    Over::Idle => return Poll::Ready(Ok(())),
                    Over::Held => self.expire(holder)?,
                }
            }
        });
        let outcome = outcome.await;
        let peer = relay.finish(&outcome);
        match outcome {
            Ok(()) | Err(Stop::Broken { was_whole: true, .. }) => {
                closing::by_end(socket(client));
                closing::by_end(tunnel.socket());
            }
            Err(Stop::Broken { .. }) => {}
            Err(Stop::Failed(reason)) => self.note(&reason),
        }
        peer
    }

    fn advance(&self, relay: &mut Relay<'_, Transport>, cx: &mut Context<'_>) -> (Poll<Result<(), Stop>>, bool) {
        let before = relay.bytes();
        let outcome = relay.poll(cx);
        let after = relay.bytes();
        self.tcp.series.bytes_in.add(after.0 - before.0);
        self.tcp.series.bytes_out.add(after.1 - before.1);
        outcome
    }

    /// The filter that holds the connection is left out, or the connection ends.
    fn expire(&self, holder: Option<(usize, Duration)>) -> Result<(), Stop> {
        match (self.chain, holder) {
            (Some(chain), Some((place, _))) => chain.expire(place).map_err(Stop::Failed),
            _ => Ok(()),
        }
    }

    /// How long nothing may move.
    fn patience(&self, relay: &Relay<'_, Transport>) -> Duration {
        if relay.was_said() {
            FAREWELL
        } else if relay.is_closing() {
            self.limits.write_timeout
        } else {
            self.limits.stream_idle_timeout
        }
    }

    fn note(&self, reason: &Reason) {
        tracing::debug!(source = %self.caller.source, %reason, "a connection is not passed on");
    }
}

/// Says the end, and waits for the peer's: what it may still be saying is dropped, because to close with it unread would
/// reset the connection.
async fn farewell(client: &mut Transport) {
    // Where TLS is spoken it has an end of its own.
    say(client, b"");
    let stream = socket(client);
    closing::by_end(stream);
    // A socket that cannot be shut is gone.
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let listening = async {
        let mut rest = [0; 1024];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut rest) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    };
    // Whatever came of it, the socket is closed next.
    let _ = tokio::time::timeout(FAREWELL, listening).await;
}

/// What lasted too long.
enum Over {
    /// Nothing moved.
    Idle,
    /// A filter held all it may.
    Held,
}

/// The time without a byte in either direction, and the time that a filter holds all it may.
struct Idle<'a> {
    clock: &'a Clock,
    since: Instant,
    held_since: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl<'a> Idle<'a> {
    fn new(clock: &'a Clock, limit: Duration) -> Self {
        Self { clock, since: clock.look(), held_since: None, sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Completes when nothing moved for `limit`, or a filter held on for `hold`; the first is not looked at while the
    /// second is. The timer is set again only for an earlier deadline or when it rang.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool, limit: Duration, hold: Option<Duration>) -> Poll<Over> {
        let now = self.clock.now();
        if moved {
            self.since = now;
        }
        self.held_since = hold.map(|_| self.held_since.unwrap_or(now));
        let (deadline, over) = match (self.held_since, hold) {
            (Some(since), Some(hold)) => (since + hold, Over::Held),
            _ => (self.since + limit, Over::Idle),
        };
        let deadline = tokio::time::Instant::from_std(deadline);
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                self.held_since = None;
                return Poll::Ready(over);
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Counts a connection as under way, so that a drain waits for it.
struct Busy {
    worker: Rc<Worker>,
    tcp: Rc<LocalTcp>,
}

impl Busy {
    fn new(worker: &Rc<Worker>, tcp: &Rc<LocalTcp>) -> Self {
        worker.load().passages.fetch_add(1, Relaxed);
        worker.crowd.set(worker.crowd.get() + 1);
        tcp.series.connections.inc();
        tcp.series.active.add(1);
        Self { worker: Rc::clone(worker), tcp: Rc::clone(tcp) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.worker.load().passages.fetch_sub(1, Relaxed);
        self.worker.crowd.set(self.worker.crowd.get().saturating_sub(1));
        self.tcp.series.active.add(-1);
    }
}
