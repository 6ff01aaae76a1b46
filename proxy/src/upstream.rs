//! Upstreams: which endpoint gets a request, over which connection, and how its answer comes back.
//!
//! Everything here belongs to one worker: pools share nothing, limits are the worker's share of the process's.

pub mod body;
pub mod cluster;
pub mod connect;
pub mod echo;
pub mod h2;
mod hearing;
pub mod own;
pub mod pool;
pub mod tunnel;

use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};

use crate::error::Reason;
use crate::telemetry::metrics::UpstreamFailure;
use crate::tls::failure::late_word;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::Cluster;
use crate::upstream::pool::{Connection, Ends};

/// What an exchange holds of a connection until its answer ended. Dropped before, it closes the connection or resets the
/// stream.
pub enum Lease {
    /// A connection of its own.
    Http1(pool::Lease),
    /// A stream on a connection that others share.
    Http2(h2::Lease),
}

impl Lease {
    /// Gives the connection back for the next exchange.
    pub fn give_back(self) {
        match self {
            Self::Http1(lease) => lease.give_back(),
            Self::Http2(lease) => drop(lease),
        }
    }
}

/// An upstream's answer, with what gives its connection back.
pub struct Answer {
    /// The head, and the body as it comes.
    pub response: Response<Incoming>,
    /// The connection, to be given back when the body is done.
    pub lease: Lease,
    /// The ends of the connection.
    pub ends: Rc<Ends>,
    /// The wait for it; none for one that was idle or is shared.
    pub waited: Duration,
    /// Attempts, this one included.
    pub attempts: u32,
}

/// How many attempts came to nothing: left beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Attempts(pub u32);

/// Sends a request, in the form of HTTP/1.1, to some endpoint of the cluster, in whatever the cluster speaks.
///
/// A request that was not begun is tried again: on the next idle connection, on a fresh one, and where no connection
/// could be made, once on the next endpoint. A request that was begun is repeated once only when its connection was a
/// reused one, its method is idempotent and it has no body (RFC 9110 §9.2.2). What an endpoint of HTTP/2 says it did
/// not look at is repeated once.
pub async fn send(cluster: &Cluster, request: &mut Request<RequestBody>) -> Result<Answer, Reason> {
    let mut tried = 0_u32;
    loop {
        tried += 1;
        let endpoint = cluster.next();
        let outcome = match &endpoint.http2 {
            None => endpoint.pool.send(request).await,
            // Boxed, so that exchanges in HTTP/1.1 do not carry its state.
            Some(http2) => Box::pin(http2.send(request)).await,
        };
        match outcome {
            Ok(answer) => return Ok(Answer { attempts: tried - 1 + answer.attempts, ..answer }),
            Err(reason) if reason.is_unreached() && tried < 2 && cluster.endpoints() > 1 => {
                cluster.series.retries.inc()
            }
            Err(reason) => {
                count(cluster, &reason);
                request.extensions_mut().insert(Attempts(tried));
                return Err(reason);
            }
        }
    }
}

fn count(cluster: &Cluster, reason: &Reason) {
    let failure = match reason {
        Reason::UpstreamConnect => UpstreamFailure::Connect,
        Reason::UpstreamTls { .. } => UpstreamFailure::Tls,
        Reason::UpstreamOverflow => UpstreamFailure::Overflow,
        Reason::UpstreamProtocol(_) => UpstreamFailure::Protocol,
        _ => UpstreamFailure::Reset,
    };
    cluster.series.failures[failure.index()].inc();
}

/// What became of one attempt on one connection.
pub(crate) enum Attempt {
    /// The answer's head is here.
    Answered(Response<Incoming>, Connection),
    /// Nothing was written: the request is back in its place.
    NotBegun,
    /// The reused connection broke before any answer; a copy of the request, which may be repeated, is in its place.
    Repeat,
    /// It failed.
    Failed(Reason),
}

/// Tries one connection of HTTP/1.1 with the request, which is taken out of its place.
pub(crate) async fn attempt(mut connection: Connection, request: &mut Request<RequestBody>, reused: bool) -> Attempt {
    let copy = if reused { repeatable(request) } else { None };
    let sent = std::mem::replace(request, Request::new(RequestBody::Empty));
    match connection.sender.try_send_request(sent).await {
        Ok(response) => Attempt::Answered(response, connection),
        Err(mut error) => match (error.take_message(), copy) {
            (Some(back), _) => {
                *request = back;
                Attempt::NotBegun
            }
            (None, Some(copy)) if !error.error().is_parse() => {
                *request = *copy;
                Attempt::Repeat
            }
            _ => Attempt::Failed(classify(error.error())),
        },
    }
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::TRACE].contains(method)
}

/// A second copy of a request that does no harm when it is carried out twice.
fn repeatable(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    if !request.body().is_end_stream() || !is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Box::new(Request::new(RequestBody::Empty));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whose fault a transport error is.
pub(crate) fn classify(error: &hyper::Error) -> Reason {
    if let Some(why) = late_word(error) {
        Reason::UpstreamTls { why, sent: true }
    } else if error.is_parse_too_large() {
        Reason::UpstreamProtocol("head_too_large")
    } else if error.is_parse() {
        Reason::UpstreamProtocol("not_http")
    } else {
        Reason::UpstreamReset
    }
}
