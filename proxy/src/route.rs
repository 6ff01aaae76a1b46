//! Which route serves a request: a table built once per snapshot, and one pure function over it.
//!
//! Precedence: host exact, longest wildcard, none; path exact, longest prefix, regex, none; a method given; more header
//! conditions; more query conditions; the order written. It decides nothing about what a route does.
//!
//! What a look-up costs does not grow with the number of routes but where they share host and path, and for expressions:
//! hosts and prefixes are found by the lengths that occur, whatever a client sends, and expressions in sets of [`SET`].

mod condition;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use http::HeaderMap;
use regex::RegexSet;
use tollgate_config::{HostMatch, PathMatch, Route};

use self::condition::Candidate;

/// How many expressions are looked for at once: one pass over a path says that none of them is there.
pub const SET: usize = 64;

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Host without port; case does not matter, nor does a dot at its end.
    pub host: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Query without `?`, empty when absent.
    pub query: &'a str,
    /// Method as sent.
    pub method: &'a str,
    /// All other fields.
    pub headers: &'a HeaderMap,
}

/// The routes of one listener, indexed so that neither hosts nor paths are searched one by one.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact_hosts: HashMap<String, Group>,
    /// By what they end with, beginning with a dot.
    suffix_hosts: HashMap<String, Group>,
    /// The lengths of those, longest first.
    suffix_lengths: Vec<usize>,
    any_host: Group,
    asks_fields: bool,
}

impl RouteTable {
    /// Builds the table; the answers of `best` are indices into `routes`.
    pub fn new(routes: &[Route]) -> Self {
        Self::of(routes.iter().enumerate())
    }

    /// The same of those routes that take CONNECT, which goes past all others; `None` where there is none.
    pub fn of_tunnels(routes: &[Route]) -> Option<Box<Self>> {
        let mut tunnels = routes.iter().enumerate().filter(|(_, route)| route.connect).peekable();
        tunnels.peek()?;
        Some(Box::new(Self::of(tunnels)))
    }

    fn of<'r>(routes: impl Iterator<Item = (usize, &'r Route)>) -> Self {
        let mut table = Self::default();
        for (index, route) in routes {
            let candidate = Candidate::new(index, &route.matcher);
            table.asks_fields |= candidate.asks_fields();
            table.group(&route.matcher.host).insert(&route.matcher.path, candidate);
        }
        table.suffix_lengths = lengths(table.suffix_hosts.keys());
        table.groups().for_each(Group::settle);
        table
    }

    /// The best route for what was asked, or `None`.
    pub fn best(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.exact_hosts.is_empty() && self.suffix_hosts.is_empty() {
            return self.any_host.best(asked);
        }
        let host = lower(asked.host.strip_suffix('.').unwrap_or(asked.host));
        let exact = self.exact_hosts.get(&*host).and_then(|group| group.best(asked));
        exact.or_else(|| self.suffix(&host, asked)).or_else(|| self.any_host.best(asked))
    }

    /// The wildcards that have at least one label less than the host.
    fn suffix(&self, host: &str, asked: &Asked<'_>) -> Option<usize> {
        let starts = self.suffix_lengths.iter().filter_map(|length| host.len().checked_sub(*length));
        let suffixes = starts.filter(|start| *start > 0 && host.as_bytes()[*start] == b'.').map(|start| &host[start..]);
        suffixes.filter_map(|suffix| self.suffix_hosts.get(suffix)).find_map(|group| group.best(asked))
    }

    /// True when some route has a condition on a field.
    pub fn asks_fields(&self) -> bool {
        self.asks_fields
    }

    fn group(&mut self, host: &HostMatch) -> &mut Group {
        match host {
            HostMatch::Any => &mut self.any_host,
            HostMatch::Exact(name) => self.exact_hosts.entry(name.clone()).or_default(),
            HostMatch::Suffix(suffix) => self.suffix_hosts.entry(suffix.clone()).or_default(),
        }
    }

    fn groups(&mut self) -> impl Iterator<Item = &mut Group> {
        let hosts = self.exact_hosts.values_mut().chain(self.suffix_hosts.values_mut());
        hosts.chain(std::iter::once(&mut self.any_host))
    }
}

/// A host in lower case, as most of them are.
fn lower(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// The lengths that occur, longest first.
fn lengths<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<usize> {
    let mut lengths: Vec<usize> = texts.map(String::len).collect();
    lengths.sort_unstable_by_key(|length| Reverse(*length));
    lengths.dedup();
    lengths.shrink_to_fit();
    lengths
}

/// Routes that share one host condition.
#[derive(Debug, Default)]
struct Group {
    exact: HashMap<String, Vec<Candidate>>,
    /// Keyed without the trailing slash, so `/` is the empty string.
    prefixes: HashMap<String, Vec<Candidate>>,
    /// The lengths of those, longest first.
    prefix_lengths: Vec<usize>,
    regexes: Vec<(regex::Regex, Candidate)>,
    /// One for each [`SET`] of `regexes`; absent where it would be too large.
    sets: Vec<Option<RegexSet>>,
    any: Vec<Candidate>,
}

impl Group {
    fn insert(&mut self, path: &PathMatch, candidate: Candidate) {
        match path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(candidate),
            PathMatch::Prefix(prefix) => {
                let key = prefix.trim_end_matches('/').to_owned();
                self.prefixes.entry(key).or_default().push(candidate);
            }
            PathMatch::Regex(regex) => self.regexes.push((regex.clone(), candidate)),
            PathMatch::Any => self.any.push(candidate),
        }
    }

    /// Puts candidates in the order in which they are tried, once all are there.
    fn settle(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        lists.chain(std::iter::once(&mut self.any)).for_each(|list| list.sort_by_key(Candidate::rank));
        self.prefix_lengths = lengths(self.prefixes.keys());
        self.regexes.sort_by_key(|(_, candidate)| candidate.rank());
        self.sets = self.regexes.chunks(SET).map(set).collect();
    }

    fn best(&self, asked: &Asked<'_>) -> Option<usize> {
        let exact = self.exact.get(asked.path).and_then(|list| first(list, asked));
        exact.or_else(|| self.longest_prefix(asked)).or_else(|| self.regex(asked)).or_else(|| first(&self.any, asked))
    }

    /// Tries the path itself and what of it ends before a slash, so `/v1` never matches `/v1x`. Only lengths that some
    /// prefix has are tried, so that a path of slashes costs no more than another.
    fn longest_prefix(&self, asked: &Asked<'_>) -> Option<usize> {
        let path = asked.path;
        let ends = |length: &usize| match path.as_bytes().get(*length) {
            Some(next) => *next == b'/',
            None => *length == path.len(),
        };
        let prefixes = self.prefix_lengths.iter().filter(|length| ends(length)).map(|length| &path[..*length]);
        prefixes.filter_map(|prefix| self.prefixes.get(prefix)).find_map(|list| first(list, asked))
    }

    fn regex(&self, asked: &Asked<'_>) -> Option<usize> {
        let chunks = self.regexes.chunks(SET).zip(&self.sets);
        let possible = chunks.filter(|(_, set)| set.as_ref().is_none_or(|set| set.is_match(asked.path)));
        let mut regexes = possible.flat_map(|(chunk, _)| chunk);
        let best = regexes.find(|(regex, candidate)| candidate.accepts(asked) && regex.is_match(asked.path));
        best.map(|(_, candidate)| candidate.route)
    }
}

/// A few expressions are as quick one by one, and together they may be larger than a set can be.
fn set(chunk: &[(regex::Regex, Candidate)]) -> Option<RegexSet> {
    const FEW: usize = 4;
    let worth = chunk.len() > FEW;
    worth.then(|| RegexSet::new(chunk.iter().map(|(regex, _)| regex.as_str())).ok()).flatten()
}

fn first(candidates: &[Candidate], asked: &Asked<'_>) -> Option<usize> {
    candidates.iter().find(|candidate| candidate.accepts(asked)).map(|candidate| candidate.route)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Builds a table from the `match:` lines of a config and answers for one request.
    fn route(matches: &[&str], method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Option<usize> {
        let routes: String = matches.iter().map(|line| format!("- {{ match: {line}, to: echo }}\n")).collect();
        let config =
            tollgate_config::parse(&format!("listen: 127.0.0.1:0\nroutes:\n{routes}"), Path::new("t.yaml")).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RouteTable::new(&config.listeners[0].routes).best(&Asked { host, path, query, method, headers: &map })
    }

    #[test]
    fn a_prefix_matches_itself_and_below_but_never_a_longer_word() {
        for prefix in ["{ path: /v1 }", "{ path: /v1/ }"] {
            assert_eq!(route(&[prefix], "GET", "h", "/v1", &[]), Some(0));
            assert_eq!(route(&[prefix], "GET", "h", "/v1/", &[]), Some(0));
            assert_eq!(route(&[prefix], "GET", "h", "/v1/x/y", &[]), Some(0));
            assert_eq!(route(&[prefix], "GET", "h", "/v1x", &[]), None);
            assert_eq!(route(&[prefix], "GET", "h", "/", &[]), None);
        }
    }

    #[test]
    fn the_root_prefix_matches_every_path() {
        for path in ["/", "/a", "/a/b/", "//", "*"] {
            let expected = path.starts_with('/').then_some(0);
            assert_eq!(route(&["{ path: / }"], "GET", "h", path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn exact_beats_longest_prefix_beats_regex_beats_none() {
        let table = ["{ host: h }", "{ regex: '^/a.*' }", "{ path: /a }", "{ path: /a/b }", "{ exact: /a/b }"];
        let any_host = &table[1..];
        assert_eq!(route(any_host, "GET", "x", "/a/b", &[]), Some(3));
        assert_eq!(route(any_host, "GET", "x", "/a/b/c", &[]), Some(2));
        assert_eq!(route(any_host, "GET", "x", "/a/c", &[]), Some(1));
        assert_eq!(route(any_host, "GET", "x", "/ax", &[]), Some(0));
        assert_eq!(route(&table, "GET", "h", "/a/b", &[]), Some(0), "the host outranks the path");
    }

    #[test]
    fn an_exact_host_beats_the_longest_wildcard_which_beats_none() {
        let table = ["{ path: / }", "{ host: '*.local' }", "{ host: '*.api.local' }", "{ host: v1.api.local }"];
        assert_eq!(route(&table, "GET", "V1.API.local", "/", &[]), Some(3));
        assert_eq!(route(&table, "GET", "v2.api.local", "/", &[]), Some(2));
        assert_eq!(route(&table, "GET", "api.local", "/", &[]), Some(1));
        assert_eq!(route(&table, "GET", "local", "/", &[]), Some(0));
    }

    #[test]
    fn a_host_without_a_matching_path_falls_to_the_next_host() {
        assert_eq!(route(&["{ host: h, path: /a }", "{ path: / }"], "GET", "h", "/b", &[]), Some(1));
    }

    #[test]
    fn methods_headers_and_query_decide_between_equal_paths() {
        let table = [
            "{ path: / }",
            "{ path: /, query: { q: '1' } }",
            "{ path: /, headers: { X-A: b } }",
            "{ path: /, headers: { x-a: b, x-c: d } }",
            "{ path: /, method: [PUT, POST] }",
        ];
        assert_eq!(route(&table, "GET", "h", "/", &[]), Some(0));
        assert_eq!(route(&table, "GET", "h", "/?z&q=1", &[]), Some(1));
        assert_eq!(route(&table, "GET", "h", "/?q=1", &[("x-a", "b")]), Some(2));
        assert_eq!(route(&table, "GET", "h", "/", &[("x-a", "b"), ("x-c", "d")]), Some(3));
        assert_eq!(route(&table, "POST", "h", "/", &[("x-a", "b"), ("x-c", "d")]), Some(4));
        assert_eq!(route(&table, "GET", "h", "/", &[("x-a", "c")]), Some(0));
    }

    #[test]
    fn equal_routes_are_served_in_the_order_written() {
        assert_eq!(route(&["{ path: /a }", "{ path: /a }"], "GET", "h", "/a", &[]), Some(0));
    }

    #[test]
    fn a_condition_is_a_value_an_expression_presence_or_absence() {
        let table = [
            "{ path: / }",
            "{ path: /, headers: { x-a: { regex: '^b[0-9]+$' } } }",
            "{ path: /, headers: { x-b: { present: true } } }",
            "{ path: /n, headers: { x-c: { present: false } } }",
            "{ path: /, query: { q: { regex: x }, r: { present: false } } }",
        ];
        assert_eq!(route(&table, "GET", "h", "/", &[("x-a", "b12")]), Some(1));
        assert_eq!(route(&table, "GET", "h", "/", &[("x-a", "no"), ("x-a", "b1")]), Some(1), "one of two is enough");
        assert_eq!(route(&table, "GET", "h", "/", &[("x-a", "ab12")]), Some(0));
        assert_eq!(route(&table, "GET", "h", "/", &[("x-b", "")]), Some(2));
        assert_eq!(route(&table, "GET", "h", "/n", &[]), Some(3));
        assert_eq!(route(&table, "GET", "h", "/n", &[("x-c", "")]), Some(0));
        assert_eq!(route(&table, "GET", "h", "/?q=axb", &[]), Some(4));
        assert_eq!(route(&table, "GET", "h", "/?q=axb&r", &[]), Some(0));
    }

    #[test]
    fn a_query_is_compared_unescaped_and_a_plus_is_a_plus() {
        let table = ["{ path: / }", "{ path: /, query: { 'a b': 'c&d' } }", "{ path: /, query: { p: '+' } }"];
        assert_eq!(route(&table, "GET", "h", "/?a%20b=c%26d", &[]), Some(1));
        assert_eq!(route(&table, "GET", "h", "/?%61%20b=%63%26d", &[]), Some(1));
        assert_eq!(route(&table, "GET", "h", "/?a+b=c%26d", &[]), Some(0));
        assert_eq!(route(&table, "GET", "h", "/?p=+", &[]), Some(2));
        assert_eq!(route(&table, "GET", "h", "/?p=%2B", &[]), Some(2));
        assert_eq!(route(&table, "GET", "h", "/?p=%2", &[]), Some(0));
    }

    #[test]
    fn a_wildcard_needs_a_whole_label_more_and_a_dot_at_the_end_means_nothing() {
        let table = ["{ path: / }", "{ host: '*.b.local' }", "{ host: c.local }"];
        for (host, expected) in [
            ("a.b.local", 1),
            ("x.a.b.local", 1),
            ("A.B.Local.", 1),
            ("c.local.", 2),
            ("ab.local", 0),
            ("b.local", 0),
            (".b.local", 0),
            ("", 0),
            (".", 0),
        ] {
            assert_eq!(route(&table, "GET", host, "/", &[]), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_wildcard_without_a_matching_path_falls_to_the_next_shorter_one() {
        let table = ["{ host: '*.local', path: /a }", "{ host: '*.b.local', path: /b }", "{ path: /c }"];
        assert_eq!(route(&table, "GET", "a.b.local", "/a", &[]), Some(0));
        assert_eq!(route(&table, "GET", "a.b.local", "/c", &[]), Some(2));
    }

    #[test]
    fn of_many_expressions_the_first_that_is_found_wins() {
        let many: Vec<String> = (0..200).map(|number| format!("{{ regex: '^/r{number}(/|$)' }}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["{ regex: '^/r' }"]).collect();
        for number in [0, 63, 64, 127, 128, 199] {
            assert_eq!(route(&many, "GET", "h", &format!("/r{number}/x"), &[]), Some(number));
        }
        assert_eq!(route(&many, "GET", "h", "/r200", &[]), Some(200));
        assert_eq!(route(&many, "GET", "h", "/x", &[]), None);
    }

    #[test]
    fn letters_of_several_bytes_are_no_borders() {
        let table = ["{ path: /a }", "{ host: '*.l' }", "{ path: /abc }"];
        assert_eq!(route(&table, "GET", "\u{e9}\u{e9}l", "/a\u{e9}", &[]), None);
        assert_eq!(route(&table, "GET", "\u{e9}.l", "/\u{e9}/", &[]), Some(1));
    }
}
