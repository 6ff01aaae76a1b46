//! From an accepted socket to a transport whose protocol is known: by the first bytes, or as TLS agrees on it.
//!
//! All of it takes from the time for a head, as what comes before and behind it does. A client that speaks HTTP where TLS is
//! spoken is told so.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use rustls::HandshakeKind;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::Progress;
use crate::listener::connection::Settings;
use crate::listener::io::{Noted, Transport};
use crate::telemetry::metrics::ListenerSeries;
use crate::tls::failure::ClientFailure;
use crate::tls::secured::{End, Secured};
use crate::tls::server::{H2, Server};
use crate::tls::stream::Stream;

/// RFC 9113 §3.4. A client that begins like this speaks HTTP/2 with prior knowledge.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read of a client at first; less than what reads on has room for.
const FIRST: usize = 2048;
/// RFC 8446 §5.1: the kind of a record with which every handshake begins.
const HANDSHAKE: u8 = 22;
/// How long a client may take to hear why its handshake failed, and how much it may still say.
const FAREWELL: Duration = Duration::from_millis(500);
const FAREWELL_BYTES: u64 = 64 * 1024;
/// What a client is told that speaks HTTP without TLS.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 59\r\n\r\nthis is a TLS port and the request is not; use https://...\n";

/// A transport, and what is spoken on it.
pub(super) struct Opened {
    pub(super) transport: Transport,
    /// Read while telling the protocols apart.
    pub(super) first: Bytes,
    pub(super) is_http2: bool,
    /// Present with TLS.
    pub(super) secured: Option<Arc<Secured>>,
}

/// Finds out what is spoken; `None` where nothing is, which is logged, and counted but for a client without TLS that left.
pub(super) async fn open(mut stream: TcpStream, settings: &Settings, progress: &Rc<Progress>) -> Option<Opened> {
    let Some(server) = &settings.tls else {
        let first = first_in_time(&mut stream, settings).await?;
        let is_http2 = first.starts_with(PREFACE);
        return Some(Opened { transport: Stream::Plain(stream), first, is_http2, secured: None });
    };
    // Boxed, so that connections without TLS do not carry its state.
    let shaking = Box::pin(shake_hands(stream, server, SPEAK_TLS, progress));
    let (stream, secured) = secured(shaking, (settings.deadline(), &settings.series)).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    Some(Opened { transport: Stream::Tls(stream), first: Bytes::new(), is_http2, secured: Some(secured) })
}

/// Shakes hands with a client of which it is not known what it speaks; `None` where that comes to nothing, which is counted
/// and logged.
pub(super) async fn secure(
    stream: TcpStream,
    server: &Server,
    by: (Instant, &ListenerSeries),
) -> Option<(Box<TlsStream<Noted>>, Arc<Secured>)> {
    let progress = Rc::new(Progress::default());
    secured(Box::pin(shake_hands(stream, server, b"", &progress)), by).await
}

async fn secured(
    shaking: impl Future<Output = Result<Shaken, Failed>>,
    (deadline, series): (Instant, &ListenerSeries),
) -> Option<(Box<TlsStream<Noted>>, Arc<Secured>)> {
    let outcome = timeout_at(deadline, shaking).await;
    match outcome.unwrap_or_else(|_| Err(Failed::new(ClientFailure::Timeout, "the handshake took too long"))) {
        Ok((stream, secured)) => {
            series.tls.handshakes[usize::from(is_resumed(&stream))].inc();
            Some((Box::new(stream), Arc::new(secured)))
        }
        Err(Failed { failure, words, left }) => {
            series.tls.failures[failure.index()].inc();
            tracing::debug!(reason = failure.as_str(), error = words, "TLS handshake failed");
            if let Some(left) = left {
                // Whatever comes of it, the connection is closed next.
                let _ = tokio::time::timeout(FAREWELL, Box::pin(farewell(left))).await;
            }
            None
        }
    }
}

type Shaken = (TlsStream<Noted>, Secured);

/// Why hands were not shaken.
struct Failed {
    failure: ClientFailure,
    words: String,
    /// A socket on which the client was told why, and should read it.
    left: Option<Noted>,
}

impl Failed {
    fn new(failure: ClientFailure, words: &str) -> Self {
        Self { failure, words: words.to_owned(), left: None }
    }

    fn of(error: &io::Error, left: Option<Noted>) -> Self {
        Self { failure: ClientFailure::of(error), words: error.to_string(), left }
    }
}

/// Says the end and hears the client's: it may have sent more than was read, as with TLS 1.3 a request before it hears that
/// its certificate is not believed, and to close with that unread would reset the connection before it reads why.
async fn farewell(mut left: Noted) -> io::Result<()> {
    left.shutdown().await?;
    let mut rest = left.take(FAREWELL_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
}

/// Who begins with something else, a letter as a request does, is told `words`.
async fn shake_hands(
    mut stream: TcpStream,
    server: &Server,
    words: &[u8],
    progress: &Rc<Progress>,
) -> Result<Shaken, Failed> {
    let failed = |error: io::Error| Failed::of(&error, None);
    let mut first = [0];
    match stream.peek(&mut first).await.map_err(failed)? {
        0 => return Err(Failed::new(ClientFailure::Gone, "the client left without a word")),
        _ if first != [HANDSHAKE] => {
            let failed = Failed::new(ClientFailure::NotTls, "the first byte begins no handshake");
            let is_told = first[0].is_ascii_uppercase() && !words.is_empty() && stream.write_all(words).await.is_ok();
            return Err(Failed { left: is_told.then(|| Noted::new(stream, Rc::clone(progress))), ..failed });
        }
        _ => {}
    }
    let terms = server.terms();
    let begun = LazyConfigAcceptor::new(Acceptor::default(), Noted::new(stream, Rc::clone(progress)));
    let begun = begun.await.map_err(failed)?;
    let hello = begun.client_hello();
    let (requested, shown) = (hello.server_name().map(str::to_owned), terms.shown_to(&hello));
    let shaken = begun.into_stream(Arc::clone(&terms.config)).into_fallible().await;
    let stream = shaken.map_err(|(error, left)| Failed::of(&error, Some(left)))?;
    let secured = Secured::new(stream.get_ref().1, requested.as_deref(), Some(shown));
    // A session that goes on is not looked at as one that begins; its certificate may have come to its end meanwhile.
    if secured.has_peer_certificate() && is_resumed(&stream) && is_over(&secured) {
        return Err(Failed::new(ClientFailure::Expired, "the certificate of a resumed session expired"));
    }
    Ok((stream, secured))
}

fn is_resumed(stream: &TlsStream<Noted>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn is_over(secured: &Secured) -> bool {
    let now = SystemTime::now();
    secured.certificate(End::Peer).is_none_or(|certificate| certificate.not_after < now)
}

async fn first_in_time(stream: &mut TcpStream, settings: &Settings) -> Option<Bytes> {
    match timeout_at(settings.deadline(), first_bytes(stream)).await {
        Ok(Ok(first)) => Some(first),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client left without a word");
            None
        }
        Err(_) => {
            settings.note_late();
            None
        }
    }
}

/// Reads until the protocol is clear: all that has come by then, which is a whole request of most clients. One that says nothing
/// has no buffer.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Bytes> {
    stream.readable().await?;
    let mut first = BytesMut::with_capacity(FIRST);
    while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
        if stream.read_buf(&mut first).await? == 0 {
            break;
        }
    }
    Ok(first.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_client_without_tls_is_whole() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();

        let (head, body) = text.split_once("\r\n\r\n").unwrap();

        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
