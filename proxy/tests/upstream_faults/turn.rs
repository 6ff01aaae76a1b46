//! Bytes out of turn: behind an answer, or on a connection that nobody uses. They are nobody's answer.

use crate::common::origin::ok;
use crate::fault::Ask::Head;
use crate::fault::Outcome::Whole;
use crate::fault::{Fault, doing, saying};

/// What must never be taken for an answer.
const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";

pub(super) fn faults() -> Vec<Fault> {
    let behind =
        |name, answer: &str, behind: &str| saying(name, format!("{answer}{behind}"), Whole(200, "x"), "").and_closes();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let later = |name, bytes: &'static str| {
        let fault = doing(name, Whole(200, "x"), "", move |peer| {
            peer.request()?;
            peer.send(ok("x"))?;
            peer.send(bytes)?;
            peer.wait_for_end()
        });
        fault.and_closes()
    };
    let bodiless = |name, status: u16, lines: &str| {
        saying(name, format!("HTTP/1.1 {status} x\r\n{lines}\r\n{POISON}"), Whole(status, ""), "").and_closes()
    };
    vec![
        behind("an answer behind an answer", &ok("x"), POISON),
        behind("an answer behind chunks", chunked, POISON),
        behind("garbage behind an answer", &ok("x"), "\0\x01\x02"),
        behind("an empty line behind an answer", &ok("x"), "\r\n"),
        behind("a body that is longer than its length", &ok("x"), "yz"),
        behind("an interim answer behind an answer", &ok("x"), "HTTP/1.1 100 Continue\r\n\r\n"),
        later("an answer while nobody asks", POISON),
        later(
            "a timeout's answer while nobody asks",
            "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        ),
        later("one byte while nobody asks", "H"),
        bodiless("a body behind 204", 204, ""),
        bodiless("a body behind 204 with a length", 204, "content-length: 6\r\n"),
        bodiless("a body behind 304", 304, "content-length: 6\r\n"),
        saying("a body behind an answer to HEAD", ok("x"), Whole(200, ""), "").asked(Head).and_closes(),
        doing("a close while nobody asks", Whole(200, "x"), "", |peer| {
            peer.request()?;
            peer.send(ok("x"))
        }),
    ]
}
