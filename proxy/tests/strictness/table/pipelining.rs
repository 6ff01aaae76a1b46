//! Several requests in one write: each is one, and behind a refusal there is none.

use super::{G, Row, chunked, post, target};
use crate::row::{behind, each, passed};

pub(super) fn rows() -> Vec<Row> {
    let first = "GET /first\nhost: a";
    let good = target("/first");
    let after = |bytes: &str| format!("{good}{bytes}");
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        each(
            "9112 §9.3.2",
            "requests in one write are served in their order",
            target("/1") + &target("/2") + &target("/3"),
            &["GET /1\nhost: a", "GET /2\nhost: a", "GET /3\nhost: a"],
        ),
        each(
            "9112 §9.3.2",
            "bodies of requests in one write are told apart",
            post("content-length: 1\r\n", "a") + &chunked("1\r\nb\r\n0\r\n\r\n"),
            &["POST /\ncontent-length: 1\nhost: a\n\na", "POST /\nhost: a\ntransfer-encoding: chunked\n\nb"],
        ),
        each(
            "9112 §2.2",
            "an empty line between requests is skipped",
            after("\r\n") + &target("/2"),
            &[first, "GET /2\nhost: a"],
        ),
        passed(
            "9112 §6.3",
            "a request inside a body is a body",
            post(&format!("content-length: {}\r\n", smuggled.len()), smuggled),
            &format!("POST /\ncontent-length: {}\nhost: a\n\n{}", smuggled.len(), smuggled),
        ),
        passed(
            "9112 §7.1",
            "a request inside a chunk is a chunk",
            chunked(&format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len())),
            &format!("POST /\nhost: a\ntransfer-encoding: chunked\n\n{smuggled}"),
        ),
        behind(
            "9112 §2.2",
            "two empty lines between requests are refused",
            after("\r\n\r\n") + &target("/2"),
            first,
            400,
        ),
        behind(
            "9112 §3",
            "a request that is no request is refused behind the answer before it",
            after("nonsense\r\n\r\n"),
            first,
            400,
        ),
        behind("9112 §2.2", "LF alone is refused behind an answer", after("GET / HTTP/1.1\nhost: a\n\n"), first, 400),
        behind(
            "9112 §6.3",
            "two framings are refused behind an answer",
            after("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            first,
            400,
        ),
        behind("9112 §7.1", "a malformed chunk is refused behind an answer", after(&chunked("x\r\n")), first, 400),
        behind(
            "9110 §5.5",
            "what hyper refuses is refused behind an answer",
            after("GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n"),
            first,
            400,
        ),
        behind("9112 §3.2", "a missing Host is refused behind an answer", after("GET / HTTP/1.1\r\n\r\n"), first, 400),
        behind(
            "9112 §6.3",
            "bytes beyond a length begin the next request",
            post("content-length: 1\r\n", "abc\r\n\r\n"),
            "POST /\ncontent-length: 1\nhost: a\n\na",
            400,
        ),
        behind(
            "9112 §7.1",
            "bytes beyond the last chunk begin the next request",
            chunked("0\r\n\r\nabc\r\n\r\n"),
            "POST /\nhost: a\ntransfer-encoding: chunked",
            400,
        ),
        behind(
            "9112 §6.3",
            "a body without framing begins the next request",
            post("", "a=b&c=d\r\n\r\n"),
            "POST /\ncontent-length: 0\nhost: a",
            400,
        ),
        behind(
            "9110 §2.5",
            "a preface of HTTP/2 is refused behind an answer",
            after("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            first,
            505,
        ),
        behind(
            "9110 §7.8",
            "frames behind an upgrade that was not allowed are no request",
            format!("{G}connection: upgrade\r\nupgrade: websocket\r\n\r\n\x01\x02\x03\x04\r\n\r\n"),
            "GET /\nhost: a",
            400,
        ),
        each(
            "9110 §7.8",
            "a request behind an upgrade that was not allowed is one",
            format!("{G}connection: upgrade\r\nupgrade: websocket\r\n\r\n{smuggled}"),
            &["GET /\nhost: a", "GET /smuggled\nhost: a"],
        ),
    ]
}
