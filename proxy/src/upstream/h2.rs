//! HTTP/2 with one endpoint: many exchanges share a connection, and another one is made only where all are full.
//!
//! Flow control, frames and settings are hyper's. What is decided here is which connection a request takes, and which
//! request may be repeated.

mod session;
pub(super) mod upload;
pub(super) mod wire;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, request};
use tokio::sync::{Notify, OwnedSemaphorePermit};

pub use self::session::Lease;
use self::session::Session;
use self::upload::{KEPT, Upload};
use crate::clock::Clock;
use crate::error::Reason;
use crate::telemetry::metrics::{ClusterSeries, RetryCause};
use crate::tls::failure::ALERT_WORDS;
use crate::upstream::body::{Incoming, RequestBody};
use crate::upstream::pool::{self, Bounds, Waiting};
use crate::upstream::replay::Replay;
use crate::upstream::trial::Way;
use crate::upstream::{Answer, Unseen, is_idempotent};

/// See the module.
pub struct Pool {
    /// The endpoint; connections of every kind share its bound.
    endpoint: Rc<pool::Pool>,
    sessions: RefCell<Vec<Rc<Session>>>,
    /// True while a connection is being made; one at a time, on which others wait.
    opening: Cell<bool>,
    /// Connections that could not be made, and why the last one.
    failures: Cell<u64>,
    failure: RefCell<Reason>,
    /// Rung when a connection was made or not, and when a stream ended.
    changed: Notify,
    pending: Cell<usize>,
}

/// Why one attempt on one stream brought no answer.
enum Miss {
    /// Nothing was written.
    NotBegun,
    /// The endpoint says that it did not look at the request.
    Refused,
    /// The connection broke.
    Broken,
    Failed(Reason),
}

impl Pool {
    /// A pool without connections.
    pub fn new(endpoint: Rc<pool::Pool>) -> Self {
        Self {
            endpoint,
            sessions: RefCell::default(),
            opening: Cell::new(false),
            failures: Cell::new(0),
            failure: RefCell::new(Reason::UpstreamConnect),
            changed: Notify::new(),
            pending: Cell::new(0),
        }
    }

    /// Sends the request, which has the form of HTTP/1.1. Where no connection could be made, `request` is left whole.
    ///
    /// It is sent once more, on another connection where there may be one, when the endpoint refused the stream or said
    /// with GOAWAY that it did not look at it; and, as for HTTP/1.1, when a used connection broke, for an idempotent
    /// request without a body.
    ///
    /// `way` hears whom the request waits for.
    pub(super) async fn send(self: &Rc<Self>, request: &mut Request<RequestBody>, way: &Way) -> Result<Answer, Reason> {
        let mut lease = self.lease(None, way).await?;
        let (mut head, body) = std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
        to_http2(&mut head, if self.endpoint.is_tls() { Scheme::HTTPS } else { Scheme::HTTP })?;
        let replay = Replay::new(body, KEPT);
        let mut repeated = false;
        loop {
            let session = Rc::clone(&lease.stream.session);
            let reused = session.begun.replace(session.begun.get() + 1) > 0;
            let mut refused = false;
            let repeat = match self.attempt(lease, &head, &replay).await {
                Ok(answer) => return Ok(Answer { attempts: 1 + u32::from(repeated), ..answer }),
                Err(Miss::Failed(reason)) => return Err(reason),
                // A fresh connection that takes no request is as good as none.
                Err(Miss::NotBegun) if !reused => {
                    return Err(give_up(request, head, &replay, Reason::UpstreamConnect));
                }
                Err(Miss::NotBegun) => false,
                Err(Miss::Refused) => {
                    refused = true;
                    true
                }
                Err(Miss::Broken) if reused && replay.is_empty() && is_idempotent(&head.method) => true,
                Err(Miss::Broken) => return Err(Reason::UpstreamReset),
            };
            if repeat {
                if std::mem::replace(&mut repeated, true) {
                    return Err(unseen(request, refused));
                }
                let cause = if refused { RetryCause::RefusedStream } else { RetryCause::Reset };
                self.endpoint.series.retries[cause.index()].inc();
            }
            lease = match self.lease(Some(&session), way).await {
                Ok(lease) => lease,
                Err(reason) if reason.is_unreached() => return Err(give_up(request, head, &replay, reason)),
                Err(reason) => return Err(reason),
            };
        }
    }

    async fn attempt(&self, lease: Lease, head: &request::Parts, replay: &Replay) -> Result<Answer, Miss> {
        let session = &lease.stream.session;
        let Some(upload) = Upload::new(replay, &lease.stream) else { return Err(Miss::Failed(Reason::UpstreamReset)) };
        let sent = session.sender.clone().try_send_request(Request::from_parts(head.clone(), upload)).await;
        match sent {
            Ok(response) if response.headers().len() > self.bounds().peer.fields => {
                Err(Miss::Failed(Reason::UpstreamProtocol("head_too_large")))
            }
            Ok(response) => {
                replay.forget();
                let ends = Rc::clone(&session.ends);
                let lease = super::Lease::http2(lease);
                Ok(Answer { response: response.map(Incoming::Http2), lease, ends, waited: Duration::ZERO, attempts: 1 })
            }
            Err(error) if error.message().is_some() => Err(Miss::NotBegun),
            Err(error) => Err(classify(error.error())),
        }
    }

    /// A stream on a connection other than `avoid`, where the bounds allow another.
    async fn lease(self: &Rc<Self>, avoid: Option<&Rc<Session>>, way: &Way) -> Result<Lease, Reason> {
        if let Some(lease) = self.free(avoid) {
            way.came(true);
            return Ok(lease);
        }
        // Whoever waits for a connection that is being made waits for no exchange to end.
        let growing = self.opening.get() || self.endpoint.has_permit();
        let streams = if growing { self.streams() } else { 0 };
        if self.pending.get() >= self.bounds().pending.saturating_add(streams) {
            return Err(Reason::UpstreamOverflow);
        }
        let _waiting = Waiting::new(&self.pending);
        let Bounds { connect_timeout, pool_timeout, .. } = *self.bounds();
        // A connection that is not made in time says so itself; one that is may be full again.
        let patience = if growing { connect_timeout.max(pool_timeout) } else { pool_timeout };
        match tokio::time::timeout(patience, self.wait(avoid, way)).await {
            Ok(outcome) => outcome,
            Err(_) if self.opening.get() && self.sessions.borrow().is_empty() => Err(Reason::UpstreamConnect),
            Err(_) => Err(Reason::UpstreamBusy),
        }
    }

    async fn wait(self: &Rc<Self>, avoid: Option<&Rc<Session>>, way: &Way) -> Result<Lease, Reason> {
        let failures = self.failures.get();
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(lease) = self.free(avoid) {
                way.came(true);
                return Ok(lease);
            }
            if self.failures.get() != failures {
                return Err(self.failure.borrow().clone());
            }
            let is_opening = self.open();
            if !is_opening && let Some(lease) = avoid.and_then(|_| self.free(None)) {
                return Ok(lease);
            }
            way.came(is_opening);
            changed.await;
        }
    }

    /// A stream on the first connection with room, so that connections which are not needed fall idle.
    fn free(self: &Rc<Self>, avoid: Option<&Rc<Session>>) -> Option<Lease> {
        let sessions = self.sessions.borrow();
        let roomy = |session: &&Rc<Session>| {
            !avoid.is_some_and(|avoid| Rc::ptr_eq(avoid, session)) && session.has_room(self.streams())
        };
        sessions.iter().find(roomy).map(|session| Lease::new(self, session))
    }

    /// Has a connection made, unless one is; false where the bound is reached. It is made even if nobody waits any more.
    fn open(self: &Rc<Self>) -> bool {
        if self.opening.get() {
            return true;
        }
        self.forget_closed();
        let Some(permit) = self.endpoint.try_permit() else { return false };
        self.opening.set(true);
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match pool.connect(permit).await {
                Ok(session) => pool.sessions.borrow_mut().push(session),
                Err(reason) => {
                    pool.failures.set(pool.failures.get() + 1);
                    *pool.failure.borrow_mut() = reason;
                }
            }
            pool.opening.set(false);
            pool.changed.notify_waiters();
        });
        true
    }

    async fn connect(&self, permit: OwnedSemaphorePermit) -> Result<Rc<Session>, Reason> {
        self.endpoint.connected(None, async |socket| Session::open(socket, self, permit).await).await
    }

    /// Exchanges that have a stream or wait for one.
    pub fn active(&self) -> usize {
        let exchanges: usize = self.sessions.borrow().iter().map(|session| session.exchanges()).sum();
        exchanges + self.pending.get()
    }

    /// Leaves its connections to the exchanges on them: each closes after its last one.
    pub(super) fn retire(&self) {
        self.sessions.borrow_mut().clear();
    }

    /// Closes what nobody uses at this moment.
    pub(super) fn close_idle(&self) {
        let now = Some(self.now());
        self.sessions.borrow_mut().retain(|session| !session.ends(now));
    }

    /// Drops connections that died or were unused for too long.
    pub fn sweep(&self) {
        let oldest = self.now().checked_sub(self.bounds().idle_timeout);
        self.sessions.borrow_mut().retain(|session| !session.ends(oldest));
    }

    fn forget_closed(&self) {
        self.sessions.borrow_mut().retain(|session| !session.ends(None));
    }

    fn stream_ended(&self) {
        if self.pending.get() > 0 {
            self.changed.notify_one();
        }
    }

    /// Most exchanges on one connection.
    fn streams(&self) -> usize {
        usize::try_from(self.bounds().peer.streams).unwrap_or(usize::MAX)
    }

    fn bounds(&self) -> &Bounds {
        &self.endpoint.bounds
    }

    fn series(&self) -> Arc<ClusterSeries> {
        Arc::clone(&self.endpoint.series)
    }

    fn clock(&self) -> Rc<Clock> {
        Rc::clone(&self.endpoint.clock)
    }

    fn now(&self) -> Instant {
        self.endpoint.clock.now()
    }
}

/// What was sent twice in vain, with word of the endpoint that it did not look at it where it says so.
fn unseen(request: &mut Request<RequestBody>, refused: bool) -> Reason {
    if refused {
        request.extensions_mut().insert(Unseen);
    }
    Reason::UpstreamReset
}

/// No connection: the request goes back into its place where nothing of its body was read.
fn give_up(request: &mut Request<RequestBody>, head: request::Parts, replay: &Replay, why: Reason) -> Reason {
    match replay.reclaim() {
        Some(body) => {
            *request = Request::from_parts(head, body);
            why
        }
        None => Reason::UpstreamReset,
    }
}

/// RFC 9113 §8.3.1: the target takes the place of Host.
fn to_http2(head: &mut request::Parts, scheme: Scheme) -> Result<(), Reason> {
    let host = head.headers.remove(HOST);
    head.headers.remove(TRANSFER_ENCODING);
    let mut target = std::mem::take(&mut head.uri).into_parts();
    if let Some(host) = host.as_ref().map(HeaderValue::as_bytes) {
        target.authority = Some(Authority::try_from(host).map_err(|_| Reason::BadRequest("host_invalid"))?);
    }
    target.scheme.get_or_insert(scheme);
    head.uri = Uri::from_parts(target).map_err(|_| Reason::BadRequest("host_invalid"))?;
    head.version = http::Version::HTTP_2;
    head.extensions.clear();
    Ok(())
}

/// What an error of a stream or its connection comes to. hyper tells it in the words of h2 alone; the words that a peer
/// chooses stand behind those.
fn classify(error: &hyper::Error) -> Miss {
    let words = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let has = |start: &str| words.starts_with(start);
    if has("stream error received: refused stream before processing") || has("connection error received: ") {
        // RFC 9113 §8.7: neither was looked at. h2 tells of a GOAWAY only those streams that it leaves behind.
        Miss::Refused
    } else if has(ALERT_WORDS) {
        // h2 passes on the words of rustls, and not its error.
        Miss::Failed(Reason::UpstreamTls { why: "alert", sent: true })
    } else if has("stream error received: ") {
        Miss::Failed(Reason::UpstreamReset)
    } else if has("connection error detected: ") || has("stream error detected: ") {
        Miss::Failed(Reason::UpstreamProtocol("not_http2"))
    } else {
        Miss::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_the_form_of_http_2_once_and_keeps_it() {
        let request = Request::get("/a?b").header("host", "api.local:81").header("x", "1").body(()).unwrap();
        let (mut head, ()) = request.into_parts();

        to_http2(&mut head, Scheme::HTTP).unwrap();
        to_http2(&mut head, Scheme::HTTPS).unwrap();

        assert_eq!(head.uri, "http://api.local:81/a?b");
        assert!(!head.headers.contains_key(HOST) && head.headers.contains_key("x"));
    }
}
