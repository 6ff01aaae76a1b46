//! One client connection: its timeouts, and its graceful end. What it speaks is found out by `opening`.
//!
//! What an exchange does is `serve`'s business; how long an exchange may take is `exchange`'s.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio::time::Sleep;
use tollgate_config::Limits;

use crate::client::{Client, Handle, Progress, Socket, Successor};
use crate::closing;
use crate::exchange::hop::host::Host;
use crate::frames::guarded::{Guarded, Note};
use crate::frames::{Accounting, Breach};
use crate::listener::framing::Bounds;
use crate::listener::io::{ClientIo, Transport, say, socket};
use crate::listener::opening::{self, Opened};
use crate::listener::phase::{Phase, Spell};
use crate::listener::resting::{self, REST};
use crate::listener::streams::Streams;
use crate::listener::told::{self, Due};
use crate::listener::{Accepted, Admission};
use crate::serve;
use crate::snapshot::{ListenerId, LocalListener};
use crate::telemetry::metrics::ListenerSeries;
use crate::tls::server::Server;
use crate::worker::Worker;

/// RFC 9110 §15.5.9, for a client whose head never came.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// The number of fields that hyper parses without an allocation of its own.
const FREE_FIELDS: usize = 100;
/// How long a client may go on sending to which nobody listens, before its connection is closed.
const LINGER: Duration = Duration::from_millis(500);
/// The flow-control window of one stream of HTTP/2, and how much of an answer may wait for the client to read.
const WINDOW: u32 = 64 * 1024;

/// The same of a connection's streams together. h2 bears small pieces of bodies in proportion to it: a stream of messages
/// must not be taken for a flood while its upstream is being connected to.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long an idle client may take to hear that its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// Streams of HTTP/2 that a client may reset before they are looked at (CVE-2023-44487).
const UNSEEN_RESETS: usize = 20;
/// Streams of HTTP/2 that may be reset for the client's errors (CVE-2025-8671).
const ERRORS: usize = 128;

/// What a connection keeps of its listener: not its routes, whose filters it would keep from ending.
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) series: Arc<ListenerSeries>,
    /// Present where TLS is spoken.
    pub(super) tls: Option<Arc<Server>>,
    due: Due,
    /// When the connection came.
    since: Instant,
}

impl Settings {
    /// Those of a listener at the moment, for a connection that came then, with what is due of it.
    pub(super) fn of(known: &LocalListener, due: Due, since: Instant) -> Self {
        let (listener, series) = (&known.listener, Arc::clone(&known.series));
        Self { limits: listener.limits, series, tls: listener.tls.clone(), due, since }
    }

    /// When the first head is to be there, with all that comes before it.
    pub(super) fn deadline(&self) -> tokio::time::Instant {
        (self.since + self.limits.header_timeout).into()
    }

    /// A head did not come in time.
    pub(super) fn note_late(&self) {
        self.series.protocol_errors.inc();
        tracing::debug!("a client took too long for a head");
    }

    fn bounds(&self) -> Bounds {
        Bounds { fields: self.limits.headers, bytes: self.limits.header_bytes.as_usize() }
    }
}

/// Serves a client until either side ends the connection.
pub(super) fn serve(
    worker: Rc<Worker>,
    listener: ListenerId,
    settings: Settings,
    mut accepted: Accepted,
    admission: Admission,
) -> impl Future<Output = ()> {
    let handle = Handle::default();
    // Here and not when the future is first polled: a listener that leaves before that is kept, and drains it.
    let held = (Known::new(&worker, listener, handle.clone(), admission), Active::new(&settings.series));
    async move {
        let _held = held;
        // Boxed, so that other connections do not carry its state.
        if settings.due == Due::Header
            && !Box::pin(told::hear(&mut accepted, settings.deadline(), &settings.series)).await
        {
            return;
        }
        let Accepted { stream, source, destination, intercepted } = accepted;
        // Whoever was told to drain before it was listened to came late, and is served once.
        handle.forget();
        let id = worker.shared.connection_ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let progress = Rc::new(Progress::default());
        let Some(opened) = opening::open(stream, &settings, &progress).await else { return };
        let secured = opened.secured.clone();
        if secured.is_some() {
            // Nor was it listened to while hands were shaken.
            handle.forget();
        }
        let (in_flight, begun) = (Cell::new(0), Cell::new(0));
        let (lasting, newest, ends_by_closing) = (Cell::new(0), Cell::new(None), Cell::new(false));
        let written = OnceCell::new();
        let client = Client {
            worker,
            listener,
            source,
            destination,
            intercepted,
            id,
            secured,
            progress,
            in_flight,
            begun,
            lasting,
            newest,
            ends_by_closing,
            handle,
            written,
            host: Host::default(),
            upgraded: Cell::new(None),
            tunnel: Cell::new(None),
        };
        talk(Rc::new(client), opened, &settings).await;
    }
}

async fn talk(client: Rc<Client>, opened: Opened, settings: &Settings) {
    let Opened { transport, first, is_http2, .. } = opened;
    let bounds = (!is_http2).then(|| settings.bounds());
    let io = ClientIo::new(transport, first, bounds, Rc::clone(&client.progress));
    let outcome = if is_http2 { http2(&client, io, settings).await } else { http1(&client, io, settings).await };
    if let Err(error) = outcome {
        settings.series.protocol_errors.inc();
        tracing::debug!(%error, "client connection ended");
    }
}

async fn http2(client: &Rc<Client>, io: ClientIo, settings: &Settings) -> hyper::Result<()> {
    let exchanges = Rc::clone(client);
    let service = service_fn(move |request: Request<Incoming>| serve::serve(Rc::clone(&exchanges), request));
    let clock = Rc::clone(&client.worker.clock);
    let io = Guarded::new(
        io,
        Accounting::of_client(clock.now(), settings.limits.streams),
        clock,
        Watched::new(client, settings),
    );
    let transport = http2_builder(settings, Streams::of(client)).serve_connection(io, service);
    let drain = |transport: &mut Pin<Box<http2::Connection<_, _, _>>>| transport.as_mut().graceful_shutdown();
    match Timed::new(client, settings, Told::InFrames, drain).run(Box::pin(transport)).await {
        End::Failed(error, _) => Err(error),
        End::Late(_) => {
            settings.note_late();
            Ok(())
        }
        End::Over | End::Served(_) | End::Idle(_) => Ok(()),
    }
}

/// Each turn ends with the connection, or with a wait for a request in which hyper's buffers are of no use.
async fn http1(client: &Rc<Client>, mut io: ClientIo, settings: &Settings) -> hyper::Result<()> {
    let _vacated = Vacated(client);
    let mut last = (client.begun.get(), client.worker.clock.look());
    loop {
        let exchanges = Rc::clone(client);
        let service = service_fn(move |request: Request<Incoming>| serve::serve(Rc::clone(&exchanges), request));
        let transport = Box::new(http1_builder(settings).serve_connection(io, service));
        let drain = |transport: &mut Box<http1::Connection<_, _>>| Pin::new(transport.as_mut()).graceful_shutdown();
        let timed = Timed { rests: true, ..Timed::new(client, settings, Told::ByClosing, drain) };
        // What is left to do with a transport is boxed, so that connections do not carry its state.
        io = match timed.run(transport).await {
            End::Over => return Ok(()),
            End::Served(left) => {
                let Parts { io, read_buf, .. } = left.into_parts();
                after(client, io, read_buf).await;
                return Ok(());
            }
            End::Late(left) => {
                settings.note_late();
                // The connection is closed, whether the socket takes the words at once or not.
                say(&mut left.into_parts().io.into_transport(), REQUEST_TIMEOUT);
                return Ok(());
            }
            End::Failed(error, left) => {
                Box::pin(break_off(left.into_parts().io, &error, client)).await;
                return Err(error);
            }
            End::Idle(left) => rest_of(left.into_parts()),
        };
        // What wakes it and is no request, such as an empty record of TLS, does not begin the time anew.
        let (begun, now) = (client.begun.get(), client.worker.clock.look());
        if begun != last.0 {
            last = (begun, now);
        }
        let rested = REST + now.saturating_duration_since(last.1);
        if !resting::until_next(&client.handle, &io, settings.limits.idle_timeout.saturating_sub(rested)).await {
            return Ok(());
        }
    }
}

/// What a connection keeps of hyper while it rests: not the buffer, of which it has what there was to read.
fn rest_of<S>(Parts { mut io, read_buf, .. }: Parts<ClientIo, S>) -> ClientIo {
    io.give_back(&read_buf);
    io
}

/// What is done with a connection that hyper served to its end. Boxed, as all that comes once and last.
fn after<'a>(client: &'a Client, io: ClientIo, early: Bytes) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    match client.upgraded.take() {
        Some(successor) => Box::pin(hand_over(client, successor, (io, early))),
        None => Box::pin(part(io)),
    }
}

/// Has another protocol go on with the connection. hyper lets go of it also before all was written, which loses the rest.
async fn hand_over(client: &Client, successor: Box<dyn Successor>, (io, early): (ClientIo, Bytes)) {
    let progress = &client.progress;
    progress.is_tunnel.set(true);
    let is_written = !progress.stalled.get() && progress.interim.borrow().is_empty();
    let socket = Box::new(TokioIo::new(io));
    if is_written {
        successor.go_on(socket, early).await;
    } else {
        socket.close_by_reset();
    }
}

/// Whoever would take a connection over knows its client, and must not be kept by it.
struct Vacated<'a>(&'a Client);

impl Drop for Vacated<'_> {
    fn drop(&mut self) {
        self.0.upgraded.take();
    }
}

/// What a connection's frames tell its watchdog, and its listener's metrics.
struct Watched {
    progress: Rc<Progress>,
    series: Arc<ListenerSeries>,
    source: SocketAddr,
}

impl Watched {
    fn new(client: &Client, settings: &Settings) -> Self {
        let (progress, series) = (Rc::clone(&client.progress), Arc::clone(&settings.series));
        Self { progress, series, source: client.source }
    }
}

impl Note for Watched {
    fn came(&self, is_within_head: bool) {
        self.progress.unread_head.set(is_within_head);
    }

    fn ended(&self, breach: Breach) {
        if breach.is_flood() {
            self.series.floods.inc();
        }
        tracing::debug!(source = %self.source, %breach, "a client's connection is ended");
    }
}

/// A client that may still be sending is heard out.
async fn part(io: ClientIo) {
    if io.is_owed() {
        linger(&mut io.into_transport()).await;
    }
}

/// To a client for whom a closed connection is a whole answer, a reset tells that its answer is not. One whose bytes were
/// refused is heard out.
async fn break_off(io: ClientIo, error: &hyper::Error, client: &Client) {
    let mut transport = io.into_transport();
    if error.is_parse() {
        linger(&mut transport).await;
    } else if client.ends_by_closing.get() {
        closing::by_reset(socket(&transport));
    }
}

/// RFC 9112 §9.6: to close while bytes are on their way would reset the connection, and take the answer along that tells
/// the client why. They are read, and thrown away.
async fn linger(transport: &mut Transport) {
    let listening = async {
        let _ = transport.shutdown().await;
        let mut rest = BytesMut::with_capacity(16 * 1024);
        while transport.read_buf(&mut rest).await.is_ok_and(|length| length > 0) {
            rest.clear();
        }
    };
    // Whatever came of it, the socket is closed next.
    let _ = tokio::time::timeout(LINGER, listening).await;
}

fn http1_builder(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let limits = &settings.limits;
    builder.header_read_timeout(None);
    builder.max_header_size(limits.header_bytes.as_usize());
    if limits.headers != FREE_FIELDS {
        builder.max_headers(limits.headers);
    }
    builder
}

fn http2_builder(settings: &Settings, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    let limits = &settings.limits;
    builder
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(ERRORS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(WINDOW as usize)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes.bytes()).unwrap_or(u32::MAX));
    builder
}

/// How a transport ended, with itself where something is left to be done with it.
enum End<T> {
    /// Because the client was too slow.
    Over,
    /// By itself.
    Served(T),
    /// By a fault of the client or of an exchange.
    Failed(hyper::Error, T),
    /// A head came too late.
    Late(T),
    /// It has nothing to do for a while.
    Idle(T),
}

/// How a client without an exchange hears that its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// By its end, which loses a request that was begun.
    ByClosing,
    /// By a GOAWAY, which tells which requests were taken (RFC 9113 §6.8).
    InFrames,
}

/// A transport under its connection's timeouts.
struct Timed<'l, D> {
    client: Rc<Client>,
    limits: &'l Limits,
    told: Told,
    drain: D,
    drained: bool,
    /// Its client was told that it ends, for it asked for nothing.
    parting: bool,
    /// Its socket was looked at once more before it is closed.
    looked_again: bool,
    /// True for a transport that is given up when it has nothing to do, and made anew.
    rests: bool,
    /// True for a connection that came while the worker drains or after its listener left: closing it unread would lose
    /// its first request.
    late: bool,
    spell: Spell,
}

impl<'l, D> Timed<'l, D> {
    fn new(client: &Rc<Client>, settings: &'l Settings, told: Told, drain: D) -> Self {
        // The first head shares its time with all that came before it.
        let is_first = client.begun.get() == 0;
        let since = if is_first { settings.since } else { client.worker.clock.now() };
        let late = client.worker.drains(client.listener) || !client.worker.knows(client.listener);
        let limits = &settings.limits;
        let client = Rc::clone(client);
        let spell = Spell::new((client.begun.get(), client.progress.writes.get()), since);
        let (drained, parting, looked_again, rests) = (false, false, false, false);
        Self { client, limits, told, drain, drained, parting, looked_again, rests, late, spell }
    }

    /// Completes with how the transport ended, and with the transport itself where something is left to be done with it.
    async fn run<T>(mut self, transport: T) -> End<T>
    where
        T: Future<Output = hyper::Result<()>> + Unpin,
        D: Fn(&mut T),
    {
        let mut transport = Some(transport);
        let mut sleep = Box::pin(tokio::time::sleep(self.limits.header_timeout));
        std::future::poll_fn(|cx| {
            let Some(running) = transport.as_mut() else { return Poll::Ready(End::Over) };
            self.listen(cx);
            loop {
                if let Poll::Ready(outcome) = Pin::new(&mut *running).poll(cx) {
                    let ended = transport.take().map(|transport| match outcome {
                        Ok(()) => End::Served(transport),
                        Err(error) => End::Failed(error, transport),
                    });
                    return Poll::Ready(ended.unwrap_or(End::Over));
                }
                // Afterwards, so that a request that has come is read first. It may have become so while it was polled, and
                // nothing else would wake it.
                if !self.is_to_drain() {
                    break;
                }
                if self.is_to_look_again(cx) {
                    return Poll::Pending;
                }
                self.drained = true;
                (self.drain)(running);
            }
            match self.poll_overdue(sleep.as_mut(), cx) {
                Poll::Ready(Phase::Head) if !self.is_quiet() => {
                    Poll::Ready(transport.take().map_or(End::Over, End::Late))
                }
                Poll::Ready(Phase::Idle) if self.rests && !self.drained => {
                    Poll::Ready(transport.take().map_or(End::Over, End::Idle))
                }
                // It is told first, where the protocol has a word for it: the next request may be on its way.
                Poll::Ready(Phase::Head | Phase::Idle) if !self.drained => {
                    (self.drained, self.parting) = (true, true);
                    (self.drain)(running);
                    self.spell.begin_anew(self.client.worker.clock.now());
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(_) => Poll::Ready(End::Over),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// True where no head has begun, and the client can be told that none is waited for any more.
    fn is_quiet(&self) -> bool {
        self.told == Told::InFrames && !self.client.progress.unread_head.get()
    }

    fn is_to_drain(&self) -> bool {
        let asked = self.client.handle.is_draining() || (self.late && self.client.begun.get() > 0);
        // Whoever connected just before, or is sending a head, has not heard of the end.
        asked && !self.drained && (self.told == Told::InFrames || self.current() != Phase::Head)
    }

    /// True once, where closing would lose a request that has come, and of which the runtime has not heard: it looks at its
    /// sockets between tasks, and wakes this one after that.
    fn is_to_look_again(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = self.told == Told::ByClosing && self.current() == Phase::Idle && !self.looked_again;
        if is_due {
            self.looked_again = true;
            // Its waker is kept until then, whatever becomes of the future.
            let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
        is_due
    }

    fn listen(&self, cx: &Context<'_>) {
        self.client.progress.register(cx.waker());
        self.client.handle.register(cx.waker());
    }

    /// Completes with the phase that lasted too long. The timer is set again only for an earlier deadline or when it rang.
    fn poll_overdue(&mut self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Phase> {
        let now = self.client.worker.clock.now();
        let (phase, progress) = (self.current(), (self.client.begun.get(), self.client.progress.writes.get()));
        self.spell.note(phase, progress, now);
        let asking = self.told == Told::ByClosing && phase == Phase::Head && self.client.progress.unread_head.get();
        self.client.handle.set_asking(asking);
        // HTTP/1.1 has no word that a connection is about to end, so there only one that rests counts as idle.
        self.client.handle.set_idle(self.told == Told::InFrames && phase == Phase::Idle);
        let deadline = tokio::time::Instant::from_std(self.spell.since() + self.limit());
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(phase);
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn current(&self) -> Phase {
        let client = &self.client;
        match (client.in_flight.get() > 0, client.progress.stalled.get()) {
            (_, true) => Phase::Stalled,
            (true, false) => Phase::Busy,
            (false, false) if client.progress.unread_head.get() || client.begun.get() == 0 => Phase::Head,
            (false, false) => Phase::Idle,
        }
    }

    fn limit(&self) -> Duration {
        match self.spell.phase() {
            Phase::Head if self.parting && self.is_quiet() => self.limits.header_timeout.min(FAREWELL),
            Phase::Head => self.limits.header_timeout,
            Phase::Idle if self.rests && !self.drained => self.limits.idle_timeout.min(REST),
            Phase::Idle if self.drained => self.limits.idle_timeout.min(FAREWELL),
            Phase::Idle => self.limits.idle_timeout,
            // An exchange is bounded by its own timeouts; this one only keeps the arithmetic finite.
            Phase::Busy => Duration::from_secs(24 * 3600),
            Phase::Stalled if self.client.lasting.get() > 0 => self.limits.stream_idle_timeout,
            Phase::Stalled => self.limits.write_timeout,
        }
    }
}

/// Keeps a connection known to its worker.
pub(super) struct Known {
    worker: Rc<Worker>,
    key: usize,
    _admission: Admission,
}

impl Known {
    /// The worker reaches it by this handle.
    pub(super) fn new(worker: &Rc<Worker>, listener: ListenerId, handle: Handle, admission: Admission) -> Self {
        Self { worker: Rc::clone(worker), key: worker.connect(listener, handle), _admission: admission }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.worker.disconnect(self.key);
    }
}

/// Counts a connection as active.
pub(super) struct Active(Arc<ListenerSeries>);

impl Active {
    /// One more of this listener.
    pub(super) fn new(series: &Arc<ListenerSeries>) -> Self {
        series.connections.inc();
        series.active.add(1);
        Self(Arc::clone(series))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<C, I, S, F>(_: impl Fn(C, I, S) -> F) -> usize {
        size_of::<F>()
    }

    /// Every connection has one, idle or not.
    #[test]
    fn the_future_of_a_connection_stays_small() {
        let talking = size(|client, stream, settings: &'static Settings| talk(client, stream, settings));

        assert!(talking <= 1400, "{talking} bytes");
    }
}
