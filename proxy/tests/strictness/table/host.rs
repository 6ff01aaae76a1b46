//! Host (RFC 9112 §3.2, RFC 3986 §3.2).

use super::Row;
use crate::row::{last, passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let lines = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let host = |host: &str| format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    vec![
        refused("9112 §3.2", "a request without Host is refused", lines(""), 400),
        refused("9112 §3.2", "two Hosts are refused", lines("host: a\r\nhost: b\r\n"), 400),
        refused("9112 §3.2", "the same Host twice is refused", lines("host: a\r\nhost: a\r\n"), 400),
        refused("9112 §3.2", "Hosts that differ in case are two", lines("Host: a\r\nHOST: b\r\n"), 400),
        refused("9112 §3.2", "two Hosts with fields between are refused", lines("host: a\r\nx: 1\r\nhost: a\r\n"), 400),
        refused("9112 §3.2", "an empty Host beside another is a second", lines("host: a\r\nhost:\r\n"), 400),
        refused("9112 §3.2", "an empty Host is refused", host(""), 400),
        refused("9112 §3.2", "a list of Hosts is refused", host("a, b"), 400),
        refused("CWE-444", "a list of Hosts without a space is refused", host("a,b"), 400),
        refused("9110 §4.2.4", "userinfo in Host is refused", host("user@a"), 400),
        refused("9110 §4.2.4", "an empty userinfo in Host is refused", host("@a"), 400),
        refused("9110 §7.2", "a Host with a path is refused", host("a/b"), 400),
        refused("9110 §7.2", "a Host with a query is refused", host("a?b"), 400),
        refused("9110 §7.2", "a Host with a fragment is refused", host("a#b"), 400),
        refused("9110 §7.2", "a Host with a scheme is refused", host("http://a"), 400),
        refused("9110 §7.2", "a Host with a space is refused", host("a b"), 400),
        refused("9110 §7.2", "a Host with a tab is refused", host("a\tb"), 400),
        refused(
            "9112 §3.2",
            "an invalid Host is refused though an absolute form replaces it",
            "GET http://real/ HTTP/1.1\r\nhost: a b\r\n\r\n",
            400,
        ),
        refused(
            "9112 §3.2",
            "userinfo in Host is refused though an absolute form replaces it",
            "GET http://real/ HTTP/1.1\r\nhost: user@a\r\n\r\n",
            400,
        ),
        refused("3986 §3.2.2", "a Host with a backslash is refused", host("a\\b"), 400),
        refused("3986 §3.2.2", "a Host with letters beyond ASCII is refused", host("caf\u{e9}"), 400),
        refused("3986 §3.2.2", "a Host with an escape is refused", host("a%2eb"), 400),
        refused("CWE-444", "a Host with a semicolon is refused", host("a;b"), 400),
        refused("3986 §3.2.3", "letters are no port", host("a:http"), 400),
        refused("3986 §3.2.3", "a signed port is none", host("a:+80"), 400),
        refused("3986 §3.2.3", "a port beyond 65535 is none", host("a:65536"), 400),
        refused("3986 §3.2.3", "two ports are refused", host("a:80:80"), 400),
        refused("9110 §4.2.1", "a port without a host is refused", host(":80"), 400),
        refused("3986 §3.2.2", "an address that does not close is refused", host("[::1"), 400),
        refused("3986 §3.2.2", "brackets around no address are refused", host("[a]"), 400),
        refused("3986 §3.2.2", "an address without brackets is refused", host("::1"), 400),
        refused("3986 §3.2.2", "letters behind an address are refused", host("[::1]a"), 400),
        passed(
            "3986 §3.2.2",
            "an address in brackets with its port is passed on",
            host("[::1]:80"),
            "GET /\nhost: [::1]:80",
        ),
        passed("3986 §3.2.3", "an empty port is passed on", host("a:"), "GET /\nhost: a:"),
        passed("9110 §5.6.3", "space around a Host is not part of it", lines("host: \t a \t\r\n"), "GET /\nhost: a"),
        passed("9110 §5.1", "Host is the same name in any case", lines("hOsT: a\r\n"), "GET /\nhost: a"),
        last("9112 §3.2", "a request of HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", "GET /\nhost: localhost"),
        refused(
            "9112 §3.2",
            "two Hosts are refused in HTTP/1.0 as well",
            "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
            400,
        ),
    ]
}
