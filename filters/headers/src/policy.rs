//! From the configuration's JSON to the changes each side makes, in the order they are made.
//! Nothing here knows the SDK.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The changes to both halves of an exchange.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Made to the request headers, in order.
    pub request: Vec<Change>,
    /// Made to the response headers, in order.
    pub response: Vec<Change>,
}

/// One change to one header map.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Every value of this name goes.
    Remove(String),
    /// This value takes the place of every value of this name.
    Replace(String, String),
    /// This value is appended to those of this name.
    Add(String, String),
    /// The value of the second name is appended to those of the first; nothing, where there is none.
    Copy(String, String),
}

impl Plan {
    /// Reads the plugin's configuration; what it refuses, it refuses whole.
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let said: Said = serde_json::from_slice(json).map_err(Refusal::Json)?;

        Ok(Self { request: said.request.changes("request")?, response: said.response.changes("response")? })
    }
}

/// Why a configuration is refused.
#[derive(Debug)]
pub enum Refusal {
    /// It is not JSON of the documented shape.
    Json(serde_json::Error),
    /// A header in it cannot exist; `place` is the path of keys to the list that names it.
    Header {
        /// As in `request.set`.
        place: String,
        /// The name as written.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The name has a character that header names cannot have, or none at all.
    Name,
    /// The value has a control character other than tab.
    Value,
    /// The value is neither a string nor a list of at least one string.
    Kind,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Header { place, name, fault } => write!(f, "{place}: {name:?} {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "is not a header name",
            Self::Value => "has a value with a control character",
            Self::Kind => "needs a string or a list of at least one string",
        })
    }
}

/// The configuration as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Said {
    request: Side,
    response: Side,
}

/// One half of it. The maps keep the order of the text.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Side {
    copy: Map<String, Value>,
    remove: Vec<String>,
    set: Map<String, Value>,
    add: Map<String, Value>,
}

impl Side {
    fn changes(self, side: &str) -> Result<Vec<Change>, Refusal> {
        let mut changes = Vec::new();
        for (name, source) in self.copy {
            let place = format!("{side}.copy");
            let (name, sources) = header(&place, name, source)?;
            for source in sources {
                changes.push(Change::Copy(name.clone(), checked_name(&place, source)?));
            }
        }
        for name in self.remove {
            changes.push(Change::Remove(checked_name(&format!("{side}.remove"), name)?));
        }
        for (name, value) in self.set {
            let (name, values) = header(&format!("{side}.set"), name, value)?;
            // The first value clears the others, so each later one can only be added.
            changes.extend(values.into_iter().enumerate().map(|(at, value)| match at {
                0 => Change::Replace(name.clone(), value),
                _ => Change::Add(name.clone(), value),
            }));
        }
        for (name, value) in self.add {
            let (name, values) = header(&format!("{side}.add"), name, value)?;
            changes.extend(values.into_iter().map(|value| Change::Add(name.clone(), value)));
        }
        Ok(changes)
    }
}

fn header(place: &str, name: String, value: Value) -> Result<(String, Vec<String>), Refusal> {
    let name = checked_name(place, name)?;
    match checked_values(value) {
        Ok(values) => Ok((name, values)),
        Err(fault) => Err(Refusal::Header { place: place.to_owned(), name, fault }),
    }
}

fn checked_name(place: &str, name: String) -> Result<String, Refusal> {
    if is_name(&name) {
        return Ok(name);
    }
    Err(Refusal::Header { place: place.to_owned(), name, fault: Fault::Name })
}

/// RFC 9110 §5.6.2: a token; a leading colon makes it a pseudo-header, as `:path`.
fn is_name(name: &str) -> bool {
    let token = name.strip_prefix(':').unwrap_or(name);
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !token.is_empty() && token.bytes().all(tchar)
}

fn checked_values(value: Value) -> Result<Vec<String>, Fault> {
    let values = match value {
        Value::String(one) => vec![one],
        Value::Array(many) if !many.is_empty() => many.into_iter().map(text).collect::<Result<_, _>>()?,
        _ => return Err(Fault::Kind),
    };
    let carried = |value: &String| !value.bytes().any(|b| b.is_ascii_control() && b != b'\t');
    if values.iter().all(carried) { Ok(values) } else { Err(Fault::Value) }
}

fn text(value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Fault::Kind),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn remove(name: &str) -> Change {
        Change::Remove(name.to_owned())
    }

    fn replace(name: &str, value: &str) -> Change {
        Change::Replace(name.to_owned(), value.to_owned())
    }

    fn add(name: &str, value: &str) -> Change {
        Change::Add(name.to_owned(), value.to_owned())
    }

    fn copy(name: &str, source: &str) -> Change {
        Change::Copy(name.to_owned(), source.to_owned())
    }

    fn refusal(json: &str) -> String {
        Plan::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_side_copies_then_removes_then_sets_then_adds_whatever_the_order_written() {
        let json =
            br#"{ "request": { "add": { "c": "3" }, "set": { "b": "2" }, "remove": ["a"], "copy": { "d": "a" } } }"#;

        let plan = Plan::parse(json).unwrap();

        assert_eq!(plan.request, [copy("d", "a"), remove("a"), replace("b", "2"), add("c", "3")]);
        assert_eq!(plan.response, []);
    }

    #[test]
    fn maps_keep_the_order_written() {
        let json = br#"{ "response": { "set": { "z": "1", "a": "2", "m": "3" } } }"#;

        let plan = Plan::parse(json).unwrap();

        assert_eq!(plan.response, [replace("z", "1"), replace("a", "2"), replace("m", "3")]);
    }

    #[test]
    fn several_values_are_one_replacement_and_additions() {
        let json = br#"{ "request": { "set": { "a": ["1", "2", "3"] }, "add": { "b": ["4", "5"] } } }"#;

        let plan = Plan::parse(json).unwrap();

        let set = [replace("a", "1"), add("a", "2"), add("a", "3")];
        let added = [add("b", "4"), add("b", "5")];
        assert_eq!(plan.request, set.into_iter().chain(added).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_object_changes_nothing() {
        assert_eq!(Plan::parse(b"{}").unwrap(), Plan::default());
    }

    #[test]
    fn pseudo_headers_and_empty_values_may_be_set() {
        let json = br#"{ "request": { "set": { ":path": "/x", "x-empty": "" } } }"#;

        let plan = Plan::parse(json).unwrap();

        assert_eq!(plan.request, [replace(":path", "/x"), replace("x-empty", "")]);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_known_ones() {
        assert_eq!(
            refusal(r#"{ "requests": {} }"#),
            "unknown field `requests`, expected `request` or `response` at line 1 column 12"
        );
        assert!(refusal(r#"{ "request": { "replace": {} } }"#).starts_with("unknown field `replace`"));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        assert_eq!(refusal(""), "EOF while parsing a value at line 1 column 0");
        assert!(refusal("{ request: {} }").ends_with("at line 1 column 3"));
        assert!(Plan::parse(b"{ \"request\": \"\xff\" }").is_err());
    }

    #[test]
    fn impossible_names_are_refused_with_their_list() {
        assert_eq!(
            refusal(r#"{ "request": { "set": { "x y": "1" } } }"#),
            r#"request.set: "x y" is not a header name"#
        );
        assert_eq!(refusal(r#"{ "response": { "remove": [""] } }"#), r#"response.remove: "" is not a header name"#);
        assert_eq!(refusal(r#"{ "request": { "add": { ":": "1" } } }"#), r#"request.add: ":" is not a header name"#);
        assert_eq!(
            refusal(r#"{ "request": { "copy": { "a": "b c" } } }"#),
            r#"request.copy: "b c" is not a header name"#
        );
    }

    #[test]
    fn impossible_values_are_refused_with_their_name() {
        assert_eq!(
            refusal(r#"{ "response": { "add": { "a": "1\r\nb: 2" } } }"#),
            r#"response.add: "a" has a value with a control character"#
        );
        for value in ["1", "null", "[]", "[1]", "{}"] {
            assert_eq!(
                refusal(&format!(r#"{{ "request": {{ "set": {{ "a": {value} }} }} }}"#)),
                r#"request.set: "a" needs a string or a list of at least one string"#
            );
        }
    }
}
