//! How connections begin and end: the preface, settings, pings, GOAWAY, and what is an error of the whole connection.

use crate::common::h2_raw::{
    ACK, END_HEADERS, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, NO_ERROR, PING, PREFACE, PROTOCOL_ERROR,
    PUSH_PROMISE, SETTINGS, asks, frame, get, left, left_open, ping, reset, settings,
};
use crate::row::Verdict::{Closed, Connection, Ends, Ignored, Pieces, Says, Sees};
use crate::row::{Row, row};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

fn go_away(stream: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, stream, &[0u32.to_be_bytes(), code.to_be_bytes()].concat())
}

fn preface(
    rule: (&'static str, &'static str),
    name: &'static str,
    bytes: &[&[u8]],
    verdict: crate::row::Verdict,
) -> Row {
    Row { greets: false, parts: vec![bytes.concat()], ..row(rule, name, &[], verdict) }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = begins();
    rows.extend(settle());
    rows.extend(pings());
    rows.extend(ends());
    rows
}

fn begins() -> Vec<Row> {
    vec![
        preface(
            ("§3.4", "generic/1/1 http2/3.5/1"),
            "a preface and settings are answered with settings",
            &[PREFACE, &settings(&[])],
            Says(SETTINGS, ACK, b""),
        ),
        preface(
            ("§3.4", "http2/3.5/2"),
            "something else than a preface",
            &[b"INVALID CONNECTION PREFACE\r\n\r\n"],
            Closed,
        ),
        preface(
            ("§3.4", ""),
            "a preface that becomes another text",
            &[&PREFACE[..18], b"XX\r\n\r\n", &settings(&[])],
            Closed,
        ),
        preface(
            ("§3.4", ""),
            "a preface without settings behind it",
            &[PREFACE, &ping(b"settings")],
            Connection(PROTOCOL_ERROR),
        ),
    ]
}

fn settle() -> Vec<Row> {
    let wrong = |id: u16, value: u32| settings(&[(id, value)]);
    vec![
        row(
            ("§6.5.3", "generic/3.5/1 http2/6.5.3/2"),
            "settings are acknowledged",
            &[wrong(MAX_CONCURRENT_STREAMS, 100)],
            Says(SETTINGS, ACK, b""),
        ),
        row(
            ("§6.5", "http2/6.5/1"),
            "an acknowledgement with a payload",
            &[frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1])],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("§6.5", "http2/6.5/2"),
            "settings of a stream",
            &[frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1])],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5", "http2/6.5/3"),
            "settings of three bytes",
            &[frame(SETTINGS, 0, 0, &[0, 3, 0])],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("§6.5.3", ""),
            "an acknowledgement of what was not said",
            &[frame(SETTINGS, ACK, 0, b"").repeat(2)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5.2", "http2/6.5.2/1"),
            "push neither on nor off",
            &[wrong(ENABLE_PUSH, 2)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5.2", "http2/6.5.2/2 http2/6.9.2/3"),
            "an initial window past the largest",
            &[wrong(INITIAL_WINDOW_SIZE, 1 << 31)],
            Ends(FLOW_CONTROL_ERROR),
        ),
        row(
            ("§6.5.2", "http2/6.5.2/3"),
            "frames smaller than all must take",
            &[wrong(MAX_FRAME_SIZE, (1 << 14) - 1)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5.2", "http2/6.5.2/4"),
            "frames larger than there are",
            &[wrong(MAX_FRAME_SIZE, 1 << 24)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5.2", "http2/6.5.2/5"),
            "a setting that nobody knows",
            &[wrong(0xff, 1), ping(b"settings")],
            Says(PING, ACK, b"settings"),
        ),
        row(
            ("RFC 8441 §3", ""),
            "extended CONNECT neither on nor off",
            &[wrong(ENABLE_CONNECT_PROTOCOL, 2)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.5.3", "http2/6.5.3/1"),
            "the last of two values holds",
            &[settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]), asks(1)],
            Pieces(&[1]),
        ),
        row(
            ("§6.5.2", ""),
            "a client that has no table for heads is answered",
            &[wrong(HEADER_TABLE_SIZE, 0), asks(1)],
            Sees("GET /", &[("host", "a")], ""),
        ),
        row(
            ("§6.5.2", ""),
            "a client that takes no pushed streams is answered",
            &[wrong(MAX_CONCURRENT_STREAMS, 0), asks(1)],
            Sees("GET /", &[], ""),
        ),
    ]
}

fn pings() -> Vec<Row> {
    vec![
        row(
            ("§6.7", "generic/3.7/1 http2/6.7/1"),
            "a ping is answered with its own bytes",
            &[ping(b"h2 ping!")],
            Says(PING, ACK, b"h2 ping!"),
        ),
        row(("§6.7", "http2/6.7/2"), "an answer to no ping", &[frame(PING, ACK, 0, b"invalid!")], Ignored),
        row(
            ("§6.7", "http2/6.7/3"),
            "a ping of a stream",
            &[frame(PING, 0, 1, b"h2 ping!")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§5.4.1", "http2/5.4.1/1 http2/5.4.1/2"),
            "an error of the connection is told and ends it",
            &[left(1), frame(PING, 0, 3, b"h2 ping!")],
            Connection(PROTOCOL_ERROR),
        ),
        row(("§6.7", "http2/6.7/4"), "a ping of six bytes", &[frame(PING, 0, 0, &[0; 6])], Ends(FRAME_SIZE_ERROR)),
        row(("§6.7", ""), "a ping of nine bytes", &[frame(PING, 0, 0, &[0; 9])], Ends(FRAME_SIZE_ERROR)),
    ]
}

fn ends() -> Vec<Row> {
    let promise = [&2u32.to_be_bytes()[..], &get(&[])].concat();
    let open = left_open(1, &[]);
    vec![
        row(("§6.8", "generic/3.8/1"), "a client that goes away", &[go_away(0, NO_ERROR)], Connection(NO_ERROR)),
        row(
            ("§7", "http2/7/1"),
            "a client that goes away for a reason that nobody knows",
            &[go_away(0, 0xff)],
            Connection(NO_ERROR),
        ),
        row(("§6.8", "http2/6.8/1"), "GOAWAY of a stream", &[go_away(1, NO_ERROR)], Connection(PROTOCOL_ERROR)),
        row(("§6.8", ""), "GOAWAY of seven bytes", &[frame(GOAWAY, 0, 0, &[0; 7])], Ends(FRAME_SIZE_ERROR)),
        row(("§7", "http2/7/2"), "a reset for a reason that nobody knows", &[open, reset(1, 0xff)], Ignored),
        row(
            ("§8.4", "http2/8.2/1"),
            "a promise of a client",
            &[frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            Connection(PROTOCOL_ERROR),
        ),
        row(("§5.5", "http2/5.5/1"), "a frame of a kind that nobody knows", &[frame(22, 0, 0, &[0; 8])], Ignored),
    ]
}
