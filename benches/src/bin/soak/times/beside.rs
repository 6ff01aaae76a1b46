//! Clients that may be slow. Each is, for longer than others are borne, and then comes to its end as if nothing had been.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{bail, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, Sleep};

use super::{DRIP, LASTS, PATIENCE};
use crate::link::{Link, Protocol};

/// Bytes that are read of an answer without an end, after the rest.
const READ: usize = 1 << 20;
/// What is sent behind an upgrade while nobody reads, at the most.
const SENT: usize = 16 << 20;

pub(super) fn grpc_up(address: SocketAddr) -> anyhow::Result<()> {
    up(address, Protocol::H2c, "/", Some("application/grpc"))
}

pub(super) fn grpc_down(address: SocketAddr) -> anyhow::Result<()> {
    down(address, Protocol::H2c, "/endless/grpc", Some("application/grpc"))
}

pub(super) fn stream_up(address: SocketAddr) -> anyhow::Result<()> {
    up(address, Protocol::Http1, "/stream/", None)
}

pub(super) fn stream_down(address: SocketAddr) -> anyhow::Result<()> {
    down(address, Protocol::Http1, "/stream/endless", None)
}

/// The origin tells how many bytes came.
fn up(address: SocketAddr, protocol: Protocol, path: &str, kind: Option<&str>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut link = Link::connect(address, protocol).await?;
        let mut request = link.request(path).method("POST");
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let answer = link.send(request.body(Drips::new(LASTS))?).await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        let said = answer.into_body().collect().await?.to_bytes();
        let sent = LASTS.as_secs() / DRIP.as_secs();
        ensure!(said == format!("{sent}\n"), "of {sent} bytes there came {}", String::from_utf8_lossy(&said));
        Ok(())
    })
}

fn down(address: SocketAddr, protocol: Protocol, path: &str, kind: Option<&str>) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let (_link, mut body) = runtime.block_on(async {
        let mut link = Link::connect(address, protocol).await?;
        let mut request = link.request(path);
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let answer = link.send(request.body(Drips::new(Duration::ZERO))?).await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        anyhow::Ok((link, answer.into_body()))
    })?;
    // Nobody polls the connection meanwhile, so nothing is read.
    std::thread::sleep(LASTS);
    runtime.block_on(async { tokio::time::timeout(PATIENCE, taken(&mut body)).await? })
}

/// Reads on until there was enough.
async fn taken(body: &mut Incoming) -> anyhow::Result<()> {
    let mut read = 0;
    while read < READ {
        let Some(frame) = body.frame().await else { bail!("it ended after {read} bytes") };
        read += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

pub(super) fn upgrade(address: SocketAddr) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut stream = switch(address).await?;
        tokio::time::sleep(LASTS).await;
        stream.write_all(b"still there?").await?;
        returned(&mut stream, 12).await
    })
}

/// The origin gives back what comes, which nobody takes, so that all buffers on the way are full.
pub(super) fn upgrade_stalled(address: SocketAddr) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let (mut stream, mut sent) = (switch(address).await?, 0);
        let piece = [b'x'; 64 * 1024];
        while sent < SENT
            && let Ok(written) = tokio::time::timeout(DRIP, stream.write(&piece)).await
        {
            sent += written?;
        }
        tokio::time::sleep(LASTS).await;
        returned(&mut stream, sent).await
    })
}

async fn switch(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(
            b"GET /upgrade HTTP/1.1\r\nhost: soak.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await??);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "it was answered with {}", String::from_utf8_lossy(&head));
    Ok(stream)
}

async fn returned(stream: &mut TcpStream, bytes: usize) -> anyhow::Result<()> {
    let (mut read, mut some) = (0, vec![0; 64 * 1024]);
    while read < bytes {
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut some)).await??;
        ensure!(length > 0, "it ended after {read} of {bytes} bytes");
        read += length;
    }
    Ok(())
}

/// For one client.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A body of one byte in every [`DRIP`], for so long.
pub(super) struct Drips {
    left: u64,
    sleep: Pin<Box<Sleep>>,
}

impl Drips {
    /// The first byte comes after the first drip. To be made on a runtime.
    pub(super) fn new(time: Duration) -> Drips {
        Drips { left: time.as_secs() / DRIP.as_secs(), sleep: Box::pin(tokio::time::sleep(DRIP)) }
    }
}

impl Body for Drips {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.sleep.as_mut().poll(cx));
        self.left -= 1;
        let next = Instant::now() + DRIP;
        self.sleep.as_mut().reset(next);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
