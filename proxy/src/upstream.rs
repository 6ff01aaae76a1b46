//! Upstreams: which endpoint gets a request, over which connection, and how its answer comes back.
//!
//! Everything here belongs to one worker: pools share nothing, limits are the worker's share of the process's.

pub mod body;
pub mod cluster;
pub mod connect;
pub mod echo;
pub mod pool;

use std::net::SocketAddr;

use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};

use crate::error::Reason;
use crate::telemetry::metrics::UpstreamFailure;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::Cluster;
use crate::upstream::pool::{Connection, Lease};

/// An upstream's answer, with what gives its connection back.
pub struct Answer {
    /// The head, and the body as it comes.
    pub response: Response<Incoming>,
    /// The connection, to be given back when the body is done.
    pub lease: Lease,
    /// The endpoint's address.
    pub address: SocketAddr,
}

/// Sends a request to some endpoint of the cluster.
///
/// A request that was not begun is tried again: on the next idle connection, on a fresh one, and where no connection
/// could be made, once on the next endpoint. A request that was begun is repeated once only when its connection was a
/// reused one, its method is idempotent and it has no body (RFC 9110 §9.2.2).
pub async fn send(cluster: &Cluster, request: &mut Request<RequestBody>) -> Result<Answer, Reason> {
    let mut tried = 0;
    loop {
        tried += 1;
        let pool = cluster.next();
        let outcome = match pool.permit().await {
            Ok(permit) => pool.lease(permit, request).await,
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(answer) => return Ok(answer),
            Err(Reason::UpstreamConnect) if tried < 2.min(cluster.endpoints()) => cluster.series.retries.inc(),
            Err(reason) => {
                count(cluster, &reason);
                return Err(reason);
            }
        }
    }
}

fn count(cluster: &Cluster, reason: &Reason) {
    let failure = match reason {
        Reason::UpstreamConnect => UpstreamFailure::Connect,
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

/// Tries one connection with the request, which is taken out of its place.
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

/// A second copy of a request that does no harm when it is carried out twice.
fn repeatable(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::TRACE];
    if !request.body().is_end_stream() || !idempotent.contains(request.method()) {
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
    if error.is_parse_too_large() {
        Reason::UpstreamProtocol("head_too_large")
    } else if error.is_parse() {
        Reason::UpstreamProtocol("not_http")
    } else {
        Reason::UpstreamReset
    }
}
