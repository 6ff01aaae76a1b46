//! One exchange, from the request's head to the last byte of the answer. Read it top to bottom.
//!
//! It takes one snapshot and holds it; it decides in which order things happen, and leaves how to `route`, `filter` and
//! `upstream`.

mod account;
mod answer;
mod connect;
mod interim;
mod routing;
mod upgrade;

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tollgate_abi::Cause;
use tollgate_config::Protocol;

use crate::client::Client;
use crate::error::{Abort, Reason};
use crate::exchange::forwarded;
use crate::exchange::head::{RequestHead, ResponseHead};
use crate::exchange::hop::host::Host;
use crate::exchange::hop::{self, Accepted};
use crate::exchange::stream::{Facts, FilterStream, Reached};
use crate::exchange::{Awaiting, Exchange, Half};
use crate::filter::callout::hops;
use crate::filter::chain::{Chain, Draw, Halt};
use crate::filter::pump::Pump;
use crate::serve::account::Account;
pub use crate::serve::answer::ResponseBody;
use crate::snapshot::{LocalListener, LocalRoute};
use crate::telemetry::metrics::{ClusterSeries, Measure, UpstreamFailure, class_index};
use crate::upstream::body::{AnswerBody, ClientBody, RequestBody};
use crate::upstream::cluster::affinity::Affinity;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::pool::Unreached;
use crate::upstream::{self, Waits, echo, own};

/// Serves one request. `Err` ends the transport (HTTP/1) or the stream (HTTP/2) without an answer.
pub async fn serve(client: Rc<Client>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Abort> {
    client.worker.clock.look();
    let local = client.worker.local();
    let version = request.version();
    client.ends_by_closing.set(version == Version::HTTP_10);
    let Some(listener) = local.listener(client.listener) else { return Err(Abort) };
    if let Some(reason) = client.progress.refused.take() {
        return Ok(answer::refusal(&client, listener, version, &reason));
    }
    if *request.method() == Method::CONNECT {
        // Boxed, so that other exchanges do not carry its state.
        return Box::pin(connect::serve(client, listener, request)).await;
    }
    let (mut accepted, body) = match accept(request, listener, &client) {
        Ok(accepted) => accepted,
        Err(reason) => return Ok(answer::refusal(&client, listener, version, &reason)),
    };
    let Some(route) = routing::route(listener, &accepted.head) else {
        let lost = Serving::begin(client, Rc::clone(&listener.unrouted), &accepted, body.is_end_stream());
        return answer::failure(lost.account, &lost.client, version, Reason::NoRoute);
    };
    upgrade::keep(&mut accepted, &route, body.is_end_stream());
    let sheds = client.worker.sheds();
    let exchange = Serving::begin(client, route, &accepted, body.is_end_stream());
    if sheds {
        return exchange.shed();
    }
    if exchange.route.filters.is_empty() {
        exchange.run_plain(accepted.head, body).await
    } else {
        // Boxed, so that exchanges without filters do not carry its state.
        Box::pin(exchange.run_filtered(listener, accepted, body)).await
    }
}

/// Checks, strips and marks a request.
fn accept<B>(request: Request<B>, listener: &LocalListener, client: &Client) -> Result<(Accepted, B), Reason> {
    let known = &listener.listener;
    let (mut accepted, body) = hop::accept(request, known.limits.headers, known.http.path, &client.host)?;
    mark(&mut accepted, listener, client)?;
    Ok((accepted, body))
}

/// Says in a request whose it is.
fn mark(accepted: &mut Accepted, listener: &LocalListener, client: &Client) -> Result<(), Reason> {
    if client.secured.is_some() {
        accepted.head.scheme = Scheme::HTTPS;
    }
    let peer = client.peer(accepted.version);
    accepted.client = forwarded::mark(&mut accepted.head, &listener.listener.http, peer)?;
    Ok(())
}

/// An exchange that has a route.
struct Serving {
    account: Account,
    client: Rc<Client>,
    route: Rc<LocalRoute>,
    exchange: Rc<Exchange>,
    version: Version,
    method: Method,
}

impl Serving {
    fn begin(client: Rc<Client>, route: Rc<LocalRoute>, accepted: &Accepted, bodiless: bool) -> Self {
        let started = client.worker.clock.now();
        let exchange = Rc::new(Exchange::new(started, route.timeouts, accepted.takes_trailers));
        if bodiless {
            exchange.end_request(started);
        }
        if accepted.upgrade.is_some() {
            exchange.upgrade.set(accepted.upgrade.clone());
        }
        let account = Account::open(&client, &route, &exchange, accepted);
        let (version, method) = (accepted.version, accepted.head.method.clone());
        Self { account, client, route, exchange, version, method }
    }

    /// For want of memory no filter and no upstream hears of it.
    #[cold]
    fn shed(self) -> Result<Response<ResponseBody>, Abort> {
        let Self { account, client, version, .. } = self;
        if let Some(known) = client.worker.local().listener(client.listener) {
            known.series.overload[Measure::Shed.index()].inc();
        }
        answer::failure(account, &client, version, Reason::Overloaded)
    }

    /// Without filters: head and body go straight on, both ways.
    async fn run_plain(self, head: RequestHead, body: Incoming) -> Result<Response<ResponseBody>, Abort> {
        let Self { account, client, route, exchange, version, method } = self;
        let body = ClientBody::new(body, Rc::clone(&exchange), Rc::clone(&client.worker.clock));
        let body = if body.is_end_stream() { RequestBody::Empty } else { RequestBody::Direct(body) };
        let mut request = match upstream_request(&exchange, &route, &client.host, head, body) {
            Ok(request) => request,
            Err(reason) => return answer::failure(account, &client, version, reason),
        };
        #[cfg(test)]
        crate::telemetry::panics::sabotage::pass("exchange");
        match reach(&client, &route, &exchange, None, &mut request, version).await {
            Ok(answered) => {
                account.answered(answered.address);
                Ok(answer::pass(account, &client, version, &method, answered))
            }
            Err(Halt::Fail(reason)) => answer::failure(account, &client, version, reason),
            Err(Halt::Respond(_)) => {
                answer::failure(account, &client, version, Reason::Internal("an answer without a filter"))
            }
        }
    }

    /// With filters: each sees the head, then the body, then the answer.
    async fn run_filtered(
        self,
        listener: &LocalListener,
        accepted: Accepted,
        body: Incoming,
    ) -> Result<Response<ResponseBody>, Abort> {
        let Accepted { head, content_length, .. } = accepted;
        let is_grpc = answer::is_grpc(&head.fields.map);
        if let Some(plugin) = &self.route.filters.barred {
            let reason = Reason::FilterFailed { plugin: plugin.to_string(), cause: Cause::Refused };
            return answer::failure(self.account, &self.client, self.version, reason);
        }
        let chain = self.chain(listener, head, content_length);
        let Self { mut account, client, route, version, method, .. } = self;
        account.attach(&chain);
        let replying = answer::Replying { account, client, chain, version, method, is_grpc };
        let mut answered = match ask(&replying, listener, route, body, content_length).await {
            Ok(answered) => {
                replying.account.answered(answered.address);
                answered
            }
            Err(halt) => replying.local(halt)?,
        };
        let outcome = replying.through_filters(&mut answered).await;
        replying.answer(outcome, answered.agreed)
    }

    /// The filters of the route, with the head in the stream that they are lent.
    fn chain(&self, listener: &LocalListener, head: RequestHead, content_length: Option<u64>) -> Rc<Chain> {
        let buffer = listener.listener.limits.buffer.as_usize();
        let filters = &self.route.filters;
        let chain = Rc::new(Chain::new(Rc::clone(&self.exchange), filters.pick(), buffer));
        let facts = Facts {
            names: Arc::clone(&self.route.names),
            quotas: Arc::clone(&filters.quotas),
            source: self.client.source,
            destination: self.client.destination,
            connection: self.client.id,
            secured: self.client.secured.clone(),
            version: self.version,
            started: self.exchange.started,
            content_length,
            hops: if chain.may_call() { hops::of(&head.fields.map) } else { 0 },
        };
        self.exchange.stream.set(Some(Box::new(FilterStream::new(facts, head))));
        chain
    }
}

/// The request through the filters and to the upstream.
async fn ask(
    replying: &answer::Replying,
    listener: &LocalListener,
    route: Rc<LocalRoute>,
    body: Incoming,
    content_length: Option<u64>,
) -> Result<Answered, Halt> {
    let answer::Replying { account, chain, client, version, .. } = replying;
    let exchange = account.exchange();
    let body = ClientBody::new(body, Rc::clone(exchange), Rc::clone(&client.worker.clock));
    let bodiless = body.is_end_stream();
    let (mut pump, direct) = if chain.takes_body(Half::Request, bodiless) {
        (Some(Box::new(Pump::new(Rc::clone(chain), Half::Request, body))), RequestBody::Empty)
    } else {
        (None, if bodiless { RequestBody::Empty } else { RequestBody::Direct(body) })
    };
    chain.request_headers(bodiless, pump.as_deref_mut().map(|pump| pump as &mut dyn Draw)).await?;
    let route = routing::reroute(replying, listener, route)?;
    let body = match pump {
        Some(pump) => pumped(pump, bodiless || content_length.is_some()).await?,
        None => direct,
    };
    // Filters that saw the first bytes may have changed it once more.
    let route = routing::reroute(replying, listener, route)?;
    let mut request = filtered_request(&route, &client.host, chain, body)?;
    reach(client, &route, exchange, Some(chain), &mut request, *version).await
}

/// A body that goes through filters. Where its length was known, the head waits for the first bytes: if they are the whole
/// body, its new length is known, otherwise the body is chunked.
async fn pumped(mut pump: Box<Pump<ClientBody>>, length_known: bool) -> Result<RequestBody, Halt> {
    if length_known {
        std::future::poll_fn(|cx| pump.poll_first(cx)).await?;
    }
    Ok(RequestBody::Filtered(pump))
}

/// The request as it leaves the filters.
fn filtered_request(
    route: &LocalRoute,
    host: &Host,
    chain: &Rc<Chain>,
    body: RequestBody,
) -> Result<Request<RequestBody>, Halt> {
    // Filters may read the head as long as the exchange lives, so they keep a copy. What has room for the fields that the
    // proxy adds goes on: a copy has none to spare.
    let head = chain.with_stream(|stream| {
        stream.request.fields.writable = false;
        let kept = stream.request.clone();
        std::mem::replace(&mut stream.request, kept)
    })?;
    upstream_request(chain.exchange(), route, host, head, body).map_err(Halt::Fail)
}

/// The head in HTTP/1.1's form, with what the route changes of it; framing follows from the body.
fn upstream_request(
    exchange: &Exchange,
    route: &LocalRoute,
    host: &Host,
    mut head: RequestHead,
    body: RequestBody,
) -> Result<Request<RequestBody>, Reason> {
    if let Some(edits) = &route.edits {
        edits.request(&mut head)?;
    }
    // RFC 9110 §8.6: without a length an origin may take such a request for an unfinished one and answer 411.
    let says_empty = body.is_end_stream() && [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
    let mut request = Request::new(body);
    if let Some(own) = &route.own {
        own.prepare(&head, &mut request)?;
    }
    *request.method_mut() = head.method;
    *request.uri_mut() = http::Uri::from(head.path);
    *request.headers_mut() = head.fields.map;
    if let Some(host) = host.field(&head.authority) {
        request.headers_mut().insert(http::header::HOST, host);
    }
    upgrade::ask(exchange, route, request.headers_mut());
    if says_empty {
        request.headers_mut().insert(http::header::CONTENT_LENGTH, http::HeaderValue::from(0));
    }
    Ok(request)
}

/// An answer's head and body, checked and stripped.
pub(crate) struct Answered {
    head: ResponseHead,
    body: AnswerBody,
    content_length: Option<u64>,
    address: Option<std::net::SocketAddr>,
    /// Present with a 101.
    agreed: Option<Box<upgrade::Agreed>>,
}

impl Answered {
    /// The same with the cookie that the client is to keep, if any.
    fn with(mut self, affinity: Option<Box<Affinity>>) -> Self {
        if let Some(cookie) = affinity.and_then(|affinity| affinity.cookie) {
            self.head.fields.map.append(http::header::SET_COOKIE, cookie);
        }
        self
    }
}

/// Sends the request and waits for the head of the answer, or for a filter or the sweeper to end the wait.
async fn reach(
    client: &Rc<Client>,
    route: &LocalRoute,
    exchange: &Rc<Exchange>,
    chain: Option<&Chain>,
    request: &mut Request<RequestBody>,
    version: Version,
) -> Result<Answered, Halt> {
    match &route.cluster {
        None => {
            exchange.awaiting.set(Awaiting::Head);
            let answered = uninterrupted(exchange, chain, pin!(reach_own(request, version))).await;
            exchange.awaiting.set(Awaiting::Bytes);
            answered
        }
        Some(cluster) => {
            let original = toward(client, cluster, version).map_err(Halt::Fail)?;
            exchange.awaiting.set(Awaiting::Head);
            match original.as_ref().map_or(cluster.protocol, |endpoint| endpoint.protocol()) {
                Protocol::Http1 => {}
                Protocol::H2 if exchange.takes_trailers => pass_te(request),
                Protocol::H2 => {}
            }
            if cluster.tells_clients {
                request.extensions_mut().insert(client.passed());
            }
            let sent = client.worker.clock.now();
            let aim = upstream::Aim {
                affinity: cluster.affinity(request.headers(), client.source.ip()),
                retry: route.retry.as_deref().or(cluster.fleet.config.retry.as_ref()),
                original,
                waits: Waits::Exchange(exchange, interim::hints(client, version)),
            };
            let answered = uninterrupted(exchange, chain, pin!(upstream::send(cluster, &aim, request))).await;
            exchange.awaiting.set(Awaiting::Bytes);
            // What ended this wait from outside the sender has not counted.
            let failure = match &answered {
                Err(Halt::Fail(Reason::UpstreamTimeout)) => Some(UpstreamFailure::Timeout),
                _ => None,
            };
            if let Some(failure) = failure {
                cluster.series.failures[failure.index()].inc();
            }
            let began = answered.is_ok().then(|| client.worker.clock.look());
            if let Some(chain) = chain {
                let reached = reached(cluster, request, answered.as_ref().ok());
                chain.with_stream(|stream| {
                    stream.upstream_times = (Some(sent), began);
                    stream.reached = reached;
                })?;
            }
            answered.and_then(|answer| {
                cluster.series.duration.observe(began.unwrap_or(sent).saturating_duration_since(sent));
                accept_answer(client, exchange, answer, &cluster.series).map(|answered| answered.with(aim.affinity))
            })
        }
    }
}

/// The endpoint that the client's connection was meant for, in clusters that lead there.
fn toward(client: &Client, cluster: &Cluster, version: Version) -> Result<Option<Rc<Endpoint>>, Reason> {
    let protocol = if version == Version::HTTP_2 { Protocol::H2 } else { Protocol::Http1 };
    cluster.toward(client.traveller(), protocol, &client.worker.shared.own)
}

/// RFC 9113 §8.2.2: the one field of a hop that HTTP/2 has room for, and gRPC asks for.
fn pass_te(request: &mut Request<RequestBody>) {
    request.headers_mut().insert(http::header::TE, http::HeaderValue::from_static("trailers"));
}

/// What filters may know about the way to the upstream. A failed attempt leaves its words beside the request.
fn reached(cluster: &Cluster, request: &Request<RequestBody>, answer: Option<&upstream::Answer>) -> Reached {
    let beside = request.extensions();
    let ends = answer.map(|answer| &answer.ends);
    let failed = || beside.get::<upstream::Attempts>().map(|attempts| attempts.0);
    Reached {
        address: ends.map(|ends| ends.address),
        local: ends.map(|ends| ends.local),
        secured: ends.and_then(|ends| ends.secured.clone()),
        endpoints: Some(cluster.endpoints()),
        attempts: answer.map(|answer| answer.attempts).or_else(failed),
        waited: answer.map(|answer| answer.waited),
        failure: beside.get::<Unreached>().map(|why| why.0.clone()),
    }
}

/// The answer that a route gives itself, or the built-in echo's.
async fn reach_own(request: &mut Request<RequestBody>, version: Version) -> Result<Answered, Reason> {
    let gone = |Abort| Reason::ClientGone;
    let response = match own::answer(request, version).await.map_err(gone)? {
        Some(response) => response,
        None => echo::answer(request).await.map_err(gone)?,
    };
    let (parts, bytes) = response.into_parts();
    let content_length = u64::try_from(bytes.len()).ok();
    Ok(Answered {
        head: answer::head(parts),
        body: AnswerBody::Bytes(bytes),
        content_length,
        address: None,
        agreed: None,
    })
}

/// Runs `work` until it completes, a filter halts the exchange, or the exchange runs out of time.
async fn uninterrupted<T>(
    exchange: &Exchange,
    chain: Option<&Chain>,
    mut work: Pin<&mut impl Future<Output = Result<T, Reason>>>,
) -> Result<T, Halt> {
    std::future::poll_fn(|cx| {
        if let Some(chain) = chain {
            chain.take_halt().map_or_else(|| chain.wished(), Err)?;
        }
        if exchange.interrupted() {
            return Poll::Ready(Err(Halt::Fail(exchange.reason().unwrap_or(Reason::ClientGone))));
        }
        exchange.register(Half::Response, cx.waker());
        let halted = |reason| match (chain.and_then(Chain::take_halt), exchange.interrupted()) {
            // What reads the request itself fails because a filter halted it, and the filter's word is what counts.
            (Some(halt), _) => halt,
            // What ended the work ended the exchange as well, and knows more.
            (None, true) => Halt::Fail(exchange.reason().unwrap_or(reason)),
            (None, false) => Halt::Fail(reason),
        };
        work.as_mut().poll(cx).map_err(halted)
    })
    .await
}

/// What may not be passed on is an upstream's fault; everything else loses what belongs to its hop.
fn accept_answer(
    client: &Client,
    exchange: &Rc<Exchange>,
    answer: upstream::Answer,
    series: &Arc<ClusterSeries>,
) -> Result<Answered, Halt> {
    let upstream::Answer { response, lease, ends, .. } = answer;
    let address = ends.address;
    let (mut parts, body) = response.into_parts();
    series.responses[class_index(Some(parts.status.as_u16()))].inc();
    let refused = |why| {
        series.failures[UpstreamFailure::Protocol.index()].inc();
        Halt::Fail(Reason::UpstreamProtocol(why))
    };
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let agreed = Some(upgrade::agree(exchange, &mut parts, lease).map_err(refused)?);
        let (head, body) = (answer::head(parts), AnswerBody::Bytes(Bytes::new()));
        return Ok(Answered { head, body, content_length: None, address: Some(address), agreed });
    }
    let content_length = hop::check_answer(&parts).map_err(refused)?;
    hop::strip(&mut parts.headers, |name| name == "content-length");
    let body = AnswerBody::upstream(body, lease, Rc::clone(exchange), Rc::clone(&client.worker.clock));
    Ok(Answered { head: answer::head(parts), body, content_length, address: Some(address), agreed: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<C, R, F>(_: impl Fn(C, R) -> F) -> usize {
        size_of::<F>()
    }

    /// hyper moves the future of every request, so each byte of it is copied, on the stack and by `memcpy`.
    #[test]
    fn the_future_of_an_exchange_stays_small() {
        assert!(size(serve) <= 3200, "{} bytes", size(serve));
    }

    /// glibc keeps pieces of up to 1,032 bytes at hand for each thread; larger ones take ten times as long to get.
    #[test]
    fn what_filters_are_lent_is_no_large_piece_of_memory() {
        assert!(size_of::<FilterStream>() <= 1032, "{} bytes", size_of::<FilterStream>());
    }
}
