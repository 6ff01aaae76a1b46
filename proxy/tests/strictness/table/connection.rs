//! What belongs to one hop (RFC 9110 §7.6), expectations (§10.1.1) and upgrades (§7.8).

use super::{Row, get, post};
use crate::row::{last, passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let stripped = |cites, rule, lines: &str| passed(cites, rule, get(lines), "GET /\nhost: a");
    vec![
        stripped("9110 §7.6.1", "a field that Connection names stays on its hop", "connection: x\r\nx: 1\r\n"),
        stripped("9110 §7.6.1", "names in Connection are the same in any case", "Connection: X-Y\r\nx-y: 1\r\n"),
        stripped(
            "9110 §7.6.1",
            "every line of Connection counts",
            "connection: x\r\nconnection: y\r\nx: 1\r\ny: 1\r\n",
        ),
        stripped("9110 §5.6.1", "empty members in Connection mean nothing", "connection: , x ,\r\nx: 1\r\n"),
        stripped("9110 §7.6.1", "Connection may name what is not there", "connection: x\r\n"),
        stripped("9110 §7.6.1", "Keep-Alive stays on its hop", "keep-alive: timeout=5\r\n"),
        stripped("9110 §7.6.1", "Proxy-Connection stays on its hop", "proxy-connection: keep-alive\r\n"),
        stripped("9110 §11.7.1", "Proxy-Authorization is for this proxy", "proxy-authorization: Basic eDp5\r\n"),
        stripped("9110 §10.1.4", "TE stays on its hop", "te: trailers, gzip\r\nconnection: te\r\n"),
        stripped(
            "9110 §7.8",
            "an upgrade that no route allows is left out",
            "connection: upgrade\r\nupgrade: websocket\r\n",
        ),
        stripped(
            "9113 §3.1",
            "an upgrade to h2c is left out",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        ),
        stripped("9110 §7.8", "an upgrade that Connection does not name is left out", "upgrade: websocket\r\n"),
        passed("9110 §7.6.1", "Connection does not take Host away", get("connection: host\r\n"), "GET /\nhost: a"),
        passed(
            "9110 §7.6.1",
            "Connection does not take the length away",
            post("connection: content-length\r\ncontent-length: 3\r\n", "abc"),
            "POST /\ncontent-length: 3\nhost: a\n\nabc",
        ),
        passed(
            "9110 §7.6.1",
            "Connection does not take the coding away",
            post("connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            "POST /\nhost: a\ntransfer-encoding: chunked\n\nabc",
        ),
        passed(
            "9110 §7.6.1",
            "Connection does not take Authorization away",
            get("connection: authorization\r\nauthorization: x\r\n"),
            "GET /\nauthorization: x\nhost: a",
        ),
        passed(
            "9110 §7.6.1",
            "Connection does not take Cookie away",
            get("connection: cookie\r\ncookie: x=1\r\n"),
            "GET /\ncookie: x=1\nhost: a",
        ),
        last(
            "9112 §9.6",
            "close ends the connection behind its request",
            get("connection: close\r\n"),
            "GET /\nhost: a",
        ),
        last(
            "9112 §9.6",
            "close in a second line is close",
            get("connection: keep-alive\r\nconnection: close\r\n"),
            "GET /\nhost: a",
        ),
        last("9112 §9.6", "close is the same in any case", get("connection: CLOSE\r\n"), "GET /\nhost: a"),
        passed(
            "9112 §9.3",
            "keep-alive keeps a connection of HTTP/1.0",
            get("connection: keep-alive\r\n").replace("/1.1", "/1.0"),
            "GET /\nhost: a",
        ),
        last(
            "9112 §9.6",
            "close beside keep-alive is close",
            get("connection: keep-alive, close\r\n").replace("/1.1", "/1.0"),
            "GET /\nhost: a",
        ),
        passed(
            "9110 §10.1.1",
            "an expectation is met and goes no further",
            post("expect: 100-continue\r\ncontent-length: 3\r\n", "abc"),
            "POST /\ncontent-length: 3\nhost: a\n\nabc",
        ),
        passed(
            "9110 §10.1.1",
            "expectations are the same in any case",
            post("Expect: 100-Continue\r\ncontent-length: 3\r\n", "abc"),
            "POST /\ncontent-length: 3\nhost: a\n\nabc",
        ),
        passed(
            "9110 §10.1.1",
            "an expectation without a body means nothing",
            get("expect: 100-continue\r\n"),
            "GET /\nhost: a",
        ),
        refused(
            "9110 §10.1.1",
            "an unknown expectation is refused",
            post("expect: 200-ok\r\ncontent-length: 3\r\n", "abc"),
            417,
        ),
        refused(
            "9110 §10.1.1",
            "an unknown expectation beside a known one is refused",
            get("expect: 100-continue, x\r\n"),
            417,
        ),
        refused(
            "9110 §10.1.1",
            "an unknown expectation in a second line is refused",
            get("expect: 100-continue\r\nexpect: x\r\n"),
            417,
        ),
        last(
            "9110 §10.1.1",
            "an expectation of HTTP/1.0 means nothing",
            post("expect: x\r\ncontent-length: 3\r\n", "abc").replace("/1.1", "/1.0"),
            "POST /\ncontent-length: 3\nhost: a\n\nabc",
        ),
    ]
}
