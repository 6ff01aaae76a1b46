//! CONNECT where a route allows it (RFC 9113 §8.5).

use crate::common::h2_raw::{DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, WHOLE, block, frame};
use crate::row::Verdict::{Closed, Sees, Status, Stream};
use crate::row::{Row, Verdict, row};

/// What goes through a tunnel, and ends it.
const INSIDE: &[u8] = b"GET /inside HTTP/1.1\r\nhost: b\r\n\r\n";

/// A CONNECT of these fields and what a client sends in the belief that it is connected.
fn connects(name: &'static str, fields: &[(&str, &str)], verdict: Verdict) -> Row {
    let fields = [&[(":method", "CONNECT")], fields].concat();
    let parts = [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, INSIDE)];
    row(("§8.5", ""), name, &parts, verdict)
}

pub(crate) fn rows() -> Vec<Row> {
    let inside = || Sees("GET /inside", &[("host", "b")], "");
    let malformed = || Stream(1, PROTOCOL_ERROR);
    let to = |name: &'static str, authority: &str| connects(name, &[(":authority", authority)], Status(400));
    let with = |name: &'static str, field: (&str, &str), verdict: Verdict| {
        connects(name, &[(":authority", "a:443"), field], verdict)
    };
    vec![
        connects("a tunnel", &[(":authority", "a:443")], inside()),
        with("a tunnel with its host", ("host", "A:443"), inside()),
        with("a tunnel with another host", ("host", "b:443"), Status(400)),
        with("a tunnel whose host has no port", ("host", "a"), Status(400)),
        with("a tunnel with a scheme", (":scheme", "https"), malformed()),
        with("a tunnel with a path", (":path", "/"), malformed()),
        row(
            ("§8.5", ""),
            "a tunnel with the length of no body",
            &[frame(
                HEADERS,
                WHOLE,
                1,
                &block(&[(":method", "CONNECT"), (":authority", "a:1"), ("content-length", "0")]),
            )],
            Status(400),
        ),
        with("a tunnel with the length of no body and more than that", ("content-length", "0"), malformed()),
        with("a tunnel with the length of a body", ("content-length", "33"), Closed),
        to("a tunnel to a host alone", "a"),
        to("a tunnel to an empty port", "a:"),
        to("a tunnel to port 0", "a:0"),
        to("a tunnel with a user", "user@a:443"),
        connects("a tunnel to nowhere", &[], Status(400)),
    ]
}
