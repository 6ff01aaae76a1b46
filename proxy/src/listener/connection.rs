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

use bytes::BytesMut;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tollgate_config::Limits;

use crate::client::{Client, Handle, Progress};
use crate::listener::Admission;
use crate::listener::framing::Bounds;
use crate::listener::io::{ClientIo, Transport, say, socket};
use crate::listener::opening::{self, Opened};
use crate::serve;
use crate::snapshot::{ListenerId, LocalListener};
use crate::telemetry::metrics::ListenerSeries;
use crate::tls::server::Server;
use crate::upstream::connect::LocalExecutor;
use crate::worker::Worker;

/// RFC 9110 §15.5.9, for a client whose head never came.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// The number of fields that hyper parses without an allocation of its own.
const FREE_FIELDS: usize = 100;
/// How long a client may go on sending to which nobody listens, before its connection is closed.
const FAREWELL: Duration = Duration::from_millis(500);
/// Flow-control windows of HTTP/2, and how much of an answer may wait for the client to read.
const WINDOW: u32 = 64 * 1024;

/// What a connection keeps of its listener: not its routes, whose filters it would keep from ending.
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) series: Arc<ListenerSeries>,
    /// Present where TLS is spoken.
    pub(super) tls: Option<Arc<Server>>,
}

impl Settings {
    /// Those of a listener at the moment.
    pub(super) fn of(known: &LocalListener) -> Self {
        let listener = &known.listener;
        Self { limits: listener.limits, series: Arc::clone(&known.series), tls: listener.tls.clone() }
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
    (stream, source): (TcpStream, SocketAddr),
    admission: Admission,
) -> impl Future<Output = ()> {
    let handle = Handle::default();
    // Here and not when the future is first polled: a listener that leaves before that is kept, and drains it.
    let held = (Known::new(&worker, listener, handle.clone(), admission), Active::new(&settings.series));
    async move {
        let _held = held;
        // Whoever was told to drain before it was listened to came late, and is served once.
        handle.forget();
        let Ok(destination) = stream.local_addr() else { return };
        let id = worker.shared.connection_ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let progress = Rc::new(Progress::default());
        let Some(opened) = opening::open(stream, &settings, &progress).await else { return };
        let secured = opened.secured.clone();
        if secured.is_some() {
            // Nor was it listened to while hands were shaken.
            handle.forget();
        }
        let (in_flight, begun) = (Cell::new(0), Cell::new(0));
        let ends_by_closing = Cell::new(false);
        let written = OnceCell::new();
        let client = Client {
            worker,
            listener,
            source,
            destination,
            id,
            secured,
            progress,
            in_flight,
            begun,
            ends_by_closing,
            handle,
            written,
        };
        talk(Rc::new(client), opened, &settings).await;
    }
}

async fn talk(client: Rc<Client>, opened: Opened, settings: &Settings) {
    let Opened { transport, first, is_http2, .. } = opened;
    let bounds = (!is_http2).then(|| settings.bounds());
    let io = ClientIo::new(transport, first, bounds, Rc::clone(&client.progress));
    let (exchanges, known) = (Rc::clone(&client), Rc::clone(&client));
    let service = service_fn(move |request: Request<Incoming>| serve::serve(Rc::clone(&exchanges), request));
    let ending = if is_http2 {
        let transport = http2_builder(settings).serve_connection(io, service);
        let timed =
            Timed::new(client, settings, Told::InFrames, |transport: &mut Pin<Box<http2::Connection<_, _, _>>>| {
                transport.as_mut().graceful_shutdown();
            });
        timed.run(Box::pin(transport)).await.0
    } else {
        let transport = http1_builder(settings).serve_connection(io, service);
        let timed = Timed::new(client, settings, Told::ByClosing, |transport: &mut http1::Connection<_, _>| {
            Pin::new(transport).graceful_shutdown();
        });
        let (ending, left) = timed.run(transport).await;
        if let Some(left) = left {
            last_word(left.into_parts().io, &ending, &known).await;
        }
        ending
    };
    if let Ending::Failed(error) = ending {
        settings.series.protocol_errors.inc();
        tracing::debug!(%error, "client connection ended");
    }
}

/// Tells a client that its head came too late, if its socket takes the words at once. To a client for whom a closed
/// connection is a whole answer, a reset tells that its answer is not. One that may still be sending is heard out.
async fn last_word(io: ClientIo, ending: &Ending, client: &Client) {
    let is_owed = io.is_owed();
    let mut transport = io.into_transport();
    // The connection is closed in any case.
    match ending {
        Ending::Overdue => say(&mut transport, REQUEST_TIMEOUT),
        Ending::Failed(error) if !error.is_parse() && client.ends_by_closing.get() => {
            drop(SockRef::from(socket(&transport)).set_linger(Some(Duration::ZERO)));
        }
        Ending::Failed(error) if error.is_parse() => linger(&mut transport).await,
        Ending::Served if is_owed => linger(&mut transport).await,
        Ending::Served | Ending::Failed(_) => {}
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
    let _ = tokio::time::timeout(FAREWELL, listening).await;
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

fn http2_builder(settings: &Settings) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    let limits = &settings.limits;
    builder
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .max_send_buf_size(WINDOW as usize)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes.bytes()).unwrap_or(u32::MAX));
    builder
}

/// How a connection ended.
enum Ending {
    /// As it should, or after the time for something else than a head.
    Served,
    /// A head came too late.
    Overdue,
    /// By a fault of the client or of an exchange.
    Failed(hyper::Error),
}

/// What a connection without an exchange is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was read yet, or a head is incomplete.
    Head,
    /// Between exchanges.
    Idle,
    /// In an exchange, and the client takes what is written.
    Busy,
    /// In an exchange, and the client takes nothing.
    Stalled,
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
struct Timed<D> {
    client: Rc<Client>,
    limits: Limits,
    told: Told,
    drain: D,
    drained: bool,
    /// True for a connection that came while the worker drains or after its listener left: closing it unread would lose
    /// its first request.
    late: bool,
    phase: Phase,
    /// Exchanges and writes so far: one poll may end a phase and begin another of its kind.
    progress: (u64, u64),
    since: Instant,
}

impl<D> Timed<D> {
    fn new(client: Rc<Client>, settings: &Settings, told: Told, drain: D) -> Self {
        let since = client.worker.clock.now();
        let late = client.worker.draining.get() || !client.worker.knows(client.listener);
        let limits = settings.limits;
        Self { client, limits, told, drain, drained: false, late, phase: Phase::Head, progress: (0, 0), since }
    }

    /// Completes with how the transport ended, and with the transport itself where a word is left to be said.
    async fn run<T>(mut self, transport: T) -> (Ending, Option<T>)
    where
        T: Future<Output = hyper::Result<()>> + Unpin,
        D: Fn(&mut T),
    {
        let mut transport = Some(transport);
        let mut sleep = Box::pin(tokio::time::sleep(self.limits.header_timeout));
        std::future::poll_fn(|cx| {
            let Some(running) = transport.as_mut() else { return Poll::Ready((Ending::Served, None)) };
            self.listen(cx);
            loop {
                if self.is_to_drain() {
                    self.drained = true;
                    (self.drain)(running);
                }
                if let Poll::Ready(outcome) = Pin::new(&mut *running).poll(cx) {
                    return Poll::Ready((outcome.map_or_else(Ending::Failed, |()| Ending::Served), transport.take()));
                }
                // It may have become so while it was polled, and nothing else would wake it.
                if !self.is_to_drain() {
                    break;
                }
            }
            match self.poll_overdue(sleep.as_mut(), cx) {
                Poll::Ready(Phase::Head) => Poll::Ready((Ending::Overdue, transport.take())),
                Poll::Ready(_) => Poll::Ready((Ending::Served, None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn is_to_drain(&self) -> bool {
        let asked = self.client.handle.is_draining() || (self.late && self.client.begun.get() > 0);
        // Whoever connected just before, or is sending a head, has not heard of the end.
        asked && !self.drained && (self.told == Told::InFrames || self.current() != Phase::Head)
    }

    fn listen(&self, cx: &Context<'_>) {
        self.client.progress.register(cx.waker());
        self.client.handle.register(cx.waker());
    }

    /// Completes with the phase that lasted too long. The timer is set again only for an earlier deadline or when it rang.
    fn poll_overdue(&mut self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Phase> {
        let now = self.client.worker.clock.now();
        let (phase, progress) = (self.current(), (self.client.begun.get(), self.client.progress.writes.get()));
        if (phase, progress) != (self.phase, self.progress) {
            (self.phase, self.progress) = (phase, progress);
            self.since = now;
        }
        let asking = self.told == Told::ByClosing && phase == Phase::Head && self.client.progress.unread_head.get();
        self.client.handle.set_asking(asking);
        let deadline = tokio::time::Instant::from_std(self.since + self.limit());
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(self.phase);
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
        match self.phase {
            Phase::Head => self.limits.header_timeout,
            Phase::Idle => self.limits.idle_timeout,
            // An exchange is bounded by its own timeouts; this one only keeps the arithmetic finite.
            Phase::Busy => Duration::from_secs(24 * 3600),
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
