//! Questions to the admin endpoints, each on a connection of its own.

use std::net::SocketAddr;

use serde_json::Value;

use crate::common::client::Client;
use crate::common::modules::Guest;
use crate::common::proxy::TestProxy;
use crate::common::wire::Message;

/// The token of [`secured`] endpoints.
pub(crate) const TOKEN: &str = "canary-token-4b1d9a";
/// The field that says it.
pub(crate) const AUTHORIZED: &str = "authorization: Bearer canary-token-4b1d9a\r\n";

/// The key `admin` of a configuration, with endpoints that want [`TOKEN`].
pub(crate) fn secured(address: &str) -> String {
    format!("admin: {{ listen: \"{address}:0\", token: {TOKEN} }}\n")
}

/// A question with further header lines, each with its line end, and a body.
pub(crate) fn ask_with(admin: SocketAddr, asked: &str, lines: &str, body: &[u8]) -> Message {
    let host = if lines.to_ascii_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
    let mut client = Client::connect(admin);
    let head = format!("{asked} HTTP/1.1\r\n{host}content-length: {}\r\n{lines}\r\n", body.len());
    // Whoever refuses may do so before it has read everything.
    let _ = client.try_send([head.as_bytes(), body].concat());
    client.answer()
}

/// What a question such as `POST /reload` is answered with.
pub(crate) fn ask(admin: SocketAddr, asked: &str) -> Message {
    ask_with(admin, asked, "", b"")
}

/// Uploads a module for the filter `f`.
pub(crate) fn upload(admin: SocketAddr, module: &[u8]) -> Message {
    ask_with(admin, "PUT /filters/f/module", "", module)
}

/// Endpoints on a free port.
pub(crate) const LOOPBACK: &str = "admin: { listen: \"127.0.0.1:0\" }\n";

/// A proxy whose only filter is `f`, with further settings in YAML's flow style.
pub(crate) fn proxy_with(admin: &str, guest: &Guest, settings: &str) -> TestProxy {
    TestProxy::with(&yaml(admin, guest, settings))
}

/// Its configuration.
pub(crate) fn yaml(admin: &str, guest: &Guest, settings: &str) -> String {
    let path = guest.path();
    format!("{admin}filters: {{ f: {{ wasm: {path:?}{settings} }} }}\nroutes: [{{ to: echo, filters: [f] }}]")
}

/// What its filter says.
pub(crate) fn speaks(proxy: &TestProxy) -> String {
    proxy.get("/").field("x-by").unwrap_or_default().to_owned()
}

/// What the endpoints show of its filter.
pub(crate) fn filter(proxy: &TestProxy) -> Value {
    ask(proxy.admin(), "GET /filters/f").json()
}
