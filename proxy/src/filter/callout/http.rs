//! One HTTP callout: checked like a message from the wire, sent over the worker's own pools, its answer collected.
//!
//! Nothing of it is streamed and no redirect is followed. Framing and hop-by-hop fields are ours: what a guest says of
//! them is left out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tollgate_abi::{CalloutFailure, CalloutRefusal, HeaderMap as _, HttpCall, HttpReply, VecHeaderMap};

use crate::error::{Abort, Reason};
use crate::exchange::head::{Edited, Fields, RequestHead};
use crate::exchange::hop;
use crate::filter::callout::{CalleeId, Reach, hops, late};
use crate::telemetry::metrics::class_index;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::Cluster;
use crate::upstream::{Answer, Waits};

/// The most fields of one callout: as many as a guest can hand over.
const FIELDS: usize = 1024;

/// A request that may be sent.
#[derive(Debug)]
pub struct HttpQuestion {
    /// Where it goes.
    pub callee: CalleeId,
    /// How many callouts led to it, itself included.
    pub hops: u8,
    head: RequestHead,
    body: Bytes,
    trailers: HeaderMap,
    timeout: Duration,
}

impl HttpQuestion {
    /// Checks what a guest asks for, after `hops` callouts in a row.
    pub fn new(call: HttpCall, reach: &Reach, hops: u8) -> Result<Self, CalloutRefusal> {
        let callee = reach.callee(&call.upstream)?;
        let hops = hops::next(hops)?;
        let mut head = head(&call.headers)?;
        let trailers = trailers(&call.trailers)?;
        head.fields.map.insert(hops::HOPS, HeaderValue::from(u16::from(hops)));
        Ok(Self { callee, hops, head, body: Bytes::from(call.body), trailers, timeout: call.timeout })
    }

    /// Sends it and collects the answer, all within its timeout.
    pub async fn ask(self, cluster: &Cluster, limit: usize) -> Result<HttpReply, CalloutFailure> {
        let timeout = self.timeout;
        let exchange = async |late: &Cell<bool>| self.exchange(cluster, limit, late).await;
        late::within(timeout, cluster, exchange).await.unwrap_or(Err(CalloutFailure::Timeout))
    }

    /// `late` once nobody waits any more.
    async fn exchange(self, cluster: &Cluster, limit: usize, late: &Cell<bool>) -> Result<HttpReply, CalloutFailure> {
        let (mut request, sent) = self.into_request();
        let began = Instant::now();
        let waits = Waits::Callout(late);
        let answer = late::send(cluster, waits, &mut request).await.map_err(|reason| failure(&reason))?;
        cluster.series.duration.observe(began.elapsed());
        cluster.series.responses[class_index(Some(answer.response.status().as_u16()))].inc();
        let Answer { response, lease, .. } = answer;
        let reply = collect(response, limit).await?;
        if sent.get() {
            lease.give_back();
        }
        Ok(reply)
    }

    /// The request in the form of HTTP/1.1, and whether all of it was taken.
    fn into_request(self) -> (Request<RequestBody>, Rc<Cell<bool>>) {
        let Self { head, body, trailers, .. } = self;
        let sent = Rc::new(Cell::new(false));
        let mut fields = head.fields.map;
        // RFC 9110 §8.6: without a length an origin may take such a request for an unfinished one.
        if body.is_empty() && trailers.is_empty() {
            sent.set(true);
            if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            }
        }
        if let Some(names) = announce(&trailers) {
            fields.insert(header::TRAILER, names);
        }
        if let Ok(host) = HeaderValue::from_str(head.authority.as_str()) {
            fields.insert(header::HOST, host);
        }
        let body = match sent.get() {
            true => RequestBody::Empty,
            false => RequestBody::Filtered(Box::new(Whole::new(body, trailers, Rc::clone(&sent)))),
        };
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = http::Uri::from(head.path);
        *request.headers_mut() = fields;
        (request, sent)
    }
}

/// The head of a callout, with the checks that filters' changes to a request get.
fn head(said: &[(Vec<u8>, Vec<u8>)]) -> Result<RequestHead, CalloutRefusal> {
    let mut head = RequestHead {
        method: Method::GET,
        scheme: Scheme::HTTP,
        authority: Authority::from_static("localhost"),
        path: PathAndQuery::from_static("/"),
        fields: Fields::new(HeaderMap::new(), FIELDS),
        edited: Edited::default(),
    };
    let pseudo = |name: &[u8]| said.iter().filter(|(known, _)| known == name).count();
    for name in [":method", ":path", ":authority", ":scheme"] {
        if pseudo(name.as_bytes()) > 1 {
            return Err(CalloutRefusal::Invalid(format!("{name} is there twice")));
        }
    }
    let pairs: Vec<(&[u8], &[u8])> = said.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    head.replace_all(&pairs).map_err(|why| CalloutRefusal::Invalid(why.to_string()))?;
    if head.method == Method::CONNECT {
        return Err(CalloutRefusal::Invalid("CONNECT asks for a tunnel".to_owned()));
    }
    // The proxy sends the body at once and never waits for an interim answer.
    hop::strip(&mut head.fields.map, |name| matches!(name, "expect") || name == hops::HOPS.as_str());
    Ok(head)
}

fn trailers(said: &[(Vec<u8>, Vec<u8>)]) -> Result<HeaderMap, CalloutRefusal> {
    let mut fields = Fields::new(HeaderMap::new(), FIELDS);
    let pairs: Vec<(&[u8], &[u8])> = said.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    fields.replace_all(&pairs).map_err(|why| CalloutRefusal::Invalid(why.to_string()))?;
    Ok(fields.map)
}

/// HTTP/1.1 sends no trailer whose name the head does not say (RFC 9110 §6.6.2).
fn announce(trailers: &HeaderMap) -> Option<HeaderValue> {
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}

/// The whole answer, within the bound.
async fn collect<B>(response: Response<B>, limit: usize) -> Result<HttpReply, CalloutFailure>
where
    B: Body<Data = Bytes, Error = Reason> + Unpin,
{
    let (head, mut body) = response.into_parts();
    // RFC 9110 §15.2.2: nobody asked for another protocol.
    if head.status.is_informational() {
        return Err(CalloutFailure::Protocol);
    }
    let declared = hop::content_length(&head.headers).map_err(|_| CalloutFailure::Protocol)?;
    if declared.is_some() && body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(CalloutFailure::TooLarge);
    }
    let mut reply = HttpReply { headers: shown_head(head), ..HttpReply::default() };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|reason| failure(&reason))?;
        match frame.into_data() {
            Ok(data) if data.len() > limit - reply.body.len() => return Err(CalloutFailure::TooLarge),
            Ok(data) => reply.body.extend_from_slice(&data),
            Err(frame) => reply.trailers = frame.trailers_ref().map(|fields| shown(None, fields)).unwrap_or_default(),
        }
    }
    Ok(reply)
}

fn shown_head(mut head: response::Parts) -> VecHeaderMap {
    hop::strip(&mut head.headers, |_| false);
    shown(Some(head.status), &head.headers)
}

/// Fields as a guest reads them, `:status` first.
pub(super) fn shown(status: Option<StatusCode>, fields: &HeaderMap) -> VecHeaderMap {
    let status = status.as_ref().map(|status| (&b":status"[..], status.as_str().as_bytes()));
    let fields = fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    VecHeaderMap::new(status.into_iter().chain(fields))
}

/// What a guest hears of a failure.
pub(super) fn failure(reason: &Reason) -> CalloutFailure {
    match reason {
        Reason::UpstreamConnect | Reason::UpstreamTls { sent: false, .. } => CalloutFailure::Connect,
        Reason::UpstreamOverflow | Reason::UpstreamBusy => CalloutFailure::Overflow,
        Reason::UpstreamTimeout => CalloutFailure::Timeout,
        Reason::UpstreamProtocol("head_too_large") => CalloutFailure::TooLarge,
        Reason::UpstreamProtocol(_) => CalloutFailure::Protocol,
        _ => CalloutFailure::Reset,
    }
}

/// A body that is all there: its length is declared unless trailers follow it.
struct Whole {
    frames: VecDeque<Frame<Bytes>>,
    bytes: Option<u64>,
    sent: Rc<Cell<bool>>,
}

impl Whole {
    fn new(body: Bytes, trailers: HeaderMap, sent: Rc<Cell<bool>>) -> Self {
        let bytes = u64::try_from(body.len()).ok().filter(|_| trailers.is_empty());
        let mut frames = VecDeque::new();
        if !body.is_empty() {
            frames.push_back(Frame::data(body));
        }
        if !trailers.is_empty() {
            frames.push_back(Frame::trailers(trailers));
        }
        Self { frames, bytes, sent }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let frame = self.frames.pop_front();
        self.sent.set(self.frames.is_empty());
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.bytes, self.is_end_stream()) {
            (Some(_), true) => SizeHint::with_exact(0),
            (Some(bytes), false) => SizeHint::with_exact(bytes),
            (None, _) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_had_left_before_the_endpoint_refused_this_side_s_certificate_is_no_failure_to_connect() {
        let heard = [false, true].map(|sent| failure(&Reason::UpstreamTls { why: "refused", sent }));

        assert_eq!(heard, [CalloutFailure::Connect, CalloutFailure::Reset]);
    }

    const HEAD: [(&str, &str); 3] = [(":method", "POST"), (":path", "/check?a"), (":authority", "auth.local")];

    fn pairs(fields: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn question(fields: &[(&str, &str)], trailers: &[(&str, &str)]) -> Result<HttpQuestion, CalloutRefusal> {
        let callee = super::super::Callee { name: "auth".to_owned(), protocol: tollgate_config::Protocol::Http1 };
        let call = HttpCall {
            upstream: b"auth".to_vec(),
            headers: pairs(fields),
            body: b"body".to_vec(),
            trailers: pairs(trailers),
            timeout: Duration::from_secs(1),
        };
        HttpQuestion::new(call, &Reach { calls: vec![callee], ..Reach::default() }, 1)
    }

    fn with(more: &[(&str, &str)]) -> Result<HttpQuestion, CalloutRefusal> {
        question(&[&HEAD[..], more].concat(), &[])
    }

    #[test]
    fn a_callout_takes_the_form_of_a_request() {
        let (request, sent) = with(&[("x-a", "1"), ("x-a", "2")]).unwrap().into_request();

        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/check?a"));
        assert_eq!(request.headers()["host"], "auth.local");
        assert_eq!(request.headers()[hops::HOPS], "2");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(request.body().size_hint().exact(), Some(4));
        assert!(!sent.get());
    }

    #[test]
    fn framing_and_fields_of_the_hop_are_left_out() {
        let ours = [
            ("content-length", "99"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "x-a"),
            ("host", "other"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-tollgate-callout-hops", "0"),
        ];

        let (request, _) = with(&ours).unwrap().into_request();

        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-tollgate-callout-hops"]);
        assert_eq!(
            (&request.headers()["host"], &request.headers()[hops::HOPS]),
            (&"auth.local".parse().unwrap(), &"2".parse().unwrap())
        );
    }

    #[test]
    fn what_the_wire_would_refuse_is_refused() {
        let bad = [
            ("x", "a\r\nb: c"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("x y", "1"),
            ("", "1"),
            (":status", "200"),
            (":protocol", "websocket"),
            (":path", "/second"),
            (":scheme", "ftp"),
        ];
        for field in bad {
            assert!(matches!(with(&[field]), Err(CalloutRefusal::Invalid(_))), "{field:?}");
        }
        for (at, value) in [
            (0, "CONNECT"),
            (0, "G ET"),
            (0, ""),
            (1, "relative"),
            (1, "*"),
            (1, "/a b"),
            (1, "/a\r\nx: y"),
            (1, ""),
            (2, "user@host"),
            (2, "a b"),
            (2, ""),
            (2, "a/b"),
        ] {
            let mut fields = HEAD;
            fields[at].1 = value;
            assert!(matches!(question(&fields, &[]), Err(CalloutRefusal::Invalid(_))), "{:?}", fields[at]);
        }
        assert!(question(&HEAD[1..], &[]).is_err());
        for trailer in [("x", "a\nb"), (":path", "/"), ("x y", "1")] {
            assert!(question(&HEAD, &[trailer]).is_err(), "{trailer:?}");
        }
    }

    #[test]
    fn trailers_are_announced_and_leave_the_length_open() {
        let (request, _) = question(&HEAD, &[("x-sum", "1"), ("content-length", "4")]).unwrap().into_request();

        assert_eq!(request.headers()["trailer"], "x-sum");
        assert_eq!(request.body().size_hint().exact(), None);
    }
}
