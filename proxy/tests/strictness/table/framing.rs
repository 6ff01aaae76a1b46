//! Where a body ends: `content-length` and `transfer-encoding` (RFC 9112 §6).

use super::{Row, get, post};
use crate::row::{dropped, last, passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let length = |value: &str| post(&format!("content-length:{value}\r\n"), "abc");
    let coding = |value: &str| post(&format!("transfer-encoding:{value}\r\n"), "3\r\nabc\r\n0\r\n\r\n");
    let abc = "POST /\ncontent-length: 3\nhost: a\n\nabc";
    let chunks = "POST /\nhost: a\ntransfer-encoding: chunked\n\nabc";
    vec![
        passed("9112 §6.3", "a body is as long as its length says", length(" 3"), abc),
        passed("9110 §8.6", "zeros before a length mean nothing", length(" 0003"), abc),
        passed("9110 §5.6.3", "space around a length is not part of it", length("\t 3 \t"), abc),
        passed(
            "9112 §6.3",
            "a request without framing has no body",
            post("", ""),
            "POST /\ncontent-length: 0\nhost: a",
        ),
        passed(
            "9112 §6.3",
            "a length of zero is no body",
            post("content-length: 0\r\n", ""),
            "POST /\ncontent-length: 0\nhost: a",
        ),
        passed(
            "9110 §9.3.1",
            "a GET may have a body",
            get("content-length: 3\r\n") + "abc",
            "GET /\ncontent-length: 3\nhost: a\n\nabc",
        ),
        passed(
            "9110 §9.3.1",
            "a GET may have a chunked body",
            get("transfer-encoding: chunked\r\n") + "3\r\nabc\r\n0\r\n\r\n",
            "GET /\nhost: a\ntransfer-encoding: chunked\n\nabc",
        ),
        passed(
            "9110 §9.3.5",
            "a DELETE may have a body",
            "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "DELETE /\ncontent-length: 3\nhost: a\n\nabc",
        ),
        refused("9112 §6.3", "two lengths are refused", post("content-length: 3\r\ncontent-length: 4\r\n", "abc"), 400),
        refused(
            "9110 §8.6",
            "the same length twice is refused",
            post("content-length: 3\r\ncontent-length: 3\r\n", "abc"),
            400,
        ),
        refused("9110 §8.6", "a list of equal lengths is refused", length(" 3, 3"), 400),
        refused("9112 §6.3", "a list of lengths is refused", length(" 3, 4"), 400),
        refused(
            "9110 §8.6",
            "lengths in any case are two",
            post("Content-Length: 3\r\nCONTENT-LENGTH: 3\r\n", "abc"),
            400,
        ),
        refused("9110 §8.6", "a signed length is refused", length(" +3"), 400),
        refused("9110 §8.6", "a negative length is refused", length(" -3"), 400),
        refused("9110 §8.6", "a hexadecimal length is refused", length(" 0x3"), 400),
        refused("9110 §8.6", "a length with a point is refused", length(" 3.0"), 400),
        refused("9110 §8.6", "a length with an exponent is refused", length(" 3e0"), 400),
        refused("9110 §8.6", "an empty length is refused", length(""), 400),
        refused("9110 §8.6", "a length in quotes is refused", length(" \"3\""), 400),
        refused("9110 §8.6", "a length of two words is refused", length(" 3 3"), 400),
        refused("9110 §8.6", "a length with an underscore is refused", length(" 1_0"), 400),
        refused("9110 §8.6", "a length in other digits is refused", length(" \u{0663}"), 400),
        refused("9110 §8.6", "a length with a trailing comma is refused", length(" 3,"), 400),
        refused("9110 §8.6", "a length with a parameter is refused", length(" 3;x"), 400),
        refused("9110 §8.6", "a length beyond 64 bits is refused", length(" 18446744073709551616"), 400),
        refused(
            "9110 §8.6",
            "a length that is negative where numbers are signed is refused",
            length(" 9223372036854775808"),
            400,
        ),
        refused(
            "9112 §5.1",
            "a length with space before its colon is refused",
            length(" 3").replace("length:", "length :"),
            400,
        ),
        dropped("9112 §8", "a body that breaks off is no body", post("content-length: 5\r\n", "abc")),
        passed("9112 §6.1", "chunked is read", coding(" chunked"), chunks),
        passed("9112 §7", "codings are the same in any case", coding(" ChUnKeD"), chunks),
        passed("9110 §5.6.3", "space around a coding is not part of it", coding("\tchunked \t"), chunks),
        refused(
            "9112 §6.3",
            "a length before chunks is refused",
            post("content-length: 3\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        refused(
            "9112 §6.3",
            "a length behind chunks is refused",
            post("transfer-encoding: chunked\r\ncontent-length: 3\r\n", "0\r\n\r\n"),
            400,
        ),
        refused(
            "9112 §6.3",
            "an invalid length beside chunks is refused",
            post("transfer-encoding: chunked\r\ncontent-length: x\r\n", "0\r\n\r\n"),
            400,
        ),
        refused("9112 §6.1", "another coding before chunked is refused", coding(" gzip, chunked"), 400),
        refused("9112 §6.1", "chunked that is not last is refused", coding(" chunked, gzip"), 400),
        refused("9112 §6.1", "chunked twice is refused", coding(" chunked, chunked"), 400),
        refused(
            "9112 §6.1",
            "chunked in two lines is refused",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        refused(
            "9112 §6.1",
            "chunked behind a line of another coding is refused",
            post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        refused(
            "9112 §6.1",
            "chunked before a line of another coding is refused",
            post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", "0\r\n\r\n"),
            400,
        ),
        refused("9112 §7", "identity is no coding any more", coding(" identity"), 400),
        refused("9112 §7", "an unknown coding is refused", coding(" xchunked"), 400),
        refused("9112 §7", "a coding that only begins like chunked is refused", coding(" chunkedx"), 400),
        refused("9112 §7.1", "chunked takes no parameter", coding(" chunked;q=1"), 400),
        refused("9112 §7", "chunked in quotes is refused", coding(" \"chunked\""), 400),
        refused("9110 §5.6.1", "a comma before chunked is refused", coding(" ,chunked"), 400),
        refused("9110 §5.6.1", "a comma behind chunked is refused", coding(" chunked,"), 400),
        refused("9112 §6.1", "an empty coding is refused", coding(""), 400),
        refused("9110 §5.5", "chunked behind a vertical tab is refused", coding(" \x0bchunked"), 400),
        refused("9112 §5.2", "chunked in a folded line is refused", coding("\r\n chunked"), 400),
        refused(
            "9112 §5.1",
            "a coding with space before its colon is refused",
            coding(" chunked").replace("encoding:", "encoding :"),
            400,
        ),
        refused(
            "9112 §2.2",
            "a coding behind LF alone is no field",
            post("x: y\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        refused(
            "9112 §6.1",
            "a coding in HTTP/1.0 is refused",
            coding(" chunked").replace("HTTP/1.1", "HTTP/1.0"),
            400,
        ),
        refused("9112 §6.1", "a coding on a GET is held to the same rule", get("transfer-encoding: gzip\r\n"), 400),
        last("9112 §6.3", "a length frames a body of HTTP/1.0", length(" 3").replace("HTTP/1.1", "HTTP/1.0"), abc),
    ]
}
