//! An origin that takes bodies however slowly they come, answers without an end where that is asked for, and gives back what
//! comes behind an upgrade.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io;

use crate::endpoint::Endpoint;

/// See the module.
pub(super) fn start() -> io::Result<Endpoint> {
    Endpoint::start(|stream| {
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        // What fails here fails at the client too.
        tokio::spawn(serving.with_upgrades());
    })
}

async fn answer(mut request: Request<Incoming>) -> hyper::Result<Response<Answer>> {
    if request.headers().contains_key(UPGRADE) {
        tokio::spawn(echo(hyper::upgrade::on(&mut request)));
        return Ok(switched());
    }
    let is_endless = request.uri().path().contains("/endless");
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let length = if is_endless { 0 } else { request.into_body().collect().await?.to_bytes().len() };
    let body = if is_endless { Answer::Endless } else { Answer::Words(Some(format!("{length}\n").into())) };
    let mut response = Response::new(body);
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

fn switched() -> Response<Answer> {
    let mut response = Response::new(Answer::Words(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

async fn echo(upgraded: OnUpgrade) -> io::Result<()> {
    let stream = TokioIo::new(upgraded.await.map_err(io::Error::other)?);
    let (mut from, mut to) = io::split(stream);
    io::copy(&mut from, &mut to).await.map(drop)
}

/// A body.
enum Answer {
    Words(Option<Bytes>),
    Endless,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match &mut *self {
            Answer::Words(words) => words.take().map(|words| Ok(Frame::data(words))),
            Answer::Endless => Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Words(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Words(words) => {
                SizeHint::with_exact(words.as_ref().map_or(0, |words| u64::try_from(words.len()).unwrap_or(0)))
            }
            Answer::Endless => SizeHint::default(),
        }
    }
}
