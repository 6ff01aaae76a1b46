//! The four forms of a target (RFC 9112 §3.2).

use super::{Row, target};
use crate::row::{passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let absolute = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: other\r\n\r\n");
    vec![
        passed(
            "9112 §3.2.1",
            "the query is passed on as it came",
            target("/a?b=c&b=%41/../?"),
            "GET /a?b=c&b=%41/../?\nhost: a",
        ),
        passed(
            "9112 §3.2",
            "brackets and bars that browsers send are passed on",
            target("/a?b[]={c|d}`\\^"),
            "GET /a?b[]={c|d}`\\^\nhost: a",
        ),
        passed(
            "9112 §3.2.4",
            "an asterisk is for OPTIONS",
            "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
            "OPTIONS *\nhost: a",
        ),
        refused("9112 §3.2.4", "an asterisk is for no other method", target("*"), 400),
        refused("9112 §3.2.4", "an asterisk has no query", "OPTIONS *?a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        refused("9112 §3.2.1", "a path without a slash is refused", target("a/b"), 400),
        refused("9112 §3.2.1", "a query alone is refused", target("?a"), 400),
        refused("9112 §3.2.1", "dots without a slash are refused", target(".."), 400),
        refused("9112 §3.2", "a fragment is never sent", target("/a#b"), 400),
        refused("9112 §3.2", "a fragment behind a query is never sent", target("/a?b#c"), 400),
        refused("9112 §3.2", "a fragment in an absolute form is never sent", absolute("http://b/#c"), 400),
        refused("3986 §2", "raw letters beyond ASCII are refused", target("/caf\u{e9}"), 400),
        refused("3986 §2", "raw letters beyond ASCII in a query are refused", target("/?caf\u{e9}"), 400),
        refused(
            "3986 §2",
            "raw bytes that are no UTF-8 are refused",
            b"GET /caf\xe9 HTTP/1.1\r\nhost: a\r\n\r\n".as_slice(),
            400,
        ),
        refused("3986 §2", "a control in a target is refused", target("/a\x01b"), 400),
        refused("3986 §2", "NUL in a target is refused", target("/a\0b"), 400),
        refused("3986 §2", "DEL in a target is refused", target("/a\x7fb"), 400),
        refused("3986 §2", "a CR in a target is refused", target("/a\rb"), 400),
        refused("3986 §3.4", "a less-than sign in a query is refused", target("/?<"), 400),
        refused("3986 §3.4", "a quotation mark in a query is refused", target("/?\""), 400),
        passed(
            "9112 §3.2.2",
            "the authority of an absolute form replaces Host",
            absolute("http://real:81/a?b"),
            "GET /a?b\nhost: real:81",
        ),
        passed("9112 §3.2.2", "an absolute form of https is read", absolute("https://real/a"), "GET /a\nhost: real"),
        passed("3986 §3.1", "a scheme in capitals is the same scheme", absolute("HTTP://real/a"), "GET /a\nhost: real"),
        passed(
            "9110 §4.2.3",
            "an absolute form without a path means the root",
            absolute("http://real"),
            "GET /\nhost: real",
        ),
        refused(
            "9112 §3.2.2",
            "an absolute form does not stand for a missing Host",
            "GET http://real/ HTTP/1.1\r\n\r\n",
            400,
        ),
        refused("9110 §4.2", "a scheme that is not HTTP's is refused", absolute("ftp://real/a"), 400),
        refused("9110 §4.2.4", "userinfo in an absolute form is refused", absolute("http://user@real/"), 400),
        refused("9110 §4.2.1", "an absolute form without a host is refused", absolute("http:///a"), 400),
        refused("9110 §4.2.1", "an absolute form of a port alone is refused", absolute("http://:80/a"), 400),
        refused("3986 §3.2.3", "an absolute form with letters for a port is refused", absolute("http://real:x/"), 400),
        refused("3986 §3.2.2", "an absolute form with escapes in its host is refused", absolute("http://re%61l/"), 400),
        refused("9112 §3.2.2", "a scheme without slashes is no absolute form", absolute("http:/a"), 400),
        refused("9112 §3.2.2", "a backslash ends no authority", absolute("http://real\\@other/"), 400),
        refused("9112 §3.2.2", "an absolute form of a query alone is refused", absolute("http://real?a"), 400),
        passed("9112 §3.2.1", "two slashes begin a path and no authority", target("//b/c"), "GET /b/c\nhost: a"),
        refused("9112 §3.2.3", "an authority is for CONNECT", target("a:80"), 400),
        refused(
            "9110 §9.3.6",
            "CONNECT is refused where no route allows it",
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
            400,
        ),
        refused("9110 §9.3.6", "CONNECT with a path is refused", "CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ]
}
