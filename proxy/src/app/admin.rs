//! The admin endpoints: health, metrics, configuration, filters, and what changes them.
//!
//! They run on the control thread, away from traffic, and wait for nothing there: changes are orders to `app::reload`. Who is
//! answered is `guard`'s decision. No answer has a secret in it: neither a filter's configuration nor the token.

mod change;
mod checks;
mod clusters;
mod filters;
mod guard;
mod page;
mod patience;
mod reply;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, EXPECT, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollgate_config::Token;

use self::checks::Check;
use self::guard::Guard;
use self::page::{Access, ENDPOINTS, Page, parameter};
use self::patience::Patience;
use self::reply::{JSON, PROMETHEUS, TEXT, response};
use crate::app::descriptors::{are_lacking, with_reserve};
use crate::app::reload::Orders;
use crate::telemetry::metrics::Registry;

/// Connections served at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// Changes under way at once: each may hold a module. Reading is possible beside them.
const CHANGES: usize = 4;
/// The life of a connection: head, body, answer. A change gets more.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed `accept`, so that a lack of descriptors does not burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an unwanted body that are read before the answer, so that the answer is not lost to a reset: twice the largest
/// module.
const UNWANTED_BODY: usize = 32 << 20;

/// What the endpoints show.
pub struct AdminState {
    /// Whether the process takes traffic.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` renders.
    pub registry: Arc<Registry>,
    /// Where changes are asked for, and what they came to is seen.
    pub orders: Orders,
    token: Option<Token>,
    /// Places for changes under way.
    changes: Arc<Semaphore>,
    /// The one place for a change whose order is given, so that what was looked at before is still so.
    turn: Arc<Semaphore>,
}

impl AdminState {
    /// What is shown, and what has to be said to change it.
    pub fn new(readiness: Arc<Readiness>, registry: Arc<Registry>, orders: Orders, token: Option<Token>) -> Self {
        let (changes, turn) = (Arc::new(Semaphore::new(CHANGES)), Arc::new(Semaphore::new(1)));
        Self { readiness, registry, orders, token, changes, turn }
    }
}

/// Where the process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Listeners are bound, and not every worker serves yet.
    Starting,
    /// Traffic is welcome.
    Ready,
    /// What is under way is finished, new traffic should go elsewhere.
    Draining,
}

/// The stage of the process; any thread may read and move it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Moves to another stage; `/ready` tells at once.
    pub fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    /// The stage; `Starting` until somebody moves it.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }
}

/// Serves the endpoints until the task that runs this is aborted; its connections end with it. They are answered even when
/// traffic has taken every descriptor of the process.
pub async fn serve(listener: &TcpListener, state: &Arc<AdminState>) {
    let bound = listener.local_addr().ok();
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = accept(listener) => match accepted {
                Ok(stream) => {
                    connections.spawn(serve_one(stream, bound, Arc::clone(state)));
                }
                Err(error) => {
                    tracing::warn!(%error, "admin: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next connection, out of the reserve where there are no descriptors left.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let accepted = match listener.accept().await {
        Err(error) if are_lacking(&error) => poll_fn(|context| with_reserve(|| listener.poll_accept(context))).await,
        accepted => accepted,
    };
    accepted.map(|(stream, _)| stream)
}

/// One connection, which carries one exchange.
async fn serve_one(stream: TcpStream, bound: Option<SocketAddr>, state: Arc<AdminState>) {
    let (patience, end) = Patience::new(CONNECTION_TIMEOUT);
    let patience = Arc::new(patience);
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, patience) = (Arc::clone(&state), Arc::clone(&patience));
        async move {
            let (head, mut body) = request.into_parts();
            let request = Request::from_parts(head, ());
            let answer = answer(&request, &mut body, bound, &state, &patience).await;
            // Who asks first whether the body is wanted has not sent it.
            if !request.headers().contains_key(EXPECT) {
                discard(body).await;
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that is too slow or speaks no HTTP is dropped; there is nobody to tell.
        _ = connection => {}
        () = end.come() => {}
    }
}

async fn discard(mut body: Incoming) {
    let mut left = UNWANTED_BODY;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}

async fn answer(
    request: &Request<()>,
    body: &mut Incoming,
    bound: Option<SocketAddr>,
    state: &AdminState,
    patience: &Patience,
) -> Response<Full<Bytes>> {
    let guard = Guard { bound, token: state.token.as_ref() };
    let Some(page) = Page::of(request.uri().path()) else {
        return guarded(&guard, request, Access::Read).unwrap_or_else(|| plain(StatusCode::NOT_FOUND, ENDPOINTS));
    };
    if let Some(denied) = guarded(&guard, request, page.access()) {
        return denied;
    }
    let methods = page.methods();
    if !methods.split(", ").any(|method| method == request.method()) {
        let sentence = format!("{} takes {methods}\n", request.uri().path());
        return with(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, sentence), ALLOW, methods);
    }
    match page {
        Page::Change(change) => change::carry_out(change, request, body, state, patience).await.to(request),
        page => shown(&page, request, &guard, state).await,
    }
}

async fn shown(page: &Page, request: &Request<()>, guard: &Guard<'_>, state: &AdminState) -> Response<Full<Bytes>> {
    // Details are for those who may read.
    let verbose = parameter(request.uri().query(), "verbose").is_some() && guard.check(request, Access::Read).is_ok();
    match page {
        Page::Live => checked(&checks::stuck(&state.registry).await, "live", verbose),
        Page::Ready => checked(&checks::all(state).await, "ready", verbose),
        Page::Metrics => response(StatusCode::OK, PROMETHEUS, state.registry.render()),
        Page::ConfigDump => response(StatusCode::OK, JSON, format!("{:#}\n", state.orders.sight().config_dump)),
        Page::Clusters => clusters::all(&state.orders.sight().clusters).to(request),
        Page::Filters => filters::all(state).to(request),
        Page::Filter(name) => filters::one(state, name).to(request),
        Page::Root | Page::Change(_) => plain(StatusCode::OK, ENDPOINTS),
    }
}

/// The answer to a request that is not to be carried out.
fn guarded(guard: &Guard<'_>, request: &Request<()>, access: Access) -> Option<Response<Full<Bytes>>> {
    let denied = guard.check(request, access).err()?;
    let answer = plain(denied.status(), denied.sentence());
    let wants_token = denied.status() == StatusCode::UNAUTHORIZED;
    Some(if wants_token { with(answer, WWW_AUTHENTICATE, "Bearer") } else { answer })
}

fn checked(checks: &[Check], fine: &str, verbose: bool) -> Response<Full<Bytes>> {
    let (ok, page) = checks::page(checks, fine, verbose);
    response(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, page)
}

fn plain(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, body)
}

fn with(mut answer: Response<Full<Bytes>>, name: HeaderName, value: &'static str) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

#[cfg(test)]
mod tests;
