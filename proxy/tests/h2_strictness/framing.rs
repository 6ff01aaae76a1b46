//! The form of frames: sizes, flags, padding, priorities, and heads in several pieces.

use crate::common::h2_raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, HEADERS, PADDED, PING, PRIORITISED, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, WHOLE, WINDOW_UPDATE, asks, frame, get, left_open, post, reset,
};
use crate::row::Verdict::{Connection, Ends, Ignored, Says, Sees, Stream};
use crate::row::{Row, row};

const SEES: crate::row::Verdict = Sees("GET /", &[("host", "a")], "");

fn priority(stream: u32, depends_on: u32, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&depends_on.to_be_bytes()[..], &[weight]].concat())
}

/// A POST that is open.
fn open() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &post(&[]))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = forms();
    rows.extend(bodies());
    rows.extend(heads());
    rows.extend(priorities());
    rows.extend(short());
    rows.extend(continued());
    rows
}

fn forms() -> Vec<Row> {
    let mut reserved = frame(PING, 0, 0, b"reserved");
    reserved[5] |= 0x80;
    vec![
        row(
            ("§4.1", "http2/4.1/1"),
            "a frame of the last kind there could be",
            &[frame(0xff, 0xff, 0, b"unknown!")],
            Ignored,
        ),
        row(
            ("§4.1", "http2/4.1/2"),
            "a flag that the frame has not",
            &[frame(PING, 0x16, 0, b"flagged!")],
            Says(PING, ACK, b"flagged!"),
        ),
        row(("§4.1", "http2/4.1/3"), "the reserved bit", &[reserved], Says(PING, ACK, b"reserved")),
        row(
            ("§4.2", "http2/4.2/2"),
            "data over the size of a frame",
            &[left_open(1, &[]), frame(DATA, 0, 1, &[b'x'; 16385])],
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            ("§4.2", "http2/4.2/3"),
            "a head over the size of a frame",
            &[frame(HEADERS, WHOLE, 1, &get(&[("x", &"x".repeat(16384))]))],
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            ("§4.2", ""),
            "a frame of an unknown kind over the size of a frame",
            &[frame(0x16, 0, 0, &[0; 16385])],
            Connection(FRAME_SIZE_ERROR),
        ),
    ]
}

fn bodies() -> Vec<Row> {
    let largest: &'static str = Box::leak("x".repeat(16384).into_boxed_str());
    let data = |flags: u8, payload: &[u8]| frame(DATA, flags, 1, payload);
    vec![
        row(
            ("§6.1", "generic/3.1/1"),
            "a body in one frame",
            &[open(), data(END_STREAM, b"test")],
            Sees("POST /", &[], "test"),
        ),
        row(
            ("§6.1", "generic/3.1/2"),
            "a body in two frames",
            &[open(), data(0, b"te"), data(END_STREAM, b"st")],
            Sees("POST /", &[], "test"),
        ),
        row(
            ("§6.1", "generic/3.1/3"),
            "a body with padding",
            &[open(), data(END_STREAM | PADDED, b"\x03test\0\0\0")],
            Sees("POST /", &[], "test"),
        ),
        row(
            ("§6.1", ""),
            "a body that ends with an empty frame",
            &[open(), data(0, b"test"), data(END_STREAM, b"")],
            Sees("POST /", &[], "test"),
        ),
        row(
            ("§6.1", ""),
            "a frame that is all padding",
            &[open(), data(PADDED, b"\x03\0\0\0"), data(END_STREAM, b"x")],
            Sees("POST /", &[], "x"),
        ),
        row(
            ("§4.2", "http2/4.2/1"),
            "a body in the largest frame",
            &[open(), data(END_STREAM, largest.as_bytes())],
            Sees("POST /", &[], largest),
        ),
        row(
            ("§6.1", "http2/6.1/1"),
            "data of no stream",
            &[frame(DATA, END_STREAM, 0, b"test")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.1", "http2/6.1/3"),
            "data with more padding than payload",
            &[left_open(1, &[]), data(END_STREAM | PADDED, b"\x06test")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.1", ""),
            "data with as much padding as payload",
            &[left_open(1, &[]), data(END_STREAM | PADDED, b"\x05test")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.1", ""),
            "padded data without the length of its padding",
            &[left_open(1, &[]), data(END_STREAM | PADDED, b"")],
            Ends(FRAME_SIZE_ERROR),
        ),
    ]
}

fn heads() -> Vec<Row> {
    let padded = [&[3][..], &get(&[]), &[0; 3]].concat();
    let too_padded = [&[255][..], &get(&[])].concat();
    let prioritised = [&[0, 0, 0, 0, 15][..], &get(&[])].concat();
    let on_itself = [&[0, 0, 0, 1, 15][..], &get(&[])].concat();
    vec![
        row(("§6.2", "generic/3.2/1 generic/4/1"), "a head in one frame", &[asks(1)], SEES),
        row(("§6.2", "generic/3.2/2"), "a head with padding", &[frame(HEADERS, WHOLE | PADDED, 1, &padded)], SEES),
        row(
            ("§6.2", "generic/3.2/3"),
            "a head with a priority",
            &[frame(HEADERS, WHOLE | PRIORITISED, 1, &prioritised)],
            SEES,
        ),
        row(("§6.2", "http2/6.2/3"), "a head of no stream", &[asks(0)], Connection(PROTOCOL_ERROR)),
        row(
            ("§6.2", "http2/6.2/4"),
            "a head with more padding than payload",
            &[frame(HEADERS, WHOLE | PADDED, 1, &too_padded)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.2", ""),
            "a padded head without the length of its padding",
            &[frame(HEADERS, WHOLE | PADDED, 1, b"")],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("§6.2", ""),
            "a head with half a priority",
            &[frame(HEADERS, WHOLE | PRIORITISED, 1, &[0; 3])],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("RFC 7540 §5.3.1", "http2/5.3.1/1"),
            "a head that depends on itself",
            &[frame(HEADERS, WHOLE | PRIORITISED, 1, &on_itself)],
            Stream(1, PROTOCOL_ERROR),
        ),
    ]
}

fn priorities() -> Vec<Row> {
    vec![
        row(("§5.1", "generic/2/1"), "a priority of an idle stream", &[priority(1, 0, 255)], Ignored),
        row(
            ("§5.1", "generic/2/3"),
            "a priority of a stream that waits for its answer",
            &[asks(1), priority(1, 0, 255)],
            SEES,
        ),
        Row {
            parts: vec![asks(1), priority(1, 0, 255)],
            ..row(("§5.1", "generic/2/5"), "a priority of a stream that is closed", &[], SEES)
        },
        row(("§6.3", "generic/3.3/1"), "the least priority", &[priority(1, 0, 0), asks(1)], SEES),
        row(("§6.3", "generic/3.3/2"), "the highest priority", &[priority(1, 0, 255), asks(1)], SEES),
        row(("§6.3", "generic/3.3/3"), "a priority after another stream", &[priority(1, 3, 100), asks(1)], SEES),
        row(
            ("§6.3", "generic/3.3/4"),
            "a priority alone after another stream",
            &[priority(1, 3 | 1 << 31, 100), asks(1)],
            SEES,
        ),
        row(
            ("§6.3", "generic/3.3/5"),
            "a request below a stream that has a priority",
            &[priority(3, 0, 100), asks(1)],
            SEES,
        ),
        row(("§6.3", "http2/6.3/1"), "a priority of no stream", &[priority(0, 0, 255)], Connection(PROTOCOL_ERROR)),
        row(
            ("§6.3", "http2/6.3/2"),
            "a priority of four bytes",
            &[left_open(1, &[]), frame(PRIORITY, 0, 1, &[0; 4])],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("RFC 7540 §5.3.1", "http2/5.3.1/2"),
            "a priority after itself",
            &[left_open(1, &[]), priority(1, 1, 255)],
            Stream(1, PROTOCOL_ERROR),
        ),
    ]
}

fn short() -> Vec<Row> {
    vec![
        row(("§6.4", "http2/6.4/1"), "a reset of no stream", &[reset(0, 8)], Connection(PROTOCOL_ERROR)),
        row(
            ("§6.4", "http2/5.1/2 http2/6.4/2"),
            "a reset of an idle stream",
            &[reset(1, 8)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.4", "http2/6.4/3"),
            "a reset of three bytes",
            &[left_open(1, &[]), frame(RST_STREAM, 0, 1, &[0; 3])],
            Ends(FRAME_SIZE_ERROR),
        ),
        row(
            ("§6.9", "http2/6.9/3"),
            "a window of three bytes",
            &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            Ends(FRAME_SIZE_ERROR),
        ),
    ]
}

fn continued() -> Vec<Row> {
    let block = get(&[]);
    let (first, rest) = block.split_at(10);
    let left = left_open(1, &[]);
    let (left_first, left_rest) = left[9..].split_at(10);
    let (second, third) = rest.split_at(10);
    let begun = |stream: u32, flags: u8| frame(HEADERS, flags, stream, first);
    let more = |flags: u8, piece: &[u8]| frame(CONTINUATION, flags, 1, piece);
    let next = frame(HEADERS, WHOLE, 3, &block);
    vec![
        row(
            ("§6.10", "generic/3.10/1"),
            "a head in two pieces",
            &[begun(1, END_STREAM), more(END_HEADERS, rest)],
            SEES,
        ),
        row(
            ("§6.10", "generic/3.10/2 http2/6.10/1"),
            "a head in three pieces",
            &[begun(1, END_STREAM), more(0, second), more(END_HEADERS, third)],
            SEES,
        ),
        row(
            ("§6.10", ""),
            "a head with an empty piece",
            &[begun(1, END_STREAM), more(0, b""), more(END_HEADERS, rest)],
            SEES,
        ),
        row(
            ("§6.10", "http2/6.10/2"),
            "data within a head",
            &[begun(1, 0), more(0, second), frame(DATA, END_STREAM, 1, b"x")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.10", "http2/6.10/3"),
            "a piece of a head of no stream",
            &[begun(1, END_STREAM), frame(CONTINUATION, END_HEADERS, 0, rest)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.10", "http2/6.10/4"),
            "a piece after the end of a head",
            &[left_open(1, &[]), more(END_HEADERS, b"")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.10", "http2/6.10/5"),
            "a piece after the last piece",
            &[frame(HEADERS, 0, 1, left_first), more(END_HEADERS, left_rest), more(END_HEADERS, b"")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.10", "http2/6.10/6"),
            "a piece after data",
            &[left_open(1, &[]), frame(DATA, 0, 1, b"x"), more(END_HEADERS, b"")],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§4.3", "http2/4.3/2 http2/6.2/1"),
            "a priority within a head",
            &[begun(1, END_STREAM), priority(1, 0, 255), more(END_HEADERS, rest)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§4.3", "http2/4.3/3 http2/6.2/2"),
            "another head within a head",
            &[begun(1, END_STREAM), next, more(END_HEADERS, rest)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§6.10", ""),
            "a piece of another stream within a head",
            &[begun(1, END_STREAM), frame(CONTINUATION, END_HEADERS, 3, rest)],
            Connection(PROTOCOL_ERROR),
        ),
        row(
            ("§5.5", "http2/5.5/2"),
            "a frame of an unknown kind within a head",
            &[begun(1, END_STREAM), frame(22, 0, 1, &[0; 8]), more(END_HEADERS, rest)],
            Connection(PROTOCOL_ERROR),
        ),
    ]
}
