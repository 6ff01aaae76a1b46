//! The answer to a client: the upstream's, a filter's, or the proxy's own; through the filters where they have a say.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version, response};
use http_body::{Body, Frame, SizeHint};
use tollgate_abi::LocalResponse;

use crate::client::Client;
use crate::error::{Abort, Reason};
use crate::exchange::Half;
use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::hop;
use crate::exchange::local;
pub(crate) use crate::exchange::local::is_grpc;
use crate::filter::chain::{Chain, Draw, Halt};
use crate::filter::pump::Pump;
use crate::serve::Answered;
use crate::serve::account::Account;
use crate::serve::upgrade::{self, Agreed};
use crate::snapshot::LocalListener;
use crate::telemetry::metrics::class_index;
use crate::upstream::body::AnswerBody;

/// What hyper writes to a client. The exchange's account closes when it is dropped.
pub struct ResponseBody {
    kind: Kind,
    account: Option<Account>,
    /// What was too much for one piece.
    rest: Bytes,
}

/// The most bytes that are handed to HTTP/2 at a time: it takes a piece whole as soon as there is a window for one byte.
const PIECE: usize = 16 * 1024;

pub(super) enum Kind {
    Empty,
    Direct(AnswerBody),
    Filtered(Box<Pump<AnswerBody>>),
}

impl ResponseBody {
    /// One without an account belongs to no exchange, or to one that lasts beyond it.
    fn new(kind: Kind, account: Option<Account>) -> Self {
        Self { kind, account, rest: Bytes::new() }
    }

    /// The next frame, or the first piece of it.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if !self.rest.is_empty() {
            let length = self.rest.len().min(PIECE);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))));
        }
        let frame = match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Direct(body) => Pin::new(body).poll_frame(cx),
            Kind::Filtered(pump) => Pin::new(pump.as_mut()).poll_frame(cx),
        };
        let is_stream = self.account.as_ref().is_some_and(|account| account.is_stream);
        frame.map_ok(|frame| match frame.into_data() {
            Ok(mut data) if is_stream && data.len() > PIECE => {
                self.rest = data.split_off(PIECE);
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let frame = self.poll_piece(cx);
        match (&frame, &self.account) {
            (Poll::Ready(Some(Ok(frame))), Some(account)) => {
                let length = frame.data_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                account.hand(length);
            }
            (Poll::Pending, Some(account)) => account.exchange().pace.ask(),
            _ => {}
        }
        // A body of unknown length does not know of its end, and one that is dropped before it counts as broken off.
        let ended =
            matches!(&frame, Poll::Ready(None)) || matches!(&frame, Poll::Ready(Some(Ok(last))) if last.is_trailers());
        if ended && matches!(self.kind, Kind::Direct(_)) {
            self.kind = Kind::Empty;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.kind {
            Kind::Empty => true,
            Kind::Direct(body) => body.is_end_stream(),
            Kind::Filtered(pump) => pump.is_end_stream(),
        };
        is_over && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Direct(body) => body.size_hint(),
            Kind::Filtered(pump) => pump.size_hint(),
        };
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// A body that is dropped before its end was not taken by the client.
impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(account) = self.account.as_ref().filter(|_| !self.is_end_stream()) {
            account.exchange().note(Reason::ClientGone);
        }
    }
}

/// An answer's head. Filters that see it bound its fields by the limit of the exchange.
pub(crate) fn head(parts: response::Parts) -> ResponseHead {
    ResponseHead { status: parts.status, fields: Fields::new(parts.headers, 0) }
}

/// The answer to a request that may not be forwarded; no filter sees it and no exchange was opened.
pub(crate) fn refusal(
    client: &Client,
    listener: &LocalListener,
    version: Version,
    reason: &Reason,
) -> Response<ResponseBody> {
    let status = reason.status();
    // Over HTTP/2 the connection goes on, and its time for a first head is over with this one as with any other.
    if version == Version::HTTP_2 {
        client.begin();
        client.end();
    }
    listener.series.protocol_errors.inc();
    listener.unrouted.series.requests[class_index(Some(status.as_u16()))].inc();
    let body = AnswerBody::Bytes(own_body(status));
    let mut response = Response::new(ResponseBody::new(Kind::Direct(body), None));
    fill(&mut response, own_head(status), client, (version, true));
    close_after(&mut response, version, reason);
    response
}

/// Where framing is in doubt, nothing more is read from the client.
fn close_after(response: &mut Response<ResponseBody>, version: Version, reason: &Reason) {
    if reason.closes() && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn own_head(status: StatusCode) -> ResponseHead {
    let mut map = HeaderMap::new();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    ResponseHead { status, fields: Fields::new(map, 0) }
}

/// What a client needs to know, and nothing about the inside.
fn own_body(status: StatusCode) -> Bytes {
    let words = status.canonical_reason().unwrap_or("error");
    Bytes::from(format!("tollgate: {} {}\n", status.as_str(), words.to_lowercase()))
}

/// Behind an answer with which HTTP does not go on there is nothing that a client could ask here.
fn fill(
    response: &mut Response<ResponseBody>,
    head: ResponseHead,
    client: &Client,
    (version, goes_on): (Version, bool),
) {
    *response.status_mut() = head.status;
    *response.headers_mut() = head.fields.map;
    let is_last = goes_on && client.worker.drains(client.listener);
    if is_last && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn finish(
    account: Account,
    client: &Client,
    version: Version,
    head: ResponseHead,
    kind: Kind,
) -> Response<ResponseBody> {
    finish_agreed(account, client, version, (head, kind), None)
}

/// The same for an answer that may be the last of HTTP on its connection.
fn finish_agreed(
    account: Account,
    client: &Client,
    version: Version,
    (mut head, kind): (ResponseHead, Kind),
    agreed: Option<Box<Agreed>>,
) -> Response<ResponseBody> {
    account.edit(&mut head.fields.map);
    account.exchange().status.set(Some(head.status.as_u16()));
    let account = match agreed {
        Some(agreed) => upgrade::hand_over(agreed, &mut head, account, client),
        None => Some(account),
    };
    let goes_on = account.is_some();
    let mut response = Response::new(ResponseBody::new(kind, account));
    fill(&mut response, head, client, (version, goes_on));
    response
}

/// The upstream's answer as it is.
pub(crate) fn pass(
    account: Account,
    client: &Client,
    version: Version,
    method: &Method,
    answered: Answered,
) -> Response<ResponseBody> {
    let Answered { mut head, body, content_length, agreed, .. } = answered;
    let kind = if hop::is_bodiless(method, head.status) {
        keep_length(&mut head, content_length);
        Kind::Empty
    } else {
        Kind::Direct(body)
    };
    finish_agreed(account, client, version, (head, kind), agreed)
}

/// The answer to HEAD tells the length that GET would have (RFC 9110 §9.3.2).
fn keep_length(head: &mut ResponseHead, content_length: Option<u64>) {
    if let Some(length) = content_length.filter(|_| head.status != StatusCode::NO_CONTENT) {
        head.fields.map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The proxy's own answer to an exchange that failed, past all filters.
pub(crate) fn failure(
    account: Account,
    client: &Client,
    version: Version,
    reason: Reason,
) -> Result<Response<ResponseBody>, Abort> {
    let exchange = account.exchange();
    exchange.note(reason.clone());
    exchange.recover();
    if matches!(reason, Reason::ClientGone | Reason::FilterClosed(_)) {
        return Err(Abort);
    }
    let body = AnswerBody::Bytes(own_body(reason.status()));
    let mut response = finish(account, client, version, own_head(reason.status()), Kind::Direct(body));
    close_after(&mut response, version, &reason);
    Ok(response)
}

/// An exchange with filters that is about to be answered.
pub(crate) struct Replying {
    pub(crate) account: Account,
    pub(crate) client: Rc<Client>,
    pub(crate) chain: Rc<Chain>,
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) is_grpc: bool,
}

impl Replying {
    /// What the filters made of the answer; one of them may put its own in its place.
    pub(super) fn answer(
        self,
        outcome: Result<(ResponseHead, Kind), Halt>,
        agreed: Option<Box<Agreed>>,
    ) -> Result<Response<ResponseBody>, Abort> {
        match outcome {
            Ok((head, kind)) => Ok(self.finish(head, kind, agreed)),
            Err(halt) => self.past_filters(halt),
        }
    }

    /// What takes the upstream's place when the request was halted: a filter's answer or the proxy's own.
    pub(crate) fn local(&self, halt: Halt) -> Result<Answered, Abort> {
        let local = match halt {
            Halt::Respond(local) => local,
            Halt::Fail(reason) => {
                self.account.exchange().note(reason.clone());
                self.account.exchange().recover();
                if matches!(reason, Reason::ClientGone | Reason::FilterClosed(_)) {
                    return Err(Abort);
                }
                own_response(&reason)
            }
        };
        let (head, body) = self.compose(local);
        let content_length = u64::try_from(body.len()).ok();
        Ok(Answered { head, body: AnswerBody::Bytes(body), content_length, address: None, agreed: None })
    }

    /// A filter halted the answer: what it asks for is sent, and no filter sees it again.
    fn past_filters(self, halt: Halt) -> Result<Response<ResponseBody>, Abort> {
        match halt {
            Halt::Fail(reason) => {
                self.show_sent(&own_head(reason.status()));
                let Self { account, client, version, .. } = self;
                failure(account, &client, version, reason)
            }
            Halt::Respond(local) => {
                let (head, body) = self.compose(local);
                self.show_sent(&head);
                Ok(self.finish(head, Kind::Direct(AnswerBody::Bytes(body)), None))
            }
        }
    }

    /// Filters that are told of the end see the head that was sent, not the one that was not.
    fn show_sent(&self, head: &ResponseHead) {
        let mut sent = head.clone();
        sent.fields.writable = false;
        // The exchange always has its stream here; without it filters would only miss this head.
        let _ = self.chain.with_stream(|stream| stream.response = Some(sent));
    }

    fn finish(self, head: ResponseHead, mut kind: Kind, agreed: Option<Box<Agreed>>) -> Response<ResponseBody> {
        if hop::is_bodiless(&self.method, head.status) {
            if agreed.is_none() && hop::is_connected(&self.method, head.status) {
                return self.deny_tunnel();
            }
            kind = Kind::Empty;
        }
        finish_agreed(self.account, &self.client, self.version, (head, kind), agreed)
    }

    /// A success would have the client believe in a tunnel that is not there.
    #[cold]
    fn deny_tunnel(self) -> Response<ResponseBody> {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let head = own_head(status);
        self.show_sent(&head);
        self.account.exchange().note(Reason::Internal("a success without a tunnel"));
        finish(self.account, &self.client, self.version, head, Kind::Direct(AnswerBody::Bytes(own_body(status))))
    }

    /// Head and body through the filters, in reverse. Where the sender declared a length, the head waits for the first
    /// bytes: if they are the whole body, its new length is known, otherwise the body is chunked.
    pub(super) async fn through_filters(&self, answered: &mut Answered) -> Result<(ResponseHead, Kind), Halt> {
        let chain = &self.chain;
        let bodiless = hop::is_bodiless(&self.method, answered.head.status);
        let end = bodiless || answered.body.is_end_stream();
        self.show(&mut answered.head)?;
        let mut pump = chain.takes_body(Half::Response, end).then(|| {
            let body = if end { AnswerBody::Bytes(Bytes::new()) } else { answered.body.take() };
            Box::new(Pump::new(Rc::clone(chain), Half::Response, body))
        });
        chain.response_headers(end, pump.as_deref_mut().map(|pump| pump as &mut dyn Draw)).await?;
        let mut trailers = None;
        let kind = match pump {
            Some(mut pump) => {
                if end || answered.content_length.is_some() {
                    std::future::poll_fn(|cx| pump.poll_first(cx)).await?;
                }
                trailers = pump.remainder().and_then(|(_, trailers)| trailers.map(announce));
                Kind::Filtered(pump)
            }
            None if end => Kind::Empty,
            None => Kind::Direct(answered.body.take()),
        };
        // Filters may read the head as long as the exchange lives, so they keep a copy.
        let mut head = chain.with_stream(|stream| {
            stream.may_respond = false;
            stream.response.as_mut().map(|head| {
                head.fields.writable = false;
                let kept = head.clone();
                std::mem::replace(head, kept)
            })
        })?;
        let mut head = head.take().ok_or(Halt::Fail(Reason::Internal("the answer's head is gone")))?;
        // A filter may have made it one that has a body, whose length is another one.
        if hop::is_bodiless(&self.method, head.status) {
            keep_length(&mut head, answered.content_length);
        }
        if let Some(names) = trailers {
            head.fields.map.insert(header::TRAILER, names);
        }
        Ok((head, kind))
    }

    /// Puts the head where filters see it.
    fn show(&self, head: &mut ResponseHead) -> Result<(), Halt> {
        let map = std::mem::take(&mut head.fields.map);
        self.chain.with_stream(|stream| {
            let fields = Fields::bounded(map, stream.request.fields.limit);
            stream.response = Some(ResponseHead { status: head.status, fields });
        })
    }

    /// A local response as a head and a body, in gRPC's form for gRPC (trailers-only).
    fn compose(&self, local: LocalResponse) -> (ResponseHead, Bytes) {
        // Asked for within a callback, so the exchange always has its stream; without it there are only no details.
        let reason = self.account.exchange().reason();
        let _ = self.chain.with_stream(|stream| {
            stream.details = Some(local.details.clone());
            stream.reason = reason;
        });
        local::compose(local, self.is_grpc)
    }
}

/// The names of trailers, so that HTTP/1.1 may send them (RFC 9110 §6.6.2).
fn announce(trailers: &HeaderMap) -> HeaderValue {
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn own_response(reason: &Reason) -> LocalResponse {
    let status = reason.status();
    LocalResponse {
        status: status.as_u16(),
        details: reason.to_string().into_bytes(),
        headers: Vec::new(),
        body: own_body(status).to_vec(),
        grpc_status: None,
    }
}
