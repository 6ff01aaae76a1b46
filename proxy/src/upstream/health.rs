//! Asking an endpoint how it is: one question on a connection of its own, and what several answers in a row come to.
//!
//! It runs on the control side. When to ask is `fleet::keeper`'s, what to do about it the picking's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tollgate_config::{Cluster, Health, Probe, Protocol, ProxyProtocol};

use crate::proxy_protocol;
use crate::tls::client::Client;
use crate::upstream::connect;
use crate::upstream::fleet::member::Member;

/// What the proxy calls itself when it asks.
const AGENT: &str = concat!("tollgate-health/", env!("CARGO_PKG_VERSION"));
/// The most bytes of an answer of `grpc.health.v1.Health`, which has three.
const ANSWER: usize = 1024;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: &[u8] = &[8, 1];

/// Answers in a row of one endpoint.
#[derive(Debug, Default)]
pub struct Streak(usize);

impl Streak {
    /// One more answer of an endpoint that counts as `healthy`; what it counts as from here on, where that is to change.
    pub fn take(&mut self, good: bool, healthy: bool, first: bool, health: &Health) -> Option<bool> {
        if good == healthy {
            self.0 = 0;
            return None;
        }
        self.0 += 1;
        let enough = if good { health.healthy } else { health.unhealthy };
        if !first && self.0 < enough {
            return None;
        }
        self.0 = 0;
        Some(good)
    }
}

/// The pause before the next question, longer by a part of the jitter.
pub fn pause(health: &Health, random: u64) -> Duration {
    let millis = u64::try_from(health.interval.as_millis()).unwrap_or(u64::MAX);
    let most = health.jitter.of(millis);
    let longer = random.checked_rem(most.saturating_add(1)).unwrap_or_default();
    health.interval.saturating_add(Duration::from_millis(longer))
}

/// Who is asked, and in what.
pub struct Asked {
    host: String,
    address: SocketAddr,
    /// Of the socket.
    mark: Option<u32>,
    protocol: Protocol,
    proxy_protocol: Option<ProxyProtocol>,
    tls: Option<Arc<Client>>,
}

impl Asked {
    /// An endpoint of a cluster, with TLS or without.
    pub fn new(member: &Member, cluster: &Cluster, tls: Option<Arc<Client>>) -> Self {
        let Cluster { protocol, proxy_protocol, mark, .. } = *cluster;
        Self { host: member.host.clone(), address: member.address, mark, protocol, proxy_protocol, tls }
    }

    /// A connection, which is nobody's but the proxy's own.
    async fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = connect::open(self.address, self.mark).await?;
        if let Some(version) = self.proxy_protocol {
            stream.write_all(&proxy_protocol::header(version, None)).await?;
        }
        Ok(stream)
    }

    /// As it stands in requests.
    fn authority(&self) -> String {
        let port = self.address.port();
        if self.host.contains(':') { format!("[{}]:{port}", self.host) } else { format!("{}:{port}", self.host) }
    }

    /// The request in the form of the protocol.
    fn question(
        &self,
        method: Method,
        path: &str,
        protocol: Protocol,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let (authority, builder) = (self.authority(), Request::builder().method(method).header(USER_AGENT, AGENT));
        let builder = match protocol {
            Protocol::Http1 => builder.uri(path).header(HOST, authority).header(CONNECTION, "close"),
            Protocol::H2 => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                builder.uri(format!("{scheme}://{authority}{path}")).version(Version::HTTP_2)
            }
        };
        builder.body(Full::new(body)).map_err(|error| error.to_string())
    }
}

/// Asks once; what is wrong is told in words. Whether a port is open is asked without TLS.
pub async fn ask(health: &Health, asked: &Asked) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let asking = async {
        let stream = asked.connect().await.map_err(words)?;
        match (&health.probe, &asked.tls) {
            (Probe::Tcp, _) => Ok(()),
            (probe, None) => ask_on(stream, probe, asked).await,
            (probe, Some(tls)) => {
                let stream = tls.connect(&asked.host, asked.protocol, stream).await.map_err(words)?;
                ask_on(stream, probe, asked).await
            }
        }
    };
    tokio::time::timeout(health.timeout, asking).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn ask_on<S>(stream: S, probe: &Probe, asked: &Asked) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match probe {
        Probe::Tcp => Ok(()),
        Probe::Http { path, statuses } => {
            let request = asked.question(Method::GET, path, asked.protocol, Bytes::new())?;
            let status = exchange(stream, asked.protocol, request, async |answer| Ok(answer.status())).await?;
            let good = statuses.contains(status.as_u16());
            good.then_some(()).ok_or_else(|| format!("status {}", status.as_u16()))
        }
        Probe::Grpc(service) => {
            let path = "/grpc.health.v1.Health/Check";
            let mut request = asked.question(Method::POST, path, Protocol::H2, message(service))?;
            request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(TE, http::HeaderValue::from_static("trailers"));
            exchange(stream, Protocol::H2, request, serving).await
        }
    }
}

/// One exchange; the connection ends with it.
async fn exchange<T>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
    look: impl AsyncFnOnce(Response<Incoming>) -> Result<T, String>,
) -> Result<T, String> {
    let words = |error: hyper::Error| error.to_string();
    // Drives the connection as long as this function lasts.
    let mut driving = JoinSet::new();
    let answer = match protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
            driving.spawn(connection);
            sender.send_request(request).await.map_err(words)?
        }
        Protocol::H2 => {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.map_err(words)?;
            driving.spawn(connection);
            sender.send_request(request).await.map_err(words)?
        }
    };
    look(answer).await
}

/// `HealthCheckRequest` of a service, framed: no compression, its length, field 1.
fn message(service: &str) -> Bytes {
    let mut field = Vec::new();
    if !service.is_empty() {
        field.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            // The low seven bits, which fit.
            field.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        field.push(u8::try_from(length).unwrap_or_default());
        field.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&field);
    Bytes::from(frame)
}

async fn serving(answer: Response<Incoming>) -> Result<(), String> {
    let (head, body) = answer.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()));
    }
    let whole = Limited::new(body, ANSWER).collect().await.map_err(|error| error.to_string())?;
    let trailers = whole.trailers().cloned().unwrap_or_default();
    grpc_status(&head.headers).or_else(|| grpc_status(&trailers)).unwrap_or(Err("no grpc-status".to_owned()))?;
    let bytes = whole.to_bytes();
    // RFC-like framing of gRPC: a flag and four bytes of length come before the message.
    match bytes.get(5..) == Some(SERVING) {
        true => Ok(()),
        false => Err("it does not serve".to_owned()),
    }
}

fn grpc_status(fields: &HeaderMap) -> Option<Result<(), String>> {
    let status = fields.get("grpc-status")?.to_str().unwrap_or_default();
    Some(if status == "0" { Ok(()) } else { Err(format!("grpc-status {status}")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_config::{Initial, Ratio};

    fn health() -> Health {
        Health {
            probe: Probe::Tcp,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            jitter: Ratio::of_percent(10),
            initial: Initial::Healthy,
        }
    }

    /// What an endpoint counts as after each of these answers.
    fn verdicts(first: bool, answers: &[bool]) -> Vec<bool> {
        let (mut streak, mut healthy, mut first) = (Streak::default(), true, first);
        let mut take = |good: &bool| {
            healthy = streak.take(*good, healthy, std::mem::take(&mut first), &health()).unwrap_or(healthy);
            healthy
        };
        answers.iter().map(&mut take).collect()
    }

    #[test]
    fn it_takes_answers_in_a_row_to_change_what_an_endpoint_counts_as() {
        let answers = [false, false, true, false, false, false, true, false, true, true];

        let verdicts = verdicts(false, &answers);

        assert_eq!(verdicts, [true, true, true, true, true, false, false, false, false, true]);
    }

    #[test]
    fn the_first_answer_of_all_alone_decides() {
        assert_eq!(verdicts(true, &[false, true, true]), [false, false, true]);
        assert_eq!(verdicts(true, &[true, false, false]), [true, true, true]);
    }

    #[test]
    fn a_pause_is_longer_by_the_jitter_at_most() {
        let pauses: Vec<_> = (0..5000).map(|random| pause(&health(), random).as_millis()).collect();

        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&10_000), Some(&11_000)));
        let none = Health { jitter: Ratio::of_percent(0), ..health() };
        assert_eq!(pause(&none, 7), Duration::from_secs(10));
    }

    #[test]
    fn a_service_is_framed_and_the_whole_server_is_an_empty_message() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("a")[..], [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(message(&"a".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }
}
