//! What a stream takes in each of its states (RFC 9113 §5.1), and which streams there may be.

use crate::common::h2_raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, STREAM_CLOSED,
    WHOLE, asks, block, frame, get, left, left_open, post, reset, window,
};
use crate::row::Verdict::{Connection, Ends, GoesOn, Ignored, Says, Sees, Stream};
use crate::row::{BODY, Row, row};

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &post(&[]))
}

fn data() -> Vec<u8> {
    frame(DATA, END_STREAM, 1, b"test")
}

fn piece() -> Vec<u8> {
    frame(CONTINUATION, END_HEADERS, 1, &get(&[]))
}

/// The second part comes after the answer to the first has begun to come.
fn answered(
    rule: (&'static str, &'static str),
    name: &'static str,
    then: Vec<u8>,
    verdict: crate::row::Verdict,
) -> Row {
    Row { parts: vec![asks(1), then], answered: true, ..row(rule, name, &[], verdict) }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = idle();
    rows.extend(half_closed());
    rows.extend(closed());
    rows.extend(identifiers());
    rows.extend(exchanges());
    rows
}

fn idle() -> Vec<Row> {
    vec![
        row(("§5.1 idle", "http2/5.1/1"), "data of an idle stream", &[data()], Connection(PROTOCOL_ERROR)),
        row(("§5.1 idle", "http2/5.1/3"), "a window for an idle stream", &[window(1, 100)], Connection(PROTOCOL_ERROR)),
        row(
            ("§5.1 idle", "http2/5.1/4"),
            "a piece of a head of an idle stream",
            &[piece()],
            Connection(PROTOCOL_ERROR),
        ),
    ]
}

fn half_closed() -> Vec<Row> {
    let whole = |more: Vec<u8>| [left(1), more];
    vec![
        row(
            ("§5.1 half-closed (remote)", "generic/2/2"),
            "a window for a stream that waits for its answer",
            &[asks(1), window(1, 2)],
            Sees("GET /", &[], ""),
        ),
        row(
            ("§5.1 half-closed (remote)", "generic/2/4"),
            "a reset of a stream that waits for its answer",
            &whole(reset(1, 8)),
            GoesOn,
        ),
        row(
            ("§5.1 half-closed (remote)", "http2/5.1/5 http2/6.1/2"),
            "data after the end of a request",
            &whole(data()),
            Ends(STREAM_CLOSED),
        ),
        row(
            ("§5.1 half-closed (remote)", "http2/5.1/6"),
            "a head after the end of a request",
            &whole(asks(1)),
            Ends(STREAM_CLOSED),
        ),
        row(
            ("§5.1 half-closed (remote)", "http2/5.1/7"),
            "a piece of a head after the end of a request",
            &whole(piece()),
            Connection(PROTOCOL_ERROR),
        ),
    ]
}

fn closed() -> Vec<Row> {
    let after_reset = |more: Vec<u8>| [left_open(1, &[]), reset(1, 8), more];
    vec![
        row(("§5.1 closed", "http2/5.1/8"), "data after a reset", &after_reset(data()), Stream(1, STREAM_CLOSED)),
        row(("§5.1 closed", "http2/5.1/9"), "a head after a reset", &after_reset(asks(1)), Ends(STREAM_CLOSED)),
        row(
            ("§5.1 closed", "http2/5.1/10"),
            "a piece of a head after a reset",
            &after_reset(piece()),
            Connection(PROTOCOL_ERROR),
        ),
        row(("§5.1 closed", ""), "a reset after a reset", &after_reset(reset(1, 8)), Ignored),
        row(("§5.1 closed", ""), "a window after a reset", &after_reset(window(1, 1)), Ignored),
        answered(("§5.1 closed", "http2/5.1/11"), "data after the answer", data(), Says(RST_STREAM, 0, &[0, 0, 0, 5])),
        answered(("§5.1 closed", "http2/5.1/12"), "a head after the answer", asks(1), Ends(STREAM_CLOSED)),
        answered(
            ("§5.1 closed", "http2/5.1/13"),
            "a piece of a head after the answer",
            piece(),
            Connection(PROTOCOL_ERROR),
        ),
        answered(("§5.1 closed", ""), "a reset after the answer", reset(1, 8), Sees("GET /", &[], "")),
        answered(("§5.1 closed", ""), "a window after the answer", window(1, 1), Sees("GET /", &[], "")),
    ]
}

fn identifiers() -> Vec<Row> {
    let crowd = (0..101).flat_map(|number| left_open(number * 2 + 1, &[])).collect();
    vec![
        row(("§5.1.1", "http2/5.1.1/1"), "a stream of an even number", &[asks(2)], Connection(PROTOCOL_ERROR)),
        row(("§5.1.1", "http2/5.1.1/2"), "a stream below another one", &[left(5), left(3)], Connection(PROTOCOL_ERROR)),
        Row {
            answered: true,
            ..row(
                ("§5.1.1", ""),
                "the last stream there can be",
                &[asks(0x7fff_ffff)],
                Says(DATA, END_STREAM, BODY.as_bytes()),
            )
        },
        row(("§5.1.2", "http2/5.1.2/1"), "one stream more than may be open", &[crowd], Stream(201, REFUSED_STREAM)),
    ]
}

fn exchanges() -> Vec<Row> {
    let base = [(":scheme", "http"), (":path", "/"), (":authority", "a")];
    let head = block(&[&[(":method", "HEAD")], &base[..]].concat());
    let trailers = block(&[("x-trailer", "1")]);
    vec![
        row(("§8.1", "generic/4/2"), "HEAD", &[frame(HEADERS, WHOLE, 1, &head)], Sees("HEAD /", &[("host", "a")], "")),
        row(
            ("§8.1", "generic/4/3"),
            "POST",
            &[open(1), frame(DATA, END_STREAM, 1, b"posted")],
            Sees("POST /", &[("host", "a")], "posted"),
        ),
        row(
            ("§8.1", "generic/4/4"),
            "POST with trailers",
            &[open(1), frame(DATA, 0, 1, b"test"), frame(HEADERS, WHOLE, 1, &trailers)],
            Sees("POST /", &[], "test"),
        ),
        row(
            ("§8.1", "http2/8.1/1"),
            "a second head that does not end the stream",
            &[left_open(1, &[]), frame(HEADERS, END_HEADERS, 1, &trailers)],
            Stream(1, PROTOCOL_ERROR),
        ),
    ]
}
