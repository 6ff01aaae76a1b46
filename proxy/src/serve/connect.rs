//! CONNECT: exchanges that become a tunnel to an endpoint of their route's cluster, never to the host that the client names.
//!
//! A route says that it may be. The endpoint is connected to before the answer, so that a client is told of a tunnel only where
//! there is one. What becomes of it then is `upgrade`'s business.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tollgate_abi::Cause;
use tollgate_config::Protocol;

use super::{Answered, Serving, mark, routing, uninterrupted};
use crate::client::Client;
use crate::error::{Abort, Reason};
use crate::exchange::head::{Fields, RequestHead, ResponseHead};
use crate::exchange::hop::{self, Accepted};
use crate::exchange::stream::Reached;
use crate::exchange::{Awaiting, Exchange};
use crate::filter::chain::{Chain, Halt};
use crate::serve::answer::{self, ResponseBody};
use crate::serve::upgrade::Agreed;
use crate::snapshot::{LocalListener, LocalRoute};
use crate::telemetry::metrics::UpstreamFailure;
use crate::upstream::body::AnswerBody;
use crate::upstream::cluster::Cluster;
use crate::upstream::tunnel::{self, Tunnel};

/// No route makes tunnels, or none of those that do is for this request.
const NOT_ALLOWED: Reason = Reason::BadRequest("connect_not_allowed");

/// Serves one CONNECT.
pub(super) async fn serve(
    client: Rc<Client>,
    listener: &LocalListener,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Abort> {
    let version = request.version();
    let mut response = answer(client, listener, request).await?;
    // What a client sends in the belief that there is a tunnel is never the next request.
    if version != Version::HTTP_2 && !response.status().is_success() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn answer(
    client: Rc<Client>,
    listener: &LocalListener,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Abort> {
    let version = request.version();
    let near = (version == Version::HTTP_2).then(|| hyper::upgrade::on(&mut request));
    let (accepted, route) = match accept(request, listener, &client) {
        Ok(accepted) => accepted,
        Err(reason) => return Ok(answer::refusal(&client, listener, version, &reason)),
    };
    let sheds = client.worker.sheds();
    let serving = Serving::begin(client, route, &accepted, true);
    if sheds {
        return serving.shed();
    }
    if serving.route.filters.is_empty() {
        run_plain(serving, &accepted.head.fields.map, near).await
    } else {
        run_filtered(serving, listener, accepted.head, near).await
    }
}

/// Checks and marks a request, and finds its route.
fn accept<B>(
    request: Request<B>,
    listener: &LocalListener,
    client: &Client,
) -> Result<(Accepted, Rc<LocalRoute>), Reason> {
    if listener.listener.tunnels.is_none() {
        return Err(NOT_ALLOWED);
    }
    let mut accepted = hop::connect::accept(request, listener.listener.limits.headers)?;
    mark(&mut accepted, listener, client)?;
    let route = routing::tunnel(listener, &accepted.head).ok_or(NOT_ALLOWED)?;
    Ok((accepted, route))
}

/// Without filters.
async fn run_plain(
    serving: Serving,
    fields: &HeaderMap,
    near: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Abort> {
    let Serving { account, client, route, exchange, version, method } = serving;
    match reach(&client, &route, &exchange, None, fields).await {
        Ok(opened) => {
            account.answered(Some(opened.far.address));
            Ok(answer::pass(account, &client, version, &method, opened.into_answer(near)))
        }
        Err(Halt::Fail(reason)) => answer::failure(account, &client, version, reason),
        Err(Halt::Respond(_)) => {
            answer::failure(account, &client, version, Reason::Internal("an answer without a filter"))
        }
    }
}

/// With filters: each sees a head without a body, then the answer's.
async fn run_filtered(
    serving: Serving,
    listener: &LocalListener,
    head: RequestHead,
    near: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Abort> {
    if let Some(plugin) = &serving.route.filters.barred {
        let reason = Reason::FilterFailed { plugin: plugin.to_string(), cause: Cause::Refused };
        return answer::failure(serving.account, &serving.client, serving.version, reason);
    }
    let chain = serving.chain(listener, head, None);
    let Serving { mut account, client, route, version, method, .. } = serving;
    account.attach(&chain);
    let replying = answer::Replying { account, client, chain, version, method, is_grpc: false };
    let mut answered = match ask(&replying, listener, route).await {
        Ok(opened) => {
            replying.account.answered(Some(opened.far.address));
            opened.into_answer(near)
        }
        Err(halt) => replying.local(halt)?,
    };
    let outcome = replying.through_filters(&mut answered).await;
    replying.answer(outcome, answered.agreed)
}

/// The request through the filters, and a connection to an endpoint.
async fn ask(replying: &answer::Replying, listener: &LocalListener, route: Rc<LocalRoute>) -> Result<Opened, Halt> {
    let answer::Replying { account, chain, client, .. } = replying;
    chain.request_headers(true, None).await?;
    let route = routing::reroute(replying, listener, route)?;
    let fields = chain.with_stream(|stream| {
        stream.request.fields.writable = false;
        stream.request.fields.map.clone()
    })?;
    reach(client, &route, account.exchange(), Some(chain), &fields).await
}

/// A connection to an endpoint, before the client is told of it.
struct Opened {
    far: Tunnel,
    /// What the client is to keep, so that it comes to the same endpoint again.
    cookie: Option<HeaderValue>,
}

/// Connects to an endpoint, and waits for it, or for a filter or the sweeper to end the wait.
async fn reach(
    client: &Rc<Client>,
    route: &LocalRoute,
    exchange: &Rc<Exchange>,
    chain: Option<&Chain>,
    fields: &HeaderMap,
) -> Result<Opened, Halt> {
    let cluster = route.cluster.as_ref().ok_or(Halt::Fail(Reason::Internal("a tunnel without a cluster")))?;
    // Whatever the client speaks, what it says in the tunnel is passed on as it comes.
    let original =
        cluster.toward(client.traveller(), Protocol::Http1, &client.worker.shared.own).map_err(Halt::Fail)?;
    let affinity = cluster.affinity(fields, client.source.ip());
    let hash = affinity.as_ref().and_then(|affinity| affinity.hash);
    let since = client.worker.clock.now();
    exchange.awaiting.set(Awaiting::Head);
    let opening = tunnel::open_for_request(cluster, hash, client.passed(), original);
    let opened = uninterrupted(exchange, chain, pin!(opening)).await;
    exchange.awaiting.set(Awaiting::Bytes);
    // What ended this wait from outside has not counted.
    if let Err(Halt::Fail(Reason::UpstreamTimeout)) = &opened {
        cluster.series.failures[UpstreamFailure::Timeout.index()].inc();
    }
    if let Some(chain) = chain {
        show(chain, cluster, (since, client.worker.clock.look()), opened.as_ref().ok())?;
    }
    Ok(Opened { far: opened?, cookie: affinity.and_then(|affinity| affinity.cookie) })
}

/// What filters may know about the way to the endpoint.
fn show(
    chain: &Chain,
    cluster: &Cluster,
    (since, now): (Instant, Instant),
    opened: Option<&Tunnel>,
) -> Result<(), Halt> {
    let reached =
        Reached { address: opened.map(|far| far.address), endpoints: Some(cluster.endpoints()), ..Reached::default() };
    chain.with_stream(|stream| {
        stream.upstream_times = (Some(since), opened.map(|_| now));
        stream.reached = reached;
    })
}

impl Opened {
    /// RFC 9110 §9.3.6: a success without a body, and without a word about one.
    fn into_answer(self, near: Option<OnUpgrade>) -> Answered {
        let Self { far, cookie } = self;
        let mut map = HeaderMap::new();
        map.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        Answered {
            head: ResponseHead { status: StatusCode::OK, fields: Fields::new(map, 0) },
            body: AnswerBody::Bytes(Bytes::new()),
            content_length: None,
            address: Some(far.address),
            agreed: Some(Box::new(Agreed::Connected { far, near })),
        }
    }
}
