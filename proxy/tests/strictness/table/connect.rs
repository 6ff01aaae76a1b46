//! CONNECT where a route allows it (RFC 9110 §9.3.6).

use super::Row;
use crate::row::{refused, tunnel};

pub(super) fn rows() -> Vec<Row> {
    let with = |target: &str, lines: &str| format!("CONNECT {target} HTTP/1.1\r\n{lines}\r\n");
    let of = |target: &str| with(target, &format!("host: {target}\r\n"));
    let rows = vec![
        tunnel("9110 §9.3.6", "what follows CONNECT goes through the tunnel", of("a:443")),
        tunnel("9112 §3.2.3", "an address in brackets is an authority", of("[::1]:443")),
        tunnel("9110 §4.2.3", "hosts of CONNECT are compared in any case", with("a.B:1", "Host: A.b:1\r\n")),
        refused("9112 §3.2", "CONNECT without Host is refused", with("a:443", ""), 400),
        refused("9112 §3.2", "a Host unlike the target of CONNECT is refused", with("a:443", "host: b:443\r\n"), 400),
        refused("9112 §3.2", "a Host with another port than CONNECT is refused", with("a:443", "host: a:80\r\n"), 400),
        refused("9112 §3.2", "a Host without the port of CONNECT is refused", with("a:443", "host: a\r\n"), 400),
        refused("9112 §3.2", "two Hosts of CONNECT are refused", with("a:1", "host: a:1\r\nhost: a:1\r\n"), 400),
        refused("9110 §9.3.6", "CONNECT without a port is refused", of("a"), 400),
        refused("9110 §9.3.6", "CONNECT with an empty port is refused", of("a:"), 400),
        refused("9110 §9.3.6", "CONNECT to port 0 is refused", of("a:0"), 400),
        refused("9110 §9.3.6", "CONNECT to a port past the last is refused", of("a:65536"), 400),
        refused("9110 §9.3.6", "CONNECT to a port of letters is refused", of("a:b"), 400),
        refused("9110 §4.2.4", "CONNECT with userinfo is refused", with("u@a:443", "host: a:443\r\n"), 400),
        refused("9112 §3.2.3", "CONNECT in the origin form is refused", with("/a:443", "host: a:443\r\n"), 400),
        refused("9112 §3.2.3", "CONNECT in the absolute form is refused", with("http://a:443", "host: a:443\r\n"), 400),
        refused("9112 §3.2.3", "CONNECT of an asterisk is refused", of("*"), 400),
        refused(
            "9112 §3.2.3",
            "CONNECT of an authority with a path is refused",
            with("a:443/", "host: a:443\r\n"),
            400,
        ),
        refused(
            "9110 §9.3.6",
            "CONNECT with an empty body is refused",
            with("a:443", "host: a:443\r\ncontent-length: 0\r\n"),
            400,
        ),
        refused(
            "9110 §9.3.6",
            "CONNECT whose body would hide the next request is refused",
            with("a:443", "host: a:443\r\ncontent-length: 40\r\n"),
            400,
        ),
        refused(
            "9112 §6.1",
            "CONNECT with chunks is refused",
            with("a:443", "host: a:443\r\ntransfer-encoding: chunked\r\n"),
            400,
        ),
        refused("CWE-444", "CONNECT of HTTP/1.0 is refused", "CONNECT a:443 HTTP/1.0\r\nhost: a:443\r\n\r\n", 400),
        refused(
            "9110 §10.1.1",
            "CONNECT that expects more is refused",
            with("a:443", "host: a:443\r\nexpect: x\r\n"),
            417,
        ),
    ];
    rows.into_iter().map(Row::with_tunnels).collect()
}
