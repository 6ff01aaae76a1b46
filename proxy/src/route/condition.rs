//! What a route asks of a request beyond host and path: method, fields and query.

use std::borrow::Cow;
use std::cmp::Reverse;

use http::HeaderMap;
use tollgate_config::{RouteMatch, ValueMatch};

use super::Asked;
use crate::percent;

/// The conditions of one route beyond host and path. Most routes have none, so these are apart.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its place in the table.
    pub(super) route: usize,
    conditions: Option<Box<Conditions>>,
}

#[derive(Debug)]
struct Conditions {
    methods: Vec<String>,
    headers: Vec<(String, ValueMatch)>,
    query: Vec<(String, ValueMatch)>,
}

impl Candidate {
    pub(super) fn new(route: usize, matcher: &RouteMatch) -> Self {
        let RouteMatch { methods, headers, query, .. } = matcher;
        let none = methods.is_empty() && headers.is_empty() && query.is_empty();
        let conditions =
            || Box::new(Conditions { methods: methods.clone(), headers: headers.clone(), query: query.clone() });
        Self { route, conditions: (!none).then(conditions) }
    }

    /// Smaller is tried first.
    pub(super) fn rank(&self) -> (bool, Reverse<usize>, Reverse<usize>, usize) {
        let lengths = |said: &Conditions| (said.methods.len(), said.headers.len(), said.query.len());
        let (methods, headers, query) = self.conditions.as_deref().map(lengths).unwrap_or_default();
        (methods == 0, Reverse(headers), Reverse(query), self.route)
    }

    /// True when it asks for fields.
    pub(super) fn asks_fields(&self) -> bool {
        self.conditions.as_ref().is_some_and(|said| !said.headers.is_empty())
    }

    pub(super) fn accepts(&self, asked: &Asked<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|said| said.agree(asked))
    }
}

impl Conditions {
    fn agree(&self, asked: &Asked<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.iter().any(|method| method == asked.method);
        method
            && self.headers.iter().all(|(name, value)| of_header(asked.headers, name, value))
            && self.query.iter().all(|(name, value)| of_parameter(asked.query, name, value))
    }
}

fn of_header(headers: &HeaderMap, name: &str, wanted: &ValueMatch) -> bool {
    let mut values = headers.get_all(name).iter();
    match wanted {
        ValueMatch::Equal(value) => values.any(|found| found.as_bytes() == value.as_bytes()),
        ValueMatch::Regex(regex) => {
            values.any(|found| std::str::from_utf8(found.as_bytes()).is_ok_and(|text| regex.is_match(text)))
        }
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
    }
}

/// Names and values are compared unescaped, as an upstream reads them; a plus sign stays one.
fn of_parameter(query: &str, name: &str, wanted: &ValueMatch) -> bool {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(found, _)| unescaped(found) == name).map(|(_, value)| unescaped(value));
    match wanted {
        ValueMatch::Equal(value) => values.any(|found| found == value.as_str()),
        ValueMatch::Regex(regex) => values.any(|found| regex.is_match(&found)),
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
    }
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains('%') { percent::decoded(text.as_bytes()).into() } else { text.into() }
}
