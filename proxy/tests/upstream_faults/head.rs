//! Heads that are none, or that say too much.

use crate::fault::Outcome::{Own, Whole};
use crate::fault::{Fault, closing, saying};

pub(super) fn faults() -> Vec<Fault> {
    let not_http = |name, bytes: &str| saying(name, bytes, Own(502), "upstream_protocol:not_http");
    let line = |name, line: &str| not_http(name, &format!("{line}\r\ncontent-length: 1\r\n\r\nx"));
    let field =
        |name, field: &str| not_http(name, &format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 1\r\n\r\nx"));
    let framed = |name, lines: &str, reason| {
        saying(name, format!("HTTP/1.1 200 OK\r\n{lines}\r\n1\r\nx\r\n0\r\n\r\n"), Own(502), reason)
    };
    let large = |name, bytes: String| saying(name, bytes, Own(502), "upstream_protocol:head_too_large");
    let fields = |count: usize| (0..count).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    let interim = |count: usize| "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count);
    let (length, coding) = ("upstream_protocol:content_length_invalid", "upstream_protocol:transfer_encoding_unknown");
    let storm = "upstream_protocol:interim_answers_too_many";
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
    vec![
        not_http("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        not_http("a body without a head", "<html>x</html>\r\n\r\n"),
        not_http("NUL", "\0\0\0\0\r\n\r\n"),
        line("a version of HTTP/2.0", "HTTP/2.0 200 OK"),
        line("a version of HTTP/1.2", "HTTP/1.2 200 OK"),
        line("a version in small letters", "http/1.1 200 OK"),
        line("no space behind the version", "HTTP/1.1200 OK"),
        line("a status of 099", "HTTP/1.1 099 OK"),
        line("a status of four digits", "HTTP/1.1 1000 OK"),
        line("a status of two digits", "HTTP/1.1 20 OK"),
        line("a status of letters", "HTTP/1.1 abc OK"),
        line("a signed status", "HTTP/1.1 +20 OK"),
        line("no status", "HTTP/1.1 OK"),
        line("two spaces before the status", "HTTP/1.1  200 OK"),
        line("NUL in the reason", "HTTP/1.1 200 O\0K"),
        line("CR in the reason", "HTTP/1.1 200 O\rK"),
        saying(
            "a status of 600",
            "HTTP/1.1 600 x\r\ncontent-length: 0\r\n\r\n",
            Own(502),
            "upstream_protocol:status_invalid",
        ),
        saying(
            "a status of 999",
            "HTTP/1.1 999 x\r\ncontent-length: 0\r\n\r\n",
            Own(502),
            "upstream_protocol:status_invalid",
        ),
        field("a field without a colon", "x"),
        field("a field without a name", ": 1"),
        field("space before a colon", "x : 1"),
        field("a folded field", "x: 1\r\n 2"),
        field("space before the first field", " x: 1"),
        field("NUL in a value", "x: a\0b"),
        field("CR in a value", "x: a\rb"),
        field("a control in a value", "x: a\x01b"),
        field("a control in a name", "x\x01y: 1"),
        field("a delimiter in a name", "x(y): 1"),
        framed("a length of letters", "content-length: one\r\n", "upstream_protocol:not_http"),
        framed("a negative length", "content-length: -1\r\n", "upstream_protocol:not_http"),
        framed("a signed length", "content-length: +1\r\n", "upstream_protocol:not_http"),
        framed("an empty length", "content-length:\r\n", "upstream_protocol:not_http"),
        framed("a length beyond 64 bits", "content-length: 99999999999999999999\r\n", "upstream_protocol:not_http"),
        framed("two lengths", "content-length: 1\r\ncontent-length: 2\r\n", "upstream_protocol:not_http"),
        framed("the same length twice", "content-length: 1\r\ncontent-length: 1\r\n", length),
        framed("a list of equal lengths", "content-length: 1, 1\r\n", length),
        framed("an unknown coding", "transfer-encoding: gzip\r\n", coding),
        framed("a coding before chunked", "transfer-encoding: gzip, chunked\r\n", coding),
        framed("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", coding),
        framed("chunked that is not last", "transfer-encoding: chunked, identity\r\n", coding),
        framed(
            "a length beside chunks",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "upstream_protocol:two_framings",
        ),
        saying(
            "a coding in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Own(502),
            "upstream_protocol:not_http",
        ),
        saying(
            "a change of protocol that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            Own(502),
            "upstream_protocol:interim_answer_unasked",
        ),
        saying(
            "a change of protocol, and an answer behind it",
            format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{good}"),
            Own(502),
            "upstream_protocol:interim_answer_unasked",
        ),
        closing("ten interim answers", interim(10) + good, Whole(200, "x"), ""),
        saying("eleven interim answers", interim(11) + good, Own(502), storm),
        saying("a storm of interim answers", interim(1000), Own(502), storm),
        large("an interim answer with a large field", format!("HTTP/1.1 103 x\r\nx: {}\r\n\r\n", "x".repeat(1 << 17))),
        large("a large field", format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 17))),
        large("a large reason", format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(1 << 17))),
        large("a hundred and one fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(101))),
        large("empty lines without an end", "\r\n".repeat(1 << 16)),
        large(
            "fields without an end",
            format!("HTTP/1.1 200 OK\r\n{}", format!("x: {}\r\n", "x".repeat(1000)).repeat(100)),
        ),
        closing(
            "a hundred fields",
            format!("HTTP/1.1 200 OK\r\n{}content-length: 1\r\n\r\nx", fields(99)),
            Whole(200, "x"),
            "",
        ),
    ]
}
