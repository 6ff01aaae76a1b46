//! Heads as HPACK writes them (RFC 7541): every way to say a field, and what cannot be decoded.

use crate::common::h2_raw::{COMPRESSION_ERROR, HEADERS, WHOLE, frame};
use crate::row::Verdict::{Ends, Sees};
use crate::row::{Row, Verdict, row};

/// GET, http, / and the authority `a`: three fields of the static table, and a literal with a name from it.
const BASE: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
const AGENT: Verdict = Sees("GET /", &[("user-agent", "b")], "");
const NEW: Verdict = Sees("GET /", &[("x-a", "b")], "");

/// `b` in Huffman's code, and `x-a`.
const HUFFMAN_B: [u8; 2] = [0x81, 0x8f];
const HUFFMAN_X_A: [u8; 4] = [0x83, 0xf2, 0xb0, 0xff];
const PLAIN_B: [u8; 2] = [1, b'b'];
const PLAIN_X_A: [u8; 4] = [3, b'x', b'-', b'a'];

/// A request whose head has more behind the base.
fn with(more: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[&BASE, &more.concat()[..]].concat())
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = said();
    rows.extend(undecodable());
    rows
}

fn said() -> Vec<Row> {
    let sized = |updates: &[u8]| frame(HEADERS, WHOLE, 1, &[updates, &BASE].concat());
    let says = |h2spec: &'static str, rule: &'static str, name: &'static str, frame: Vec<u8>, verdict: Verdict| {
        row((rule, h2spec), name, &[frame], verdict)
    };
    vec![
        says(
            "generic/5/1",
            "RFC 7541 §6.1",
            "a field of the static table",
            with(&[]),
            Sees("GET /", &[("host", "a")], ""),
        ),
        says("generic/5/2", "RFC 7541 §6.2.1", "to be indexed, a known name", with(&[&[0x7a], &PLAIN_B]), AGENT),
        says(
            "generic/5/3",
            "RFC 7541 §6.2.1",
            "to be indexed, a known name, in Huffman's code",
            with(&[&[0x7a], &HUFFMAN_B]),
            AGENT,
        ),
        says(
            "generic/5/4",
            "RFC 7541 §6.2.1",
            "to be indexed, a new name",
            with(&[&[0x40], &PLAIN_X_A, &PLAIN_B]),
            NEW,
        ),
        says(
            "generic/5/5",
            "RFC 7541 §6.2.1",
            "to be indexed, a new name, in Huffman's code",
            with(&[&[0x40], &HUFFMAN_X_A, &HUFFMAN_B]),
            NEW,
        ),
        says("generic/5/6", "RFC 7541 §6.2.2", "not indexed, a known name", with(&[&[0x0f, 0x2b], &PLAIN_B]), AGENT),
        says(
            "generic/5/7",
            "RFC 7541 §6.2.2",
            "not indexed, a known name, in Huffman's code",
            with(&[&[0x0f, 0x2b], &HUFFMAN_B]),
            AGENT,
        ),
        says("generic/5/8", "RFC 7541 §6.2.2", "not indexed, a new name", with(&[&[0x00], &PLAIN_X_A, &PLAIN_B]), NEW),
        says(
            "generic/5/9",
            "RFC 7541 §6.2.2",
            "not indexed, a new name, in Huffman's code",
            with(&[&[0x00], &HUFFMAN_X_A, &HUFFMAN_B]),
            NEW,
        ),
        says("generic/5/10", "RFC 7541 §6.2.3", "never indexed, a known name", with(&[&[0x1f, 0x2b], &PLAIN_B]), AGENT),
        says(
            "generic/5/11",
            "RFC 7541 §6.2.3",
            "never indexed, a known name, in Huffman's code",
            with(&[&[0x1f, 0x2b], &HUFFMAN_B]),
            AGENT,
        ),
        says(
            "generic/5/12",
            "RFC 7541 §6.2.3",
            "never indexed, a new name",
            with(&[&[0x10], &PLAIN_X_A, &PLAIN_B]),
            NEW,
        ),
        says(
            "generic/5/13",
            "RFC 7541 §6.2.3",
            "never indexed, a new name, in Huffman's code",
            with(&[&[0x10], &HUFFMAN_X_A, &HUFFMAN_B]),
            NEW,
        ),
        says("generic/5/14", "RFC 7541 §6.3", "a table of no size", sized(&[0x20]), Sees("GET /", &[], "")),
        says(
            "generic/5/15",
            "RFC 7541 §4.2",
            "a table of no size, and of the full one",
            sized(&[0x20, 0x3f, 0xe1, 0x1f]),
            Sees("GET /", &[], ""),
        ),
        says(
            "",
            "RFC 7541 §2.3.2",
            "a field that was indexed before",
            with(&[&[0x40], &PLAIN_X_A, &PLAIN_B, &[0xbe]]),
            NEW,
        ),
    ]
}

fn undecodable() -> Vec<Row> {
    let fails = |h2spec: &'static str, rule: &'static str, name: &'static str, more: &[u8]| {
        row((rule, h2spec), name, &[with(&[more])], Ends(COMPRESSION_ERROR))
    };
    vec![
        fails("http2/4.3/1", "§4.3", "a field longer than its head", &[0x00, 0x03, b'x', b'-', b'a', 0x7e, b'b']),
        fails("hpack/2.3.3/1", "RFC 7541 §2.3.3", "a field past the table", &[0xc6]),
        fails("hpack/2.3.3/2", "RFC 7541 §2.3.3", "a name past the table", &[0x7f, 0x07, 1, b'b']),
        fails("hpack/4.2/1", "RFC 7541 §4.2", "a size of the table behind a field", &[0x20]),
        fails("hpack/5.2/1", "RFC 7541 §5.2", "Huffman's code with a byte of padding", &[0x7a, 0x82, 0x8f, 0xff]),
        fails("hpack/5.2/2", "RFC 7541 §5.2", "Huffman's code padded with nothings", &[0x7a, 0x81, 0x8c]),
        fails(
            "hpack/5.2/3",
            "RFC 7541 §5.2",
            "Huffman's code with its own end in it",
            &[0x7a, 0x84, 0xff, 0xff, 0xff, 0xff],
        ),
        fails("hpack/6.1/1", "RFC 7541 §6.1", "the field of number nothing", &[0x80]),
        row(
            ("RFC 7541 §6.3", "hpack/6.3/1"),
            "a table larger than was allowed",
            &[frame(HEADERS, WHOLE, 1, &[&[0x3f, 0xe2, 0x1f], &BASE[..]].concat())],
            Ends(COMPRESSION_ERROR),
        ),
        fails(
            "",
            "RFC 7541 §5.1",
            "a number that never ends",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ),
    ]
}
