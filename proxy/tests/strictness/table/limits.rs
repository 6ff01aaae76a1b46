//! Bounds, each at its last good value and one past it.

use super::{G, P, Row, chunked, get, target};
use crate::row::{passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    let value = |length: usize| "v".repeat(length);
    let fields = |count: usize| (0..count).map(|at| format!("f{at:03}: 1\r\n")).collect::<String>();
    let seen = |count: usize| (0..count).map(|at| format!("f{at:03}: 1\n")).collect::<String>();
    let trailers = |lines: &str| format!("{P}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{lines}\r\n");
    let abc = "POST /\nhost: a\ntransfer-encoding: chunked\n\nabc";
    let extension = |length: usize| chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(length - 1)));
    let head = |length: usize| {
        let half = format!("x: {}\r\n", value(30_000));
        let rest = length - G.len() - half.len() - "y: \r\n\r\n".len();
        format!("{G}{half}y: {}\r\n\r\n", value(rest))
    };
    let head_seen = |length: usize| {
        let rest = length - G.len() - "x: \r\n".len() - 30_000 - "y: \r\n\r\n".len();
        format!("GET /\nhost: a\nx: {}\ny: {}", value(30_000), value(rest))
    };
    vec![
        passed(
            "9112 §3",
            "a target of 16 KiB is read",
            target(&long(16_384)),
            &format!("GET {}\nhost: a", long(16_384)),
        ),
        refused("9112 §3", "a target of a byte more is 414", target(&long(16_385)), 414),
        refused("9112 §3", "a request line without an end is 414", format!("GET {}", long(17_000)), 414),
        passed(
            "9110 §5.4",
            "a field line of 32 KiB is read",
            get(&format!("x: {}\r\n", value(32_765))),
            &format!("GET /\nhost: a\nx: {}", value(32_765)),
        ),
        refused("9110 §5.4", "a field line of a byte more is 431", get(&format!("x: {}\r\n", value(32_766))), 431),
        refused("9110 §5.4", "a field line without an end is 431", format!("{G}x: {}", value(33_000)), 431),
        refused("9110 §5.4", "a name without an end is 431", format!("{G}{}", value(33_000)), 431),
        passed("9110 §5.4", "a hundred fields are read", get(&fields(99)), &format!("GET /\n{}host: a", seen(99))),
        refused("9110 §5.4", "one field more is 431", get(&fields(100)), 431),
        passed("9110 §5.4", "a head of 60 KiB is read", head(61_440), &head_seen(61_440)),
        refused("9110 §5.4", "a head of a byte more is 431", head(61_441), 431),
        refused(
            "9110 §5.4",
            "a head without an end is 431",
            format!("{G}{}", format!("x: {}\r\n", value(1000)).repeat(62)),
            431,
        ),
        passed("9112 §7.1.1", "extensions of 1 KiB are left out", extension(1024), abc),
        refused("9112 §7.1.1", "a byte more of them is refused", extension(1025), 400),
        refused(
            "9112 §7.1.1",
            "extensions without an end are refused",
            chunked(&format!("3;{}", "e".repeat(2000))),
            400,
        ),
        refused(
            "9112 §7.1.1",
            "extensions of many chunks are bounded together",
            chunked(&format!("1;{}\r\na\r\n", "e".repeat(600)).repeat(2)),
            400,
        ),
        refused("9112 §7.1", "a size without an end is refused", chunked(&"0".repeat(2000)), 400),
        passed("9110 §5.4", "twenty trailers are read", trailers(&fields(20)), abc),
        refused("9110 §5.4", "one trailer more is 431", trailers(&fields(21)), 431),
        passed("9110 §5.4", "8 KiB of trailers are read", trailers(&format!("x: {}\r\n", value(8192 - 7))), abc),
        refused("9110 §5.4", "a byte more of them is 431", trailers(&format!("x: {}\r\n", value(8192 - 6))), 431),
        refused("9110 §5.4", "trailers without an end are 431", trailers(&value(9000)), 431),
    ]
}
