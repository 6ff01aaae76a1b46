//! One gRPC callout: a call with one message, or a stream in both directions, over a cluster that speaks HTTP/2.
//!
//! What the guest says is checked like fields from the wire. Compression is neither used nor understood.

pub mod frame;
pub mod outbox;
pub mod status;
pub mod upstream;

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, response};
use http_body::Body;
use http_body_util::BodyExt;
use tollgate_abi::{CalloutRefusal, GrpcCall, GrpcEvent, HeaderMap as _};
use tollgate_config::Protocol;

use self::frame::Decoder;
use self::outbox::{Outbound, Outbox, outbox};
use self::status::Ending;
use crate::error::Reason;
use crate::exchange::head::Fields;
use crate::exchange::hop;
use crate::filter::callout::http::shown;
use crate::filter::callout::{CalleeId, Reach, hops, late};
use crate::telemetry::metrics::class_index;
use crate::upstream::body::{Incoming, RequestBody};
use crate::upstream::cluster::Cluster;
use crate::upstream::{Answer, Lease, Waits};

/// The most fields that a guest may send along.
const FIELDS: usize = 1024;

/// A call that may be made, or a stream that may be opened.
#[derive(Debug)]
pub struct GrpcQuestion {
    /// Where it goes.
    pub callee: CalleeId,
    /// How many callouts led to it, itself included.
    pub hops: u8,
    authority: HeaderValue,
    path: PathAndQuery,
    fields: HeaderMap,
    messages: Outbound,
    /// Of a call; a stream has none.
    timeout: Option<Duration>,
}

impl GrpcQuestion {
    /// Checks what a guest asks for. Messages of a stream go into the outbox.
    pub fn new(call: GrpcCall, reach: &Reach, hops: u8) -> Result<(Self, Option<Outbox>), CalloutRefusal> {
        let callee = callee(&call.upstream, reach)?;
        let hops = hops::next(hops)?;
        let path = path(&call.service, &call.method)?;
        let mut fields = metadata(&call.metadata)?;
        fields.insert(hops::HOPS, HeaderValue::from(u16::from(hops)));
        if let Some(timeout) = call.timeout {
            fields.insert(HeaderName::from_static("grpc-timeout"), grpc_timeout(timeout));
        }
        let (outbox, messages) = outbox(call.message.as_ref().map_or(reach.body, |_| usize::MAX));
        let outbox = match call.message {
            Some(message) if outbox.push(&message) => None,
            Some(_) => return Err(CalloutRefusal::Overflow("bytes of a message")),
            None => Some(outbox),
        };
        let authority = authority(&reach.calls[callee.0].name);
        Ok((Self { callee, hops, authority, path, fields, messages, timeout: call.timeout }, outbox))
    }

    /// Talks to the peer until either ends it, and tells what comes on the way. The events of the end come last.
    pub async fn talk(
        mut self,
        cluster: &Cluster,
        limit: usize,
        tell: impl FnMut(GrpcEvent),
    ) -> (Vec<GrpcEvent>, Ending) {
        let overflow = self.messages.overflow();
        match self.timeout.take() {
            None => tokio::select! {
                end = self.stream(cluster, limit, tell) => end,
                () = overflow.happened() => closed(Vec::new(), Ending::full()),
            },
            Some(timeout) => self.call_within(timeout, cluster, limit).await,
        }
    }

    async fn stream(
        self,
        cluster: &Cluster,
        limit: usize,
        mut tell: impl FnMut(GrpcEvent),
    ) -> (Vec<GrpcEvent>, Ending) {
        let mut conversation = match self.open(cluster, limit, Waits::Somebody).await {
            Ok(conversation) => conversation,
            Err(ending) => return closed(Vec::new(), ending),
        };
        loop {
            match conversation.next().await {
                Step::Event(event) => {
                    tell(event);
                    // However much came at once, exchanges have their turn.
                    tokio::task::yield_now().await;
                }
                Step::End(ending) => return closed(Vec::new(), ending),
            }
        }
    }

    async fn call_within(self, timeout: Duration, cluster: &Cluster, limit: usize) -> (Vec<GrpcEvent>, Ending) {
        let call = async |late: &Cell<bool>| self.call(cluster, limit, late).await;
        late::within(timeout, cluster, call).await.unwrap_or_else(|| closed(Vec::new(), Ending::late()))
    }

    /// A call tells nothing before it is known how it ends: metadata, then its one message, or why there is none. `late` once
    /// nobody waits any more.
    async fn call(self, cluster: &Cluster, limit: usize, late: &Cell<bool>) -> (Vec<GrpcEvent>, Ending) {
        let mut conversation = match self.open(cluster, limit, Waits::Callout(late)).await {
            Ok(conversation) => conversation,
            Err(ending) => return closed(Vec::new(), ending),
        };
        let (mut events, mut answer) = (Vec::new(), None);
        let ending = loop {
            match conversation.next().await {
                Step::Event(GrpcEvent::Message(_)) if answer.is_some() => {
                    break Ending::protocol("more than one message");
                }
                Step::Event(GrpcEvent::Message(message)) => answer = Some(message),
                Step::Event(event) => events.push(event),
                Step::End(ending) => break ending,
            }
        };
        match (ending.status, answer) {
            (0, Some(message)) => {
                events.push(GrpcEvent::Message(message));
                (events, ending)
            }
            (0, None) => closed(Vec::new(), Ending::protocol("no message")),
            _ => closed(Vec::new(), ending),
        }
    }

    async fn open(self, cluster: &Cluster, limit: usize, waits: Waits<'_>) -> Result<Conversation<Incoming>, Ending> {
        let mut request = self.into_request();
        let answer = late::send(cluster, waits, &mut request).await.map_err(|reason| Ending::failed(&reason))?;
        let Answer { response, lease, .. } = answer;
        cluster.series.responses[class_index(Some(response.status().as_u16()))].inc();
        let (head, body) = response.into_parts();
        let ready = first_steps(head, body.is_end_stream());
        Ok(Conversation { ready, decoder: Decoder::new(limit), body, _lease: lease })
    }

    /// The request in the form of HTTP/1.1, which `send` turns into the cluster's.
    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Filtered(Box::new(self.messages)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from(self.path);
        let mut fields = self.fields;
        fields.insert(header::HOST, self.authority);
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        *request.headers_mut() = fields;
        request
    }
}

fn closed(mut events: Vec<GrpcEvent>, ending: Ending) -> (Vec<GrpcEvent>, Ending) {
    events.push(GrpcEvent::Closed { status: ending.status, message: ending.message.clone() });
    (events, ending)
}

/// An answer on its way.
struct Conversation<B> {
    /// What is known and was not looked at.
    ready: VecDeque<Step>,
    decoder: Decoder,
    body: B,
    /// Dropped, it gives the stream up.
    _lease: Lease,
}

/// One thing after the other.
enum Step {
    Event(GrpcEvent),
    End(Ending),
}

impl<B: Body<Data = Bytes, Error = Reason> + Unpin> Conversation<B> {
    async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return step;
            }
            match self.decoder.message() {
                Ok(Some(message)) => return Step::Event(GrpcEvent::Message(message)),
                Ok(None) => {}
                Err(error) => return Step::End(error.into()),
            }
            match self.body.frame().await.transpose() {
                Err(reason) => return Step::End(Ending::failed(&reason)),
                Ok(None) => return Step::End(Ending::untold()),
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.decoder.push(&data),
                    Err(frame) => self.last_steps(frame.trailers_ref()),
                },
            }
        }
    }

    fn last_steps(&mut self, trailers: Option<&HeaderMap>) {
        let Some(trailers) = trailers else { return };
        if !self.decoder.is_empty() {
            self.ready.push_back(Step::End(Ending::protocol("half a message")));
            return;
        }
        self.ready.push_back(Step::Event(GrpcEvent::TrailingMetadata(shown(None, trailers))));
        self.ready.push_back(Step::End(Ending::told(trailers).unwrap_or_else(Ending::untold)));
    }
}

/// What the head of an answer comes to. One with a status is head and trailers in one.
fn first_steps(mut head: response::Parts, ended: bool) -> VecDeque<Step> {
    hop::strip(&mut head.headers, |_| false);
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_grpc = content_type.starts_with(b"application/grpc");
    let metadata = shown(Some(head.status), &head.headers);
    let end = match Ending::told(&head.headers) {
        Some(ending) => return [Step::Event(GrpcEvent::TrailingMetadata(metadata)), Step::End(ending)].into(),
        None if head.status != http::StatusCode::OK => Some(Ending::of_http(head.status)),
        None if !is_grpc => Some(Ending::not_grpc()),
        None if ended => Some(Ending::untold()),
        None => None,
    };
    match end {
        Some(ending) => [Step::End(ending)].into(),
        None => [Step::Event(GrpcEvent::InitialMetadata(metadata))].into(),
    }
}

fn callee(upstream: &[u8], reach: &Reach) -> Result<CalleeId, CalloutRefusal> {
    let name = match reach.callee(upstream) {
        Ok(_) => upstream,
        Err(_) => upstream::cluster_name(upstream).unwrap_or(upstream),
    };
    let callee = reach.callee(name)?;
    match &reach.calls[callee.0] {
        known if known.protocol == Protocol::H2 => Ok(callee),
        known => Err(CalloutRefusal::Invalid(format!(
            "cluster {:?} speaks HTTP/1.1, and gRPC needs one with `protocol: h2`",
            known.name
        ))),
    }
}

/// What Envoy sends: the name of the cluster, where it is one that may be sent.
fn authority(cluster: &str) -> HeaderValue {
    let valid = Authority::try_from(cluster).is_ok_and(|authority| !authority.as_str().contains('@'));
    let value = HeaderValue::from_str(cluster).ok().filter(|_| valid);
    value.unwrap_or_else(|| HeaderValue::from_static("localhost"))
}

fn path(service: &[u8], method: &[u8]) -> Result<PathAndQuery, CalloutRefusal> {
    let plain = |name: &[u8]| !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() && !b"/?#%\\".contains(b));
    let path = [b"/", service, b"/", method].concat();
    let path = if plain(service) && plain(method) { PathAndQuery::try_from(&path[..]).ok() } else { None };
    path.ok_or_else(|| CalloutRefusal::Invalid("the name of the service or method is not one".to_owned()))
}

/// What a guest sends along. Fields that gRPC or the proxy set are left out; a `-bin` value goes as the guest wrote it, in
/// base64, as in Envoy.
fn metadata(said: &[(Vec<u8>, Vec<u8>)]) -> Result<HeaderMap, CalloutRefusal> {
    let pairs: Vec<(&[u8], &[u8])> = said.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let mut fields = Fields::new(HeaderMap::new(), FIELDS);
    fields.replace_all(&pairs).map_err(|why| CalloutRefusal::Invalid(why.to_string()))?;
    let ours = |name: &str| {
        name.starts_with("grpc-") || matches!(name, "content-type" | "expect") || name == hops::HOPS.as_str()
    };
    hop::strip(&mut fields.map, ours);
    Ok(fields.map)
}

/// At most eight digits and a unit: a callout takes minutes at most.
fn grpc_timeout(timeout: Duration) -> HeaderValue {
    let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).clamp(1, 99_999_999);
    HeaderValue::try_from(format!("{milliseconds}m")).unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::filter::callout::Callee;

    fn reach() -> Reach {
        let callee = |name: &str, protocol| Callee { name: name.to_owned(), protocol };
        Reach {
            calls: vec![callee("plain", Protocol::Http1), callee("grpc", Protocol::H2)],
            body: 10,
            ..Reach::default()
        }
    }

    fn question(upstream: &[u8], names: [&str; 2], metadata: &[(&str, &str)]) -> Result<GrpcQuestion, CalloutRefusal> {
        let field = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let call = GrpcCall {
            upstream: upstream.to_vec(),
            service: names[0].into(),
            method: names[1].into(),
            metadata: metadata.iter().map(field).collect(),
            message: Some(b"longer than the quota of answers".to_vec()),
            timeout: Some(Duration::from_micros(1_500)),
        };
        GrpcQuestion::new(call, &reach(), 0).map(|(question, _)| question)
    }

    #[test]
    fn a_call_takes_the_form_of_a_request() {
        let own =
            [("x-a-bin", "AAE="), ("content-type", "text/html"), ("grpc-timeout", "9H"), ("te", "x"), ("host", "x")];

        let request = question(b"\x0a\x06\x0a\x04grpc", ["pkg.Service", "Method"], &own).unwrap().into_request();

        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/pkg.Service/Method"));
        let mut fields: Vec<_> =
            request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "content-type: application/grpc",
                "grpc-timeout: 1m",
                "host: grpc",
                "te: trailers",
                "x-a-bin: AAE=",
                "x-tollgate-callout-hops: 1"
            ]
        );
    }

    #[test]
    fn a_cluster_of_http_1_is_refused_with_the_key_to_write() {
        let refusal = question(b"plain", ["S", "M"], &[]).unwrap_err();

        assert!(refusal.to_string().contains("`protocol: h2`"), "{refusal}");
        assert!(matches!(question(b"nobody", ["S", "M"], &[]), Err(CalloutRefusal::UnknownUpstream { .. })));
    }

    #[test]
    fn names_and_metadata_that_are_none_are_refused() {
        for names in [["", "M"], ["S", ""], ["S/x", "M"], ["S", "M?x"], ["S", "a b"], ["S\r\n", "M"], ["é", "M"]] {
            assert!(matches!(question(b"grpc", names, &[]), Err(CalloutRefusal::Invalid(_))), "{names:?}");
        }
        for field in [("x", "a\nb"), (":path", "/"), ("x y", "1"), ("x-bin", "\0")] {
            assert!(matches!(question(b"grpc", ["S", "M"], &[field]), Err(CalloutRefusal::Invalid(_))), "{field:?}");
        }
    }
}
