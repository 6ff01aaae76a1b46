//! A client that speaks HTTP/2 with prior knowledge.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::common::PATIENCE;

/// The body that goes to the proxy, frame by frame and without a declared length.
pub(crate) struct Outgoing(VecDeque<Frame<Bytes>>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// Runs `talk` on a connection of its own, within bounds.
pub(crate) fn talk<T, F: Future<Output = T>>(address: SocketAddr, talk: impl FnOnce(SendRequest<Outgoing>) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let talking = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
            // What becomes of the connection shows in its exchanges.
            tokio::spawn(async move { drop(connection.await) });
            talk(sender).await
        };
        tokio::time::timeout(PATIENCE, talking).await.expect("an end of the conversation")
    })
}

/// One exchange on a connection of its own.
pub(crate) fn exchange(address: SocketAddr, request: Request<Outgoing>) -> Answer {
    talk(address, |mut sender| async move { whole(sender.send_request(request).await.unwrap()).await.unwrap() })
}

/// Reads an answer to its end.
pub(crate) async fn whole(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = collected.to_bytes().to_vec();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

/// A body of these frames.
pub(crate) fn body(chunks: &[&str], trailers: &[(&'static str, &'static str)]) -> Outgoing {
    let mut frames: VecDeque<_> =
        chunks.iter().map(|chunk| Frame::data(Bytes::copy_from_slice(chunk.as_bytes()))).collect();
    let fields = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let map: HeaderMap = fields.collect();
    if !map.is_empty() {
        frames.push_back(Frame::trailers(map));
    }
    Outgoing(frames)
}

/// A GET without a body.
pub(crate) fn get(path: &str) -> Request<Outgoing> {
    Request::get(format!("http://test{path}")).body(body(&[], &[])).unwrap()
}
