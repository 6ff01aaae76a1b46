//! Upstreams: which endpoint gets a request, over which connection, and how its answer comes back.
//!
//! What is here belongs to one worker: pools share nothing, limits are the worker's share of the process's. But for `fleet`,
//! `health` and `resolve`, which look after endpoints once for the whole process, on the control side.

pub mod balance;
pub mod body;
pub mod cluster;
pub mod connect;
pub mod echo;
pub mod fleet;
pub mod h1;
pub mod h2;
pub mod health;
pub mod late;
pub mod outgoing;
pub mod outliers;
pub mod own;
pub mod pool;
pub mod replay;
pub mod resolve;
pub mod retry;
pub mod switched;
mod trial;
pub mod tunnel;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tollgate_config::Retry;

use crate::error::Reason;
use crate::telemetry::metrics::{RetryCause, UpstreamFailure};
use crate::tls::failure::late_word;
use crate::upstream::body::{Incoming, RequestBody};
use crate::upstream::cluster::affinity::Affinity;
use crate::upstream::cluster::place::Place;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::h1::{Fault, Hints};
use crate::upstream::pool::{Connection, Ends, Unreached};
pub use crate::upstream::trial::Waits;
use crate::upstream::trial::{Blame, try_at};

/// What an exchange holds of a connection and of its cluster until its answer ended. Dropped before, it closes the connection
/// or resets the stream.
pub struct Lease {
    hold: Hold,
    /// Among the requests under way; absent where an attempt is not all of its request.
    _place: Option<Place>,
}

/// What is held of a connection.
enum Hold {
    /// All of it.
    Http1(pool::Lease),
    /// A stream, beside those of others.
    Http2(h2::Lease),
}

impl Lease {
    fn http1(lease: pool::Lease) -> Self {
        Self { hold: Hold::Http1(lease), _place: None }
    }

    fn http2(lease: h2::Lease) -> Self {
        Self { hold: Hold::Http2(lease), _place: None }
    }

    /// The same with a place among the requests under way.
    fn with(self, place: Place) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// True where others have streams on the connection.
    fn is_shared(&self) -> bool {
        matches!(self.hold, Hold::Http2(_))
    }

    /// The socket of a connection that goes on with another protocol, with what was read of that and what has it count.
    fn hand_over(&self) -> Option<(pool::Transport, Bytes, Option<connect::Open>)> {
        match &self.hold {
            Hold::Http1(lease) => lease.speaker()?.hand_over(),
            Hold::Http2(_) => None,
        }
    }

    /// Gives the connection back for the next exchange.
    pub fn give_back(self) {
        match self.hold {
            Hold::Http1(lease) => lease.give_back(),
            Hold::Http2(lease) => drop(lease),
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

/// Why an exchange fails that brings interim answers without an end.
pub(crate) const STORM: Reason = Reason::UpstreamProtocol("interim_answers_too_many");

/// How many attempts came to nothing: left beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Attempts(pub u32);

/// The endpoint says that it did not look at the request: left beside it.
#[derive(Clone, Copy, Debug)]
pub struct Unseen;

/// How a request is sent.
#[derive(Default)]
pub struct Aim<'a> {
    /// Which endpoint it belongs to, in clusters that hash.
    pub affinity: Option<Box<Affinity>>,
    /// After what it is sent once more; `None`: after what costs nothing and harms nobody.
    pub retry: Option<&'a Retry>,
    /// What the client's connection was meant for, in a cluster that has no other endpoints.
    pub original: Option<Rc<Endpoint>>,
    /// Who waits for the answer.
    pub waits: Waits<'a>,
}

impl Aim<'_> {
    /// The endpoint for the request, other than `avoid` where there is another; none where none is worth it.
    fn pick(&self, cluster: &Cluster, avoid: Option<&Rc<Endpoint>>) -> Option<Rc<Endpoint>> {
        self.original.clone().or_else(|| cluster.pick(self.hash(), avoid))
    }

    /// What decides which endpoint it goes to.
    fn hash(&self) -> Option<u64> {
        self.affinity.as_ref().and_then(|affinity| affinity.hash)
    }
}

/// Sends a request, in the form of HTTP/1.1, to some endpoint of the cluster, in whatever the cluster speaks.
///
/// A request that was not begun is tried again: on the next idle connection, on a fresh one, and where no connection
/// could be made, once on another endpoint. A request that was begun is repeated once only when its connection was a
/// reused one, its method is idempotent and it has no body (RFC 9110 §9.2.2). What an endpoint of HTTP/2 says it did
/// not look at is repeated once. Everything else is for `aim.retry` to say.
pub async fn send(cluster: &Cluster, aim: &Aim<'_>, request: &mut Request<RequestBody>) -> Result<Answer, Reason> {
    let Some(place) = cluster.enter() else {
        count(cluster, &Reason::UpstreamOverflow);
        return Err(Reason::UpstreamOverflow);
    };
    let answered = match aim.retry {
        // Boxed, so that other exchanges do not carry its state.
        Some(retry) => Box::pin(retry::send(cluster, aim, retry, request)).await,
        None => send_once(cluster, aim, request).await,
    };
    // It is under way until its answer is.
    answered.map(|answer| Answer { lease: answer.lease.with(place), ..answer })
}

/// Sends a request of which nobody says that it may be repeated.
async fn send_once(cluster: &Cluster, aim: &Aim<'_>, request: &mut Request<RequestBody>) -> Result<Answer, Reason> {
    // In a scope of its own, so that nothing of the first attempt is carried along through the second.
    let (failed, repeating) = {
        let picked = match aim.pick(cluster, None) {
            Some(endpoint) => Some(endpoint),
            None => Box::pin(await_endpoint(cluster, aim.hash())).await,
        };
        let outcome = match &picked {
            Some(endpoint) if endpoint.http2.is_none() && !cluster.judges() => match endpoint.pool.permit().await {
                Ok(permit) => endpoint.pool.send(permit, request, aim.waits.hints()).await,
                Err(reason) => Err(reason),
            },
            Some(endpoint) => Box::pin(try_at(cluster, endpoint, Blame::of(aim.waits, true), request)).await,
            None => Err(unreached(request)),
        };
        match outcome {
            Ok(answer) => return Ok(answer),
            Err(reason) => match another(cluster, picked, &reason) {
                Some(another) => another,
                None => return Err(failed_after(1, cluster, request, reason)),
            },
        }
    };
    Box::pin(elsewhere(cluster, aim, (failed, repeating), request)).await
}

/// The endpoint that could not be reached with the right to try another one, where there is one.
fn another(cluster: &Cluster, picked: Option<Rc<Endpoint>>, reason: &Reason) -> Option<(Rc<Endpoint>, Place)> {
    let failed = picked.filter(|_| reason.is_unreached() && cluster.endpoints() > 1)?;
    Some((failed, cluster.repeat(Retry::BUDGET, RetryCause::Connect)?))
}

/// The second attempt, at another endpoint than the one that could not be reached.
async fn elsewhere(
    cluster: &Cluster,
    aim: &Aim<'_>,
    (failed, _repeating): (Rc<Endpoint>, Place),
    request: &mut Request<RequestBody>,
) -> Result<Answer, Reason> {
    let outcome = match aim.pick(cluster, Some(&failed)) {
        Some(endpoint) => try_at(cluster, &endpoint, Blame::of(aim.waits, false), request).await,
        None => Err(unreached(request)),
    };
    match outcome {
        Ok(answer) => Ok(Answer { attempts: 1 + answer.attempts, ..answer }),
        Err(reason) => Err(failed_after(2, cluster, request, reason)),
    }
}

/// Counts a failure, and leaves word of the attempts beside the request.
fn failed_after(tried: u32, cluster: &Cluster, request: &mut Request<RequestBody>, reason: Reason) -> Reason {
    count(cluster, &reason);
    request.extensions_mut().insert(Attempts(tried));
    reason
}

/// An endpoint of a cluster that has none at this moment, because a name of it is being looked up for the first time.
pub(crate) async fn await_endpoint(cluster: &Cluster, hash: Option<u64>) -> Option<Rc<Endpoint>> {
    let patience = cluster.fleet.config.connect_timeout;
    let mut changed = cluster.fleet.watch();
    let looked_up = async {
        loop {
            changed.borrow_and_update();
            match found(|| cluster.is_settled(), || cluster.pick(hash, None)) {
                ControlFlow::Break(found) => return found,
                ControlFlow::Continue(()) => changed.changed().await.ok()?,
            }
        }
    };
    tokio::time::timeout(patience, looked_up).await.ok().flatten()
}

/// What there is, or that there will be nothing. What comes between the two questions is found by the second.
fn found<T>(is_settled: impl FnOnce() -> bool, pick: impl FnOnce() -> Option<T>) -> ControlFlow<Option<T>> {
    let is_settled = is_settled();
    match pick() {
        None if !is_settled => ControlFlow::Continue(()),
        picked => ControlFlow::Break(picked),
    }
}

/// Leaves word that there was nobody to send the request to.
fn unreached(request: &mut Request<RequestBody>) -> Reason {
    request.extensions_mut().insert(Unreached("no endpoint is known that is worth a request".to_owned()));
    Reason::UpstreamConnect
}

fn count(cluster: &Cluster, reason: &Reason) {
    let failure = match reason {
        // Counted by whoever waits for the exchange or the callout.
        Reason::UpstreamTimeout => return,
        // No fault of an upstream.
        Reason::ClientGone => return,
        Reason::UpstreamConnect => UpstreamFailure::Connect,
        Reason::UpstreamTls { .. } => UpstreamFailure::Tls,
        Reason::UpstreamOverflow => UpstreamFailure::Overflow,
        Reason::UpstreamBusy => UpstreamFailure::Busy,
        Reason::UpstreamProtocol(_) => UpstreamFailure::Protocol,
        _ => UpstreamFailure::Reset,
    };
    cluster.series.failures[failure.index()].inc();
}

/// What became of one attempt on one connection.
pub(crate) enum Attempt {
    /// The answer's head is here.
    Answered(Response<Incoming>, Connection),
    /// Nothing was written: the request is whole.
    NotBegun,
    /// The reused connection broke before any answer to a request that may be repeated, and is whole.
    Repeat,
    /// It failed.
    Failed(Reason),
}

/// Tries one connection of HTTP/1.1 with the request, whose body is taken.
pub(crate) async fn attempt(
    connection: Connection,
    request: &mut Request<RequestBody>,
    reused: bool,
    hints: Option<&dyn Hints>,
) -> Attempt {
    let may_repeat = reused && request.body().is_end_stream() && is_idempotent(request.method());
    match connection.speaker.send(request, hints).await {
        Ok(response) => Attempt::Answered(response.map(Incoming::Http1), connection),
        Err(Fault::NotBegun) => Attempt::NotBegun,
        Err(Fault::Broken(_)) if may_repeat => Attempt::Repeat,
        Err(fault) => Attempt::Failed(classify(fault)),
    }
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::TRACE].contains(method)
}

/// Whose fault it is that there is no answer.
fn classify(fault: Fault) -> Reason {
    match fault {
        Fault::Malformed => Reason::UpstreamProtocol("not_http"),
        Fault::TooLarge => Reason::UpstreamProtocol("head_too_large"),
        Fault::Storm => STORM,
        Fault::Broken(error) => match error.and_then(|error| late_word(&error)) {
            Some(why) => Reason::UpstreamTls { why, sent: true },
            None => Reason::UpstreamReset,
        },
        Fault::Aborted => Reason::ClientGone,
        Fault::NotBegun => Reason::UpstreamReset,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_comes_between_two_looks_is_found() {
        let came = Cell::new(false);

        // It comes right after the first of both.
        let found = found(|| came.replace(true), || came.replace(true).then_some("it"));

        assert_eq!(found, ControlFlow::Break(Some("it")));
    }

    #[test]
    fn nothing_is_waited_for_until_everything_is_known() {
        let found = |is_settled| found(|| is_settled, || None::<()>);

        assert_eq!((found(false), found(true)), (ControlFlow::Continue(()), ControlFlow::Break(None)));
    }
}
