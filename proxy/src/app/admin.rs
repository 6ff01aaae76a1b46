//! The admin endpoints: alive, ready, metrics, configuration. They read the process and change nothing.
//!
//! They run on the control thread, away from traffic. Only names and addresses of this machine are answered, so that no
//! page in a browser can reach them by pointing a name of its own here (DNS rebinding).

mod checks;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use self::checks::Check;
use crate::app::descriptors::Reserve;
use crate::app::reload::Orders;
use crate::telemetry::metrics::Registry;

/// Connections served at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// The life of a connection: head, body, answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed `accept`, so that a lack of descriptors does not burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an unwanted body that are read before the answer, so that the answer is not lost to a reset.
const UNWANTED_BODY: usize = 64 << 10;

/// What `/` and every unknown path say.
const ENDPOINTS: &str = "\
/live              200 while every worker comes round, 503 with the ones that are stuck
/ready             200 when it takes traffic, 503 with the reason when not; ?verbose says more
/metrics           Prometheus text; also at /stats/prometheus
/config_dump       the configuration in its long form, secrets redacted
";

/// Text of Prometheus, in the version that every scraper reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What the endpoints show.
pub struct AdminState {
    /// Whether the process takes traffic.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` renders.
    pub registry: Arc<Registry>,
    /// Where changes are asked for, and what they came to is seen.
    pub orders: Orders,
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
    let mut reserve = Reserve::default();
    reserve.fill();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
            reserve.fill();
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_one(stream, bound, Arc::clone(state)));
                }
                Err(error) if reserve.yields(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "admin: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => reserve.fill(),
        }
    }
}

/// One connection, which carries one exchange.
async fn serve_one(stream: TcpStream, bound: Option<SocketAddr>, state: Arc<AdminState>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let response = answer(&Request::from_parts(head, ()), bound, &state).await;
            discard(body).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // A client that is too slow or speaks no HTTP is dropped; there is nobody to tell.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
}

async fn discard(mut body: Incoming) {
    let mut left = UNWANTED_BODY;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}

async fn answer(request: &Request<()>, bound: Option<SocketAddr>, state: &AdminState) -> Response<Full<Bytes>> {
    if !names_this_machine(request, bound) {
        let sentence = "admin answers only requests to localhost, a loopback address or the address it is bound to\n";
        return plain(StatusCode::FORBIDDEN, sentence);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "admin endpoints are read with GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => plain(StatusCode::OK, ENDPOINTS),
        "/live" => checked(&checks::stuck(&state.registry).await, "live", request),
        "/ready" => checked(&checks::all(state).await, "ready", request),
        "/metrics" | "/stats/prometheus" => response(StatusCode::OK, PROMETHEUS, state.registry.render()),
        "/config_dump" => response(StatusCode::OK, JSON, format!("{:#}\n", state.orders.sight().config_dump)),
        _ => plain(StatusCode::NOT_FOUND, ENDPOINTS),
    }
}

fn checked(checks: &[Check], fine: &str, request: &Request<()>) -> Response<Full<Bytes>> {
    let verbose = request.uri().query().is_some_and(|query| query.split('&').any(|word| word == "verbose"));
    let (ok, page) = checks::page(checks, fine, verbose);
    response(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, page)
}

/// Whether the request names this machine in a way that no foreign DNS entry can.
///
/// The port is not compared: forwarded ports differ from the bound one.
fn names_this_machine(request: &Request<()>, bound: Option<SocketAddr>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if hosts.next().is_some() {
        return false;
    }
    // An absolute target counts in place of the header.
    let Some(authority) = request.uri().authority().or(header.as_ref()) else { return false };
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    address.to_canonical().is_loopback() || bound.is_some_and(|bound| bound.ip() == address)
}

fn plain(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, body)
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
