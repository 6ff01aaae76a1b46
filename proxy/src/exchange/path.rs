//! One spelling for each path (RFC 3986 §6.2.2): what filters see, routes match and the upstream gets is the same, and
//! means the same to whoever undoes escapes or resolves dots once more.
//!
//! Queries are left as they came: no two readers agree on what is in them, and none looks for `..` there.

use std::borrow::Cow;

/// Why a path has no such spelling; the words are a reason's.
pub type Refused = &'static str;

/// The path in its one spelling, borrowed where it had that already. `path` begins with a slash.
///
/// Escapes of letters, digits and `-._~` are undone, other escapes are written in capitals, empty segments are left out, and
/// `.` and `..` resolved. Escaped or turned slashes, NUL, half escapes and `..;` are refused: one reader takes them for
/// something that the next does not.
pub fn normal(path: &str) -> Result<Cow<'_, str>, Refused> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let resolved = resolve(&decoded)?;
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

/// True for a path that has nothing to undo or to refuse.
fn is_plain(path: &[u8]) -> bool {
    path.iter().enumerate().all(|(at, byte)| match byte {
        b'/' => !is_odd(&path[at + 1..]),
        byte => ALLOWED[usize::from(*byte)],
    })
}

/// True where an empty segment, or one of dots, begins.
fn is_odd(segment: &[u8]) -> bool {
    match segment {
        [b'/', ..] => true,
        [b'.', b'.', rest @ ..] | [b'.', rest @ ..] => matches!(rest.first(), None | Some(b'/' | b';')),
        _ => false,
    }
}

/// What stands for itself in a path (RFC 3986 §3.3), and what the URL standard lets browsers leave as it is.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let bytes = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz/-._~!$&'()*+,;=:@[]^|{}";
    let mut at = 0;
    while at < bytes.len() {
        allowed[bytes[at] as usize] = true;
        at += 1;
    }
    allowed
};

/// Undoes escapes and leaves empty segments out.
fn decode(path: &str) -> Result<String, Refused> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'/' if decoded.ends_with('/') => {}
            b'%' => {
                let (digits, after) = after.split_at_checked(2).ok_or("path_escape_malformed")?;
                decoded.push_str(&escaped(digits)?);
                rest = after;
            }
            b'\\' => return Err("path_backslash"),
            byte if ALLOWED[usize::from(*byte)] => decoded.push(char::from(*byte)),
            _ => return Err("path_not_a_path"),
        }
    }
    Ok(decoded)
}

/// What stands for these two digits.
fn escaped(digits: &[u8]) -> Result<Cow<'static, str>, Refused> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let byte = text.and_then(|text| u8::from_str_radix(text, 16).ok()).ok_or("path_escape_malformed")?;
    match byte {
        0 => Err("path_nul"),
        b'/' => Err("path_escaped_slash"),
        b'\\' => Err("path_escaped_backslash"),
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => Ok(char::from(byte).to_string().into()),
        byte => Ok(format!("%{byte:02X}").into()),
    }
}

/// Resolves `.` and `..`; above the root there is the root.
fn resolve(path: &str) -> Result<String, Refused> {
    let mut resolved = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    resolved.truncate(resolved.rfind('/').unwrap_or(0));
                }
                if is_last {
                    resolved.push('/');
                }
            }
            _ if is_dot_with_parameter(segment) => return Err("path_dot_parameter"),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    Ok(resolved)
}

/// Some servers cut what follows a semicolon off before they resolve dots.
fn is_dot_with_parameter(segment: &str) -> bool {
    let dots = segment.len() - segment.trim_start_matches('.').len();
    let rest = &segment[dots..];
    (1..=2).contains(&dots) && (rest.starts_with(';') || rest.starts_with("%3B"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::percent;
    use crate::route::{Asked, RouteTable};

    #[test]
    fn a_path_has_one_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/...", "/..."),
            ("/%61%2D%7e", "/a-~"),
            ("/%c3%a4%3a", "/%C3%A4%3A"),
            ("//", "/"),
            ("///a//b///", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a//../b", "/b"),
            ("/%2e%2E/a", "/a"),
            ("/a/%2e./b", "/b"),
            ("/a;x/b", "/a;x/b"),
            ("/a/..x;y", "/a/..x;y"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/[a]^|{}", "/[a]^|{}"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        for path in ["/", "/a/b.c", "/.well-known/x", "/%C3%A4", "/a;b=c"] {
            assert!(matches!(normal(path), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        for (path, why) in [
            ("/%", "path_escape_malformed"),
            ("/a%2", "path_escape_malformed"),
            ("/%zz", "path_escape_malformed"),
            ("/%+1", "path_escape_malformed"),
            ("/%00", "path_nul"),
            ("/a%2fb", "path_escaped_slash"),
            ("/a%5Cb", "path_escaped_backslash"),
            ("/a\\b", "path_backslash"),
            ("/a/..;/b", "path_dot_parameter"),
            ("/a/.;x", "path_dot_parameter"),
            ("/%2e%2e;/b", "path_dot_parameter"),
            ("/..%3b/b", "path_dot_parameter"),
            ("/a\"b", "path_not_a_path"),
            ("/ä", "path_not_a_path"),
        ] {
            assert_eq!(normal(path), Err(why), "{path}");
        }
    }

    /// Paths made of what such paths are made of.
    fn paths() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "/", "/", "/", ".", "..", "a", "b", "%2e", "%2E", "%61", "%2f", "%25", "%3b", ";", "%c3", "%", "0", "\\",
            "~",
        ]);
        prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    fn route(table: &RouteTable, path: &str) -> Option<usize> {
        table.best(&Asked { host: "h", path, query: "", method: "GET", headers: &HeaderMap::new() })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn normal_is_normal_and_hides_no_dots(path in paths()) {
            let Ok(once) = normal(&path) else { return Ok(()) };

            let twice = normal(&once);
            prop_assert_eq!(twice.as_deref(), Ok(&*once));
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            let decoded = percent::decoded(once.as_bytes());
            prop_assert!(decoded.split('/').all(|segment| segment != ".." && segment != "."), "{} {}", path, decoded);
            prop_assert!(!decoded.contains('\\') && !decoded.contains('\0'));
        }

        #[test]
        fn a_spelling_does_not_choose_the_route(path in paths()) {
            let routes = "- { match: { path: /a }, to: echo }\n- { match: { exact: /b/a }, to: echo }\n- { match: { regex: 'b' }, to: echo }\n";
            let text = format!("listen: 127.0.0.1:0\nroutes:\n{routes}");
            let config = tollgate_config::parse(&text, Path::new("t.yaml")).unwrap();
            let table = RouteTable::new(&config.listeners[0].routes);
            let Ok(once) = normal(&path) else { return Ok(()) };
            let twice = normal(&once).map(Cow::into_owned).unwrap();

            prop_assert_eq!(route(&table, &once), route(&table, &twice));
        }
    }
}
