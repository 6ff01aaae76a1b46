//! Windows: nothing is sent without one, none overflows, and one that shrinks may fall below nothing (RFC 9113 §6.9).

use crate::common::h2_raw::{FLOW_CONTROL_ERROR, PROTOCOL_ERROR, asks, left_open, settings, window};
use crate::row::Verdict::{Connection, Ignored, Pieces, Sees, Stream};
use crate::row::{Row, row};

const LARGEST: u32 = (1 << 31) - 1;
const FIRST: u32 = (1 << 16) - 1;

fn initial(size: u32) -> Vec<u8> {
    settings(&[(4, size)])
}

/// Every part but the first is sent when a piece of the body came.
fn in_turn(
    rule: (&'static str, &'static str),
    name: &'static str,
    parts: Vec<Vec<u8>>,
    verdict: crate::row::Verdict,
) -> Row {
    Row { parts, ..row(rule, name, &[], verdict) }
}

pub(crate) fn rows() -> Vec<Row> {
    let open = || left_open(1, &[]);
    vec![
        row(("§6.9", "generic/3.9/1"), "a window for the connection", &[window(0, 1)], Ignored),
        row(("§6.9", "generic/3.9/2"), "a window for a stream", &[asks(1), window(1, 1)], Sees("GET /", &[], "")),
        row(
            ("§6.9", "http2/6.9/1"),
            "a window of nothing for the connection",
            &[window(0, 0)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.9", "http2/6.9/2"),
            "a window of nothing for a stream",
            &[open(), window(1, 0)],
            Connection(PROTOCOL_ERROR),
        ),
        row(("§6.9.1", "http2/6.9.1/1"), "a window of one byte", &[initial(1), asks(1)], Pieces(&[1])),
        row(
            ("§6.9.1", "http2/6.9.1/2"),
            "more than the largest window for the connection",
            &[window(0, LARGEST), window(0, LARGEST)],
            Connection(FLOW_CONTROL_ERROR),
        ),
        row(
            ("§6.9.1", "http2/6.9.1/3"),
            "more than the largest window for a stream",
            &[open(), window(1, LARGEST), window(1, LARGEST)],
            Stream(1, FLOW_CONTROL_ERROR),
        ),
        row(
            ("§6.9.1", ""),
            "the largest window for the connection",
            &[window(0, LARGEST - FIRST), asks(1)],
            Sees("GET /", &[], ""),
        ),
        row(
            ("§6.9.1", ""),
            "the largest window for every stream",
            &[initial(LARGEST), asks(1)],
            Sees("GET /", &[], ""),
        ),
        row(
            ("§6.9.2", "http2/6.9.2/1"),
            "a window that comes after the request",
            &[initial(0), asks(1), initial(1)],
            Pieces(&[1]),
        ),
        in_turn(
            ("§6.9.2", "http2/6.9.2/2"),
            "a window that falls below nothing",
            vec![[initial(3), asks(1)].concat(), [initial(2), window(1, 2)].concat()],
            Pieces(&[3, 1]),
        ),
        in_turn(
            ("§6.9", ""),
            "a window that is opened byte by byte",
            vec![[initial(1), asks(1)].concat(), window(1, 1), window(1, 100)],
            Pieces(&[1, 1, 8]),
        ),
        row(
            ("§6.9.2", ""),
            "settings that make a stream's window overflow",
            &[open(), window(1, LARGEST - FIRST), initial(FIRST + 1)],
            Connection(FLOW_CONTROL_ERROR),
        ),
    ]
}
