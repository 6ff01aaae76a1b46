//! Names and values of fields (RFC 9112 §5, RFC 9110 §5), and names that others take for different ones.

use super::{G, Row, get};
use crate::row::{passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let seen = |fields: &str| format!("GET /\nhost: a{fields}");
    vec![
        refused("9112 §2.2", "LF alone ends no field", get("x: 1\ny: 2\r\n"), 400),
        refused("9112 §2.2", "LF alone ends no head", format!("{G}\n"), 400),
        refused("9112 §2.2", "CR alone ends no field", get("x: 1\ry: 2\r\n"), 400),
        refused("9112 §2.2", "a CR before a CR LF is no part of a value", get("x: 1\r\r\n"), 400),
        refused("9112 §2.2", "LF before CR ends no line", get("x: 1\n\r"), 400),
        refused("9112 §5.2", "a folded line is refused", get("x: 1\r\n 2\r\n"), 400),
        refused("9112 §5.2", "a line folded by a tab is refused", get("x: 1\r\n\t2\r\n"), 400),
        refused("9112 §2.2", "space before the first field is refused", "GET / HTTP/1.1\r\n host: a\r\n\r\n", 400),
        refused("9112 §2.2", "a line of spaces ends no head", format!("{G} \r\n\r\n"), 400),
        refused("9112 §5.1", "space before the colon is refused", get("x : 1\r\n"), 400),
        refused("9112 §5.1", "a tab before the colon is refused", get("x\t: 1\r\n"), 400),
        refused("9112 §5", "a line without a colon is refused", get("x\r\n"), 400),
        refused("9110 §5.1", "a field without a name is refused", get(": 1\r\n"), 400),
        refused("9110 §5.1", "a name with a space is no token", get("x y: 1\r\n"), 400),
        refused("9110 §5.1", "a name with a delimiter is no token", get("x(y): 1\r\n"), 400),
        refused("9110 §5.1", "a name in quotes is no token", get("\"x\": 1\r\n"), 400),
        refused("9110 §5.1", "a name beyond ASCII is no token", get("caf\u{e9}: 1\r\n"), 400),
        refused("9110 §5.1", "a name with NUL is no token", get("x\0: 1\r\n"), 400),
        refused("9110 §5.1", "a name with a slash is no token", get("x/y: 1\r\n"), 400),
        refused("9110 §5.1", "a name as HTTP/2 has it is no token", get(":path: /admin\r\n"), 400),
        refused("9110 §5.5", "a value with NUL is refused", get("x: a\0b\r\n"), 400),
        refused("9110 §5.5", "a value with a control is refused", get("x: a\x01b\r\n"), 400),
        refused("9110 §5.5", "a value with DEL is refused", get("x: a\x7fb\r\n"), 400),
        refused("9110 §5.5", "a value with a form feed is refused", get("x: a\x0cb\r\n"), 400),
        refused("9110 §5.5", "a value with an escape character is refused", get("x: \x1b[31m\r\n"), 400),
        passed("9110 §5.5", "a value with a tab inside is passed on", get("x: a\tb\r\n"), &seen("\nx: a\tb")),
        passed("9110 §5.5", "a value beyond ASCII is passed on", get("x: caf\u{e9}\r\n"), &seen("\nx: caf\u{e9}")),
        passed("9110 §5.6.3", "space around a value is not part of it", get("x: \t a b \t\r\n"), &seen("\nx: a b")),
        passed("9112 §5.1", "no space before a value is needed", get("x:1\r\n"), &seen("\nx: 1")),
        passed("9110 §5.5", "an empty value is passed on", get("x:\r\n"), &seen("\nx: ")),
        passed(
            "9110 §5.3",
            "lines of one name are passed on in their order",
            get("x: 2\r\ny: 3\r\nX: 1\r\n"),
            &seen("\nx: 2\nx: 1\ny: 3"),
        ),
        passed(
            "9110 §5.6.2",
            "every letter of a token may be in a name",
            get("!#$%&'*+-.^`|~: 1\r\n"),
            "GET /\n!#$%&'*+-.^`|~: 1\nhost: a",
        ),
        passed("9112 §5.1", "colons in a value are part of it", get("x: a: b:\r\n"), &seen("\nx: a: b:")),
        refused("9110 §17.10", "an underscore in a name is refused", get("x_real_ip: ::1\r\n"), 400),
        refused(
            "9110 §17.10",
            "a framing field spelled with an underscore is refused",
            get("content_length: 3\r\n"),
            400,
        ),
        passed("9110 §17.10", "where underscores are kept, they are", get("x_y: 1\r\n"), &seen("\nx_y: 1")).kept(),
        passed(
            "9110 §17.10",
            "where underscores are kept, content_length frames nothing",
            get("content_length: 3\r\n"),
            "GET /\ncontent_length: 3\nhost: a",
        )
        .kept(),
        passed(
            "9110 §5.1",
            "a header that only looks like a framing one is passed on",
            get("content-lengthx: 3\r\n"),
            "GET /\ncontent-lengthx: 3\nhost: a",
        ),
    ]
}
