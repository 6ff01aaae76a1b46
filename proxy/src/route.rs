//! Which route serves a request: a table built once per snapshot, and one pure function over it.
//!
//! Precedence: host exact, longest wildcard, none; path exact, longest prefix, regex, none; a method given; more header
//! conditions; more query conditions; the order written. It decides nothing about what a route does.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::HeaderMap;
use tollgate_config::{HostMatch, PathMatch, Route, RouteMatch};

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Host without port; case does not matter.
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
    /// Wildcards, longest first.
    suffix_hosts: Vec<(String, Group)>,
    any_host: Group,
    asks_fields: bool,
}

impl RouteTable {
    /// Builds the table; the answers of `best` are indices into `routes`.
    pub fn new(routes: &[Route]) -> Self {
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let candidate = Candidate::new(index, &route.matcher);
            table.asks_fields |= !candidate.headers.is_empty();
            table.group(&route.matcher.host).insert(&route.matcher.path, candidate);
        }
        table.suffix_hosts.sort_by_key(|(suffix, _)| Reverse(suffix.len()));
        table.groups().for_each(Group::sort);
        table
    }

    /// The best route for what was asked, or `None`.
    pub fn best(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.exact_hosts.is_empty() && self.suffix_hosts.is_empty() {
            return self.any_host.best(asked);
        }
        let host = asked.host.to_ascii_lowercase();
        let exact = self.exact_hosts.get(&host).and_then(|group| group.best(asked));
        let suffixes = self.suffix_hosts.iter().filter(|(suffix, _)| below(&host, suffix));
        exact
            .or_else(|| suffixes.filter_map(|(_, group)| group.best(asked)).next())
            .or_else(|| self.any_host.best(asked))
    }

    /// True when some route has a condition on a field.
    pub fn asks_fields(&self) -> bool {
        self.asks_fields
    }

    fn group(&mut self, host: &HostMatch) -> &mut Group {
        match host {
            HostMatch::Any => &mut self.any_host,
            HostMatch::Exact(name) => self.exact_hosts.entry(name.clone()).or_default(),
            HostMatch::Suffix(suffix) => {
                let at = self.suffix_hosts.iter().position(|(known, _)| known == suffix);
                let at = at.unwrap_or_else(|| {
                    self.suffix_hosts.push((suffix.clone(), Group::default()));
                    self.suffix_hosts.len() - 1
                });
                &mut self.suffix_hosts[at].1
            }
        }
    }

    fn groups(&mut self) -> impl Iterator<Item = &mut Group> {
        let suffixes = self.suffix_hosts.iter_mut().map(|(_, group)| group);
        self.exact_hosts.values_mut().chain(suffixes).chain(std::iter::once(&mut self.any_host))
    }
}

/// True when `host` lies below the wildcard: at least one label more than `suffix` (which begins with a dot).
fn below(host: &str, suffix: &str) -> bool {
    host.len() > suffix.len() && host.ends_with(suffix)
}

/// Routes that share one host condition.
#[derive(Debug, Default)]
struct Group {
    exact: HashMap<String, Vec<Candidate>>,
    /// Keyed without the trailing slash, so `/` is the empty string.
    prefixes: HashMap<String, Vec<Candidate>>,
    regexes: Vec<(regex::Regex, Candidate)>,
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

    fn sort(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        lists.chain(std::iter::once(&mut self.any)).for_each(|list| list.sort_by_key(Candidate::rank));
        self.regexes.sort_by_key(|(_, candidate)| candidate.rank());
    }

    fn best(&self, asked: &Asked<'_>) -> Option<usize> {
        let exact = self.exact.get(asked.path).and_then(|list| first(list, asked));
        exact.or_else(|| self.longest_prefix(asked)).or_else(|| self.regex(asked)).or_else(|| first(&self.any, asked))
    }

    /// Tries the path itself, then every shorter path that ends before a slash, so `/v1` never matches `/v1x`.
    fn longest_prefix(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut prefix = asked.path.strip_suffix('/').unwrap_or(asked.path);
        loop {
            let found = self.prefixes.get(prefix).and_then(|list| first(list, asked));
            if found.is_some() {
                return found;
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }

    fn regex(&self, asked: &Asked<'_>) -> Option<usize> {
        let matching =
            self.regexes.iter().filter(|(regex, candidate)| candidate.accepts(asked) && regex.is_match(asked.path));
        matching.map(|(_, candidate)| candidate.route).next()
    }
}

fn first(candidates: &[Candidate], asked: &Asked<'_>) -> Option<usize> {
    candidates.iter().find(|candidate| candidate.accepts(asked)).map(|candidate| candidate.route)
}

/// The conditions of one route beyond host and path.
#[derive(Debug)]
struct Candidate {
    route: usize,
    methods: Vec<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Candidate {
    fn new(route: usize, matcher: &RouteMatch) -> Self {
        Self { route, methods: matcher.methods.clone(), headers: matcher.headers.clone(), query: matcher.query.clone() }
    }

    /// Smaller is tried first.
    fn rank(&self) -> (bool, Reverse<usize>, Reverse<usize>, usize) {
        (self.methods.is_empty(), Reverse(self.headers.len()), Reverse(self.query.len()), self.route)
    }

    fn accepts(&self, asked: &Asked<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.iter().any(|method| method == asked.method);
        method
            && self.headers.iter().all(|(name, value)| has_header(asked.headers, name, value))
            && self.query.iter().all(|(name, value)| has_parameter(asked.query, name, value))
    }
}

fn has_header(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_bytes())
}

/// Compares the parameter as it was sent: no percent-decoding.
fn has_parameter(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| pair.split_once('=').unwrap_or((pair, "")) == (name, value))
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
}
