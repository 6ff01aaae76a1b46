//! Clients that are too slow. Each returns once the proxy has ended it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{bail, ensure};
use bytes::Bytes;
use http_body_util::Empty;

use super::beside::{Drips, runtime};
use super::{DRIP, LOOK, PATIENCE, Scene};
use crate::client::Client;
use crate::link::{Link, Protocol};
use crate::stage::Proxy;

/// RFC 9113 §3.4, with settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) fn silent(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.proxy.address)?, b"", b"")
}

pub(super) fn silent_http2(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.proxy.address)?, PREFACE, b"")
}

pub(super) fn silent_tls(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.tls)?, b"", b"")
}

/// A record of a handshake that announces five hundred bytes (RFC 8446 §5.1).
pub(super) fn handshake(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.tls)?, b"\x16\x03\x01\x01\xf4\x01", b"\0")
}

pub(super) fn head(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.proxy.address)?, b"GET / HTTP/1.1\r\nx: ", b"y")
}

/// The time runs from the first byte of that head, which is sent here.
pub(super) fn second_head(scene: &Scene) -> anyhow::Result<()> {
    let mut client = connect(scene.proxy.address)?;
    client.write_all(b"GET / HTTP/1.1\r\nhost: soak.test\r\n\r\nGET / HTTP/1.1\r\nx: ")?;
    dribble(client, b"", b"y")
}

/// HEADERS of stream 1 that announces sixty bytes.
pub(super) fn head_http2(scene: &Scene) -> anyhow::Result<()> {
    dribble(connect(scene.proxy.address)?, &[PREFACE, b"\0\0\x3c\x01\x05\0\0\0\x01"].concat(), b"\x82")
}

pub(super) fn body(scene: &Scene) -> anyhow::Result<()> {
    dribble(
        connect(scene.proxy.address)?,
        b"POST / HTTP/1.1\r\nhost: soak.test\r\ncontent-length: 100000\r\n\r\n",
        b"x",
    )
}

/// It is told with a 408, or its stream is reset.
pub(super) fn body_http2(scene: &Scene) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut link = Link::connect(scene.proxy.address, Protocol::H2c).await?;
        let request = link.request("/").method("POST").body(Drips::new(PATIENCE))?;
        match tokio::time::timeout(PATIENCE, link.send(request)).await? {
            Ok(answer) if answer.status() != 408 => bail!("it was answered with {}", answer.status()),
            Ok(_) | Err(_) => Ok(()),
        }
    })
}

pub(super) fn reader(scene: &Scene) -> anyhow::Result<()> {
    let mut client = connect(scene.proxy.address)?;
    client.write_all(b"GET /endless/http1 HTTP/1.1\r\nhost: soak.test\r\n\r\n")?;
    let seen = await_end(&scene.proxy, "route=\"http1\"");
    drop(client);
    seen
}

pub(super) fn reader_http2(scene: &Scene) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let (link, answer) = runtime.block_on(async {
        let mut link = Link::<Empty<Bytes>>::connect(scene.proxy.address, Protocol::H2c).await?;
        let answer = link.send(link.request("/endless/http2").body(Empty::new())?).await?;
        anyhow::Ok((link, answer))
    })?;
    // Nobody polls the connection meanwhile, so nothing is read.
    let seen = await_end(&scene.proxy, "route=\"http2\"");
    drop((link, answer));
    seen
}

/// Whoever reads nothing does not hear of the end either, so the proxy is asked.
fn await_end(proxy: &Proxy, route: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut begun = false;
    loop {
        let active = proxy.metric("tollgate_http_active_requests{", route)?;
        if begun && active == 0.0 {
            return Ok(());
        }
        begun = begun || active > 0.0;
        ensure!(began.elapsed() < PATIENCE, "it goes on");
        thread::sleep(LOOK);
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    // Whose answer takes too long is given up by the client.
    Client::connect(address).map(Client::into_stream)
}

/// Sends `begin`, then `drip` again and again, until the proxy closes. What it says before is read.
fn dribble(mut client: TcpStream, begin: &[u8], drip: &[u8]) -> anyhow::Result<()> {
    let (began, mut dripped, mut some) = (Instant::now(), Instant::now(), [0; 4096]);
    client.write_all(begin)?;
    client.set_read_timeout(Some(LOOK))?;
    while began.elapsed() < PATIENCE {
        match client.read(&mut some) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(()),
        }
        if dripped.elapsed() >= DRIP {
            dripped = Instant::now();
            // Where it can no longer be written, the next read tells of the end.
            let _ = client.write_all(drip);
        }
    }
    bail!("it goes on")
}
