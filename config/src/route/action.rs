//! What a route does with an exchange besides passing it on as it is: answering, redirecting, rewriting.
//! Carrying it out is the proxy's work; what stands here fits into a message of HTTP.

use regex::Regex;
use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::cluster::host_name;
use crate::scalar::{Bare, Scalar, Unfit, Word};

/// An answer that a route gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// The status, from 200 to 599.
    pub status: u16,
    /// Header fields in the order written, names in lower case; none that belongs to framing.
    pub headers: Vec<(String, String)>,
    /// The body; empty where the status has none.
    pub body: String,
}

/// Another place that a route sends clients to. What is absent stays as the client asked for it; so does the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host, without a port.
    pub host: Option<String>,
    /// The port. Absent beside a scheme or a host it is the usual one of the scheme.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathChange>,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Word for Scheme {
    const WORDS: &'static [(&'static str, Scheme)] = &[("http", Scheme::Http), ("https", Scheme::Https)];
    const EXPECTED: &'static str = "\"http\" or \"https\"";
}

/// Another path in place of the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    /// This one, whatever was asked for.
    Whole(String),
    /// `with` in place of `matched`, with which the path begins because the route matches; both without a slash at the
    /// end, so that the empty text stands for `/`.
    Prefix {
        /// What the route matches.
        matched: String,
        /// What stands in its place.
        with: String,
    },
}

/// What the upstream is asked for in place of what the client asked for.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The host, perhaps with a port.
    pub host: Option<String>,
}

/// How the path is rewritten; the query stays.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// A part of it or the whole of it is replaced.
    Change(PathChange),
    /// Whatever the expression finds is replaced by `with`, in which `$1` is its first group.
    Regex {
        /// The expression.
        pattern: Regex,
        /// The replacement.
        with: String,
    },
}

/// A path that may be sent: printed ASCII, escaped as in a URL, without a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentPath(pub(crate) String);

impl SentPath {
    /// The path as what stands in place of a prefix.
    pub(crate) fn prefix(&self) -> String {
        self.0.trim_end_matches('/').to_owned()
    }
}

/// The letters of a path that stand for themselves. RFC 3986, section 3.3.
fn of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

impl Scalar for SentPath {
    const EXPECTED: &'static str = "a path such as /v1";

    fn parse(text: &str) -> Result<SentPath, Unfit> {
        match text.starts_with('/') && text.bytes().all(of_path) {
            true => Ok(SentPath(text.to_owned())),
            false => Err(Unfit::value(
                "is not a path that may be sent; it starts with /, has no query, and other letters than those of a URL \
                 are written as in %C3%BC",
            )),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[-A-Za-z0-9._~!$&'()*+,;=:@/%]*$" })
    }
}

/// A host without a port, brackets kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(pub(crate) String);

impl Scalar for HostName {
    const EXPECTED: &'static str = "a host such as www.example.com";

    fn parse(text: &str) -> Result<HostName, Unfit> {
        match host_name(text) {
            Some(host) if host.contains(':') => Ok(HostName(format!("[{host}]"))),
            Some(host) => Ok(HostName(host)),
            None => Err(Unfit::value("is not a host; write it without a port, as in www.example.com")),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved(pub(crate) u16);

impl Moved {
    /// Those that clients follow. RFC 9110, section 15.4.
    const ALL: [u16; 5] = [301, 302, 303, 307, 308];
    /// The one that no client remembers.
    pub(crate) const DEFAULT: Moved = Moved(302);
}

impl Scalar for Moved {
    const EXPECTED: &'static str = "a status such as 302";
    const BARE: Bare = Bare::Taken;

    fn parse(text: &str) -> Result<Moved, Unfit> {
        let known = text.parse().ok().filter(|status| Moved::ALL.contains(status));
        known.map(Moved).ok_or_else(|| Unfit::value("is not the status of a redirect; write 301, 302, 303, 307 or 308"))
    }

    fn spell(&self) -> Value {
        self.0.into()
    }

    fn schema() -> Schema {
        json_schema!({ "enum": Moved::ALL })
    }
}

/// The group that a replacement names and the expression does not have, if there is one.
pub(crate) fn unknown_group<'t>(pattern: &Regex, with: &'t str) -> Option<&'t str> {
    let mut rest = with;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (name, after) = group(after);
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|known| known == name),
        };
        if !name.is_empty() && !known {
            return Some(name);
        }
        rest = after;
    }
    None
}

/// The name of a group after its `$`, in braces or as long as it goes, and what follows.
fn group(text: &str) -> (&str, &str) {
    if let Some(found) = text.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
        return found;
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_sent_has_the_letters_of_a_url_alone() {
        for text in ["/", "/v1/", "/a%20b;c=d", "/@:,"] {
            assert_eq!(SentPath::parse(text), Ok(SentPath(text.into())));
        }
        for text in ["", "v1", "/a b", "/a?b", "/a#b", "/grün", "/a\\b", "/<>", "/a\"", "//a\r\n"] {
            assert!(SentPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_status_that_clients_follow_is_that_of_a_redirect() {
        assert_eq!(Moved::parse("308"), Ok(Moved(308)));
        for text in ["300", "304", "200", "99999", "", "-301"] {
            assert!(Moved::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        assert_eq!(HostName::parse("WWW.Example.com"), Ok(HostName("www.example.com".into())));
        assert_eq!(HostName::parse("[::1]"), Ok(HostName("[::1]".into())));
        for text in ["", "a:80", "*.a", "a/b", "u@a"] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_replacement_names_groups_that_the_expression_has() {
        let pattern = Regex::new("^/(?<kind>[a-z]+)/([0-9]+)").unwrap();
        for with in ["/x", "/$1/$2", "/$kind", "/${kind}s", "/$$9", "/$0", "/$", "/$-"] {
            assert_eq!(unknown_group(&pattern, with), None, "{with}");
        }
        for (with, name) in [
            ("/$3", "3"),
            ("/$1x", "1x"),
            ("/$2/${other}", "other"),
            ("/$99999999999999999999", "99999999999999999999"),
        ] {
            assert_eq!(unknown_group(&pattern, with), Some(name), "{with}");
        }
    }
}
