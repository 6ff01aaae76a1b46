//! One spelling for each path (RFC 3986 §6.2.2), and those that have none.

use super::{Row, target};
use crate::row::{passed, refused};

pub(super) fn rows() -> Vec<Row> {
    let spelled =
        |cites, rule, path: &str, seen: &str| passed(cites, rule, target(path), &format!("GET {seen}\nhost: a"));
    vec![
        spelled("3986 §6.2.2.2", "escapes of letters and digits are undone", "/%61%5A%39", "/aZ9"),
        spelled("3986 §6.2.2.2", "escapes of unreserved marks are undone", "/%2d%5f%7E", "/-_~"),
        spelled("3986 §6.2.2.2", "escapes of reserved letters stay", "/a%3Fb%23", "/a%3Fb%23"),
        spelled("3986 §6.2.2.1", "escapes that stay are written in capitals", "/%c3%a4%3b", "/%C3%A4%3B"),
        spelled("3986 §2.4", "what was escaped twice is undone once at most", "/%2561%252e", "/%2561%252e"),
        spelled("3986 §5.2.4", "a dot segment is left out", "/a/./b", "/a/b"),
        spelled("3986 §5.2.4", "a dot at the end leaves a slash", "/a/.", "/a/"),
        spelled("3986 §5.2.4", "two dots take one segment away", "/a/b/../c", "/a/c"),
        spelled("3986 §5.2.4", "two dots at the end leave a slash", "/a/b/..", "/a/"),
        spelled("3986 §5.2.4", "above the root there is the root", "/../../a", "/a"),
        spelled("3986 §6.2.2.3", "escaped dots are dots", "/a/%2e%2E/b", "/b"),
        spelled("3986 §6.2.2.3", "a dot beside an escaped one makes two", "/a/.%2e/b", "/b"),
        spelled("CWE-41", "empty segments are left out", "/a///b//", "/a/b/"),
        spelled("CWE-41", "dots behind an empty segment take the one before it", "/a//../b", "/b"),
        spelled("3986 §5.2.4", "three dots are a name", "/a/.../b", "/a/.../b"),
        spelled("3986 §5.2.4", "a name may begin or end with dots", "/..a/b..", "/..a/b.."),
        spelled("3986 §3.3", "a parameter of a name is part of it", "/a;b=c/d", "/a;b=c/d"),
        spelled("9110 §4.2.3", "the path of an absolute form is spelled as well", "http://a/b/../c", "/c"),
        refused("CWE-41", "an escaped slash is refused", target("/a%2fb"), 400),
        refused("CWE-41", "an escaped slash in capitals is refused", target("/a%2Fb"), 400),
        refused("CWE-41", "an escaped backslash is refused", target("/a%5cb"), 400),
        refused("3986 §3.3", "a backslash is refused", target("/a\\b"), 400),
        refused("CWE-22", "two dots with a parameter are refused", target("/a/..;/b"), 400),
        refused("CWE-22", "two dots with an escaped parameter are refused", target("/a/..%3bx/b"), 400),
        refused("CWE-22", "escaped dots with a parameter are refused", target("/a/%2e%2e;x/b"), 400),
        refused("CWE-22", "one dot with a parameter is refused", target("/a/.;x"), 400),
        refused("CWE-158", "an escaped NUL is refused", target("/a%00"), 400),
        refused("3986 §2.1", "a percent sign without digits is refused", target("/a%"), 400),
        refused("3986 §2.1", "an escape of one digit is refused", target("/a%4"), 400),
        refused("3986 §2.1", "an escape of other letters is refused", target("/a%zz"), 400),
        refused("3986 §2.1", "an escape with a sign is refused", target("/a%+1"), 400),
        refused("3986 §2.1", "an escape of Microsoft's form is refused", target("/a%u002f"), 400),
        refused("3986 §3.3", "a quotation mark in a path is refused", target("/a\"b"), 400),
        refused("3986 §3.3", "a less-than sign in a path is refused", target("/a<b"), 400),
        refused("3986 §3.3", "a grave accent in a path is refused", target("/a`b"), 400),
        passed(
            "3986 §6.2",
            "where paths are kept, dots and escapes are",
            target("/a/../%2e%2f//b"),
            "GET /a/../%2e%2f//b\nhost: a",
        )
        .kept(),
        passed(
            "3986 §6.2",
            "where paths are kept, half escapes are",
            target("/a%2/..;/%00"),
            "GET /a%2/..;/%00\nhost: a",
        )
        .kept(),
        refused("3986 §2", "where paths are kept, raw letters beyond ASCII are refused still", target("/\u{e9}"), 400)
            .kept(),
    ]
}
