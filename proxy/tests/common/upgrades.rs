//! Clients that change to WebSockets, proxies that let them, and endpoints that agree.

use std::io;

use crate::common::client::Client;
use crate::common::origin::{Origin, Peer};
use crate::common::proxy::TestProxy;
use crate::common::wire::Message;

/// RFC 6455, section 1.3.
pub(crate) const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(crate) const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
pub(crate) const PLAIN: &str = "GET /plain HTTP/1.1\r\nhost: a\r\n\r\n";

/// An endpoint that agrees to the first request of each connection, and goes on as told.
pub(crate) fn agreeing(then: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(AGREED)?;
        then(peer)
    })
}

/// An endpoint that agrees, and says back what it hears.
pub(crate) fn echo() -> Origin {
    agreeing(|peer| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            match peer.read(&mut bytes)? {
                0 => return Ok(()),
                length => peer.send(&bytes[..length])?,
            }
        }
    })
}

/// A proxy that lets clients change to WebSockets with `origin`, under these limits, with further top-level lines and more
/// of the route.
pub(crate) fn proxy_with(limits: &str, lines: &str, route: &str, origin: &Origin) -> TestProxy {
    proxy_that_lets("websocket", limits, lines, route, origin)
}

/// The same for another protocol.
pub(crate) fn proxy_that_lets(protocol: &str, limits: &str, lines: &str, route: &str, origin: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\n{lines}\nroutes: [{{ name: r, to: {:?}, upgrade: [{protocol}], {route} }}]",
        origin.url()
    ))
}

pub(crate) fn proxy(origin: &Origin) -> TestProxy {
    proxy_with("", "", "", origin)
}

/// A client that was agreed with.
pub(crate) fn switched(proxy: &TestProxy) -> Client {
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    let answer = client.any_head();
    assert_eq!(answer.status(), 101, "{answer:?}");
    client
}

pub(crate) fn active(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_http_upgraded_active", &["route=\"r\""])
}

/// The answer to a request that is no upgrade, and what the origin was asked.
pub(crate) fn ordinary(proxy: &TestProxy, origin: &Origin, request: &str) -> (Message, Message) {
    let mut client = proxy.client();
    client.send(request);
    let answer = client.answer();
    let asked = origin.requests().pop().unwrap();
    assert_eq!((asked.field("upgrade"), asked.field("connection")), (None, None), "{request}");
    (answer, asked)
}
