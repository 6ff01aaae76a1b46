//! Clients that ask for tunnels over HTTP/1.1, proxies that make them, and requests that get none.

use crate::common::client::Client;
use crate::common::origin::Origin;
use crate::common::proxy::TestProxy;
use crate::common::upgrades::proxy_that_lets;

/// Nothing listens where this leads.
pub(crate) const CONNECT: &str = "CONNECT nowhere.test:9 HTTP/1.1\r\nhost: nowhere.test:9\r\n\r\n";
/// What a client may send in the belief that it is connected.
pub(crate) const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// A proxy that makes tunnels to `origin`, under these limits, with further top-level lines and more of the route.
pub(crate) fn proxy_with(limits: &str, lines: &str, route: &str, origin: &Origin) -> TestProxy {
    proxy_that_lets("connect", limits, lines, route, origin)
}

pub(crate) fn proxy(origin: &Origin) -> TestProxy {
    proxy_with("", "", "", origin)
}

/// A client that was given a tunnel.
pub(crate) fn connected(proxy: &TestProxy) -> Client {
    let mut client = proxy.client();
    client.send(CONNECT);
    let answer = client.any_head();
    assert_eq!(answer.status(), 200, "{answer:?}");
    client
}

/// Sends a request with something behind it, and answers with the status once the connection is closed.
#[track_caller]
pub(crate) fn refused(proxy: &TestProxy, request: &str) -> u16 {
    let mut client = proxy.client();
    client.send([request, HIDDEN].concat());
    let answer = client.answer();
    assert_eq!(answer.field("connection"), Some("close"), "{request}: {answer:?}");
    assert!(client.is_closed(), "{request}");
    answer.status()
}
