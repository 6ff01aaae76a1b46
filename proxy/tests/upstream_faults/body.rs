//! Bodies that do not end where they should, or not as they should.

use crate::fault::Outcome::{Cut, Whole};
use crate::fault::{Fault, closing, resetting, saying};

/// A head before chunks.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
/// A head before ten bytes.
const TEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
/// A head before a body that ends with its connection.
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\n";

pub(super) fn faults() -> Vec<Fault> {
    let reset = "upstream_reset";
    let chunks = |name, chunks: &str| {
        saying(name, format!("{CHUNKED}4\r\nhalf\r\n{chunks}"), Cut, "upstream_protocol:body_malformed")
    };
    let fields = |count: usize| (0..count).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    vec![
        closing("a body that is shorter than its length", format!("{TEN}half"), Cut, reset),
        closing("a length and no body", TEN, Cut, reset),
        resetting("a body that is reset", format!("{TEN}half"), Cut, reset),
        closing("a chunk that breaks off", format!("{CHUNKED}a\r\nhalf"), Cut, reset),
        closing("a chunk size that breaks off", format!("{CHUNKED}4\r\nhalf\r\n1"), Cut, reset),
        closing("a chunk without its line end", format!("{CHUNKED}4\r\nhalf"), Cut, reset),
        closing("no last chunk", format!("{CHUNKED}4\r\nhalf\r\n"), Cut, reset),
        closing("a last chunk that breaks off", format!("{CHUNKED}4\r\nhalf\r\n0\r\n"), Cut, reset),
        closing("trailers that break off", format!("{CHUNKED}4\r\nhalf\r\n0\r\nx: 1\r\n"), Cut, reset),
        resetting("chunks that are reset", format!("{CHUNKED}4\r\nhalf\r\n"), Cut, reset),
        resetting("a body to the end of its connection that is reset", format!("{OPEN}half"), Cut, reset),
        closing("a body to the end of its connection", format!("{OPEN}whole"), Whole(200, "whole"), ""),
        closing("an answer of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nwhole", Whole(200, "whole"), ""),
        closing(
            "an answer of HTTP/1.0 that is shorter than its length",
            "HTTP/1.0 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            Cut,
            reset,
        ),
        chunks("a chunk size of letters", "xyz\r\n"),
        chunks("a chunk size beyond 64 bits", "fffffffffffffffff\r\n"),
        chunks("a negative chunk size", "-1\r\n"),
        chunks("an empty chunk size", "\r\n"),
        chunks("LF alone behind a chunk size", "1\nx\r\n0\r\n\r\n"),
        chunks("a chunk that is longer than its size", "1\r\nxx\r\n0\r\n\r\n"),
        chunks("extensions without an end", &format!("1;{}", "x".repeat(20_000))),
        chunks("too many trailers", &format!("0\r\n{}\r\n", fields(200))),
        chunks("trailers that are too large", &format!("0\r\nx: {}\r\n\r\n", "x".repeat(1 << 17))),
        chunks("a trailer with NUL", "0\r\nx: \0\r\n\r\n"),
        chunks("a trailer without a colon", "0\r\nx\r\n\r\n"),
        saying("a body that stalls", format!("{TEN}half"), Cut, "stream_idle"),
        saying("chunks that stall", format!("{CHUNKED}4\r\nhalf\r\n"), Cut, "stream_idle"),
    ]
}
