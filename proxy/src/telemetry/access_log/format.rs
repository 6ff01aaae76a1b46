//! How an exchange is written as one line: JSON for machines, text for people.
//!
//! Whatever a client sent is escaped here, so that no request can forge a line or steer a terminal.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Entry;
use crate::telemetry::log::{cut, write_visible};
use crate::telemetry::timestamp::Timestamp;

/// Bytes of a property that a line shows: filters may set what clients sent.
const PROPERTY_BYTES: usize = 256;

/// The fields of a JSON line, in this order. Absent ones are left out.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    client: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<IpAddr>,
    method: &'a str,
    authority: &'a str,
    path: &'a str,
    protocol: &'a str,
    /// Null when no answer left.
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: f64,
    filters_ms: f64,
    listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    properties: Properties<'a>,
}

/// What filters set, as an object.
struct Properties<'a>(&'a [(&'a str, &'a [u8])]);

impl Properties<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, property(value))))
    }
}

/// The value of a property as text, cut between characters.
fn property(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(cut(value, PROPERTY_BYTES))
}

/// Appends the entry as a JSON object without a newline.
pub(super) fn json(line: &mut Vec<u8>, entry: &Entry<'_>) {
    let fields = Line {
        time: Timestamp(entry.time),
        client: entry.client,
        client_address: entry.client_address,
        method: entry.method,
        authority: entry.authority,
        path: entry.path,
        protocol: entry.protocol,
        status: entry.status,
        reason: entry.reason,
        request_bytes: entry.request_bytes,
        response_bytes: entry.response_bytes,
        duration_ms: millis(entry.duration),
        filters_ms: millis(entry.filters),
        listener: entry.listener,
        route: entry.route,
        cluster: entry.cluster,
        upstream: entry.upstream,
        request_id: entry.request_id.map(String::from_utf8_lossy),
        user_agent: entry.user_agent.map(String::from_utf8_lossy),
        properties: Properties(entry.properties),
    };
    // Neither a vector nor these types can refuse.
    let _ = serde_json::to_writer(line, &fields);
}

/// Appends the entry as words without a newline.
pub(super) fn text(line: &mut Vec<u8>, entry: &Entry<'_>) {
    // A vector takes every write.
    let _ = write_words(&mut Words(line), entry);
}

/// A vector that takes text.
struct Words<'a>(&'a mut Vec<u8>);

impl Write for Words<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn write_words(out: &mut Words<'_>, entry: &Entry<'_>) -> fmt::Result {
    write!(out, "{} {} ", Timestamp(entry.time), entry.client)?;
    quote(out, format_args!("{} {} {}", entry.method, entry.path, entry.protocol))?;
    match entry.status {
        Some(status) => write!(out, " {status}")?,
        None => out.write_str(" -")?,
    }
    write!(out, " in={} out={}", entry.request_bytes, entry.response_bytes)?;
    write!(out, " time={}ms filters={}ms", millis(entry.duration), millis(entry.filters))?;
    if let Some(address) = entry.client_address {
        write!(out, " for={address}")?;
    }
    word(out, "host", Some(entry.authority.into()))?;
    word(out, "listener", Some(entry.listener.into()))?;
    word(out, "route", entry.route.map(Cow::from))?;
    word(out, "cluster", entry.cluster.map(Cow::from))?;
    if let Some(upstream) = entry.upstream {
        write!(out, " upstream={upstream}")?;
    }
    word(out, "reason", entry.reason.map(Cow::from))?;
    word(out, "id", entry.request_id.map(String::from_utf8_lossy))?;
    word(out, "agent", entry.user_agent.map(String::from_utf8_lossy))?;
    entry.properties.iter().try_for_each(|(name, value)| {
        // Quoted with its name: that is any text, and must not pass for a word of ours.
        out.write_char(' ')?;
        quote(out, format_args!("{name}"))?;
        out.write_char('=')?;
        quote(out, format_args!("{}", property(value)))
    })
}

/// Writes ` name="value"` when there is a value.
fn word(out: &mut Words<'_>, name: &str, value: Option<Cow<'_, str>>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    write!(out, " {name}=")?;
    quote(out, format_args!("{value}"))
}

/// Writes text between quotes, so that it ends where it says.
fn quote(out: &mut Words<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    struct Quoted<'a, 'b>(&'a mut Words<'b>);
    impl Write for Quoted<'_, '_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for piece in text.split_inclusive(['"', '\\']) {
                let plain = piece.trim_end_matches(['"', '\\']);
                write_visible(self.0, plain)?;
                if let Some(special) = piece[plain.len()..].chars().next() {
                    self.0.write_char('\\')?;
                    self.0.write_char(special)?;
                }
            }
            Ok(())
        }
    }
    out.write_char('"')?;
    Quoted(out).write_fmt(text)?;
    out.write_char('"')
}

/// Milliseconds down to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn hostile() -> Entry<'static> {
        Entry {
            time: UNIX_EPOCH + Duration::from_millis(1_795_380_306_007),
            method: "GET",
            path: "/a\"b\\c",
            authority: "h\r\nx",
            protocol: "HTTP/1.1",
            status: None,
            request_bytes: 1,
            response_bytes: 2,
            duration: Duration::from_micros(1_234),
            filters: Duration::from_nanos(999),
            listener: "edge",
            route: Some("api"),
            cluster: Some("app"),
            upstream: Some(([10, 0, 0, 1], 80).into()),
            client: ([127, 0, 0, 1], 5000).into(),
            client_address: None,
            user_agent: Some(b"curl\x1b[0m\xff"),
            request_id: None,
            reason: Some("upstream_connect"),
            properties: &[("user", b"mia\"\n\xff"), ("plan", b"")],
        }
    }

    #[test]
    fn a_json_line_is_one_line_and_gives_back_what_was_sent() {
        let mut line = Vec::new();

        json(&mut line, &hostile());

        assert!(!line.contains(&b'\n') && !line.contains(&b'\x1b'));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["path"], "/a\"b\\c");
        assert_eq!(value["authority"], "h\r\nx");
        assert_eq!(value["status"], serde_json::Value::Null);
        assert_eq!(value["duration_ms"], 1.234);
        assert_eq!(value["filters_ms"], 0.0);
        assert_eq!(value["user_agent"], "curl\u{1b}[0m\u{fffd}");
        assert_eq!(value["time"], "2026-11-22T20:45:06.007Z");
        assert!(value.get("request_id").is_none());
        assert_eq!(value["properties"], serde_json::json!({ "user": "mia\"\n\u{fffd}", "plan": "" }));
    }

    #[test]
    fn a_property_is_shown_up_to_its_bound_and_cut_between_characters() {
        let (longest, longer, torn) = ("a".repeat(256), "a".repeat(257), format!("{}é", "a".repeat(255)));
        for (value, shown) in [(&longest, 256), (&longer, 256), (&torn, 255)] {
            let properties = [("user", value.as_bytes())];
            let mut line = Vec::new();

            json(&mut line, &Entry { properties: &properties, ..hostile() });

            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value["properties"]["user"], "a".repeat(shown));
        }
    }

    #[test]
    fn without_properties_nothing_is_said_of_them() {
        let (mut object, mut words) = (Vec::new(), Vec::new());
        let entry = Entry { properties: &[], ..hostile() };

        json(&mut object, &entry);
        text(&mut words, &entry);

        let value: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert!(value.get("properties").is_none());
        assert!(words.ends_with("\u{fffd}\"".as_bytes()));
    }

    #[test]
    fn a_text_line_escapes_what_clients_sent() {
        let mut line = Vec::new();

        text(&mut line, &hostile());

        assert_eq!(
            String::from_utf8(line).unwrap(),
            "2026-11-22T20:45:06.007Z 127.0.0.1:5000 \"GET /a\\\"b\\\\c HTTP/1.1\" - in=1 out=2 time=1.234ms \
             filters=0ms host=\"h\\r\\nx\" listener=\"edge\" route=\"api\" cluster=\"app\" upstream=10.0.0.1:80 \
             reason=\"upstream_connect\" agent=\"curl\\u{1b}[0m\u{fffd}\" \
             \"user\"=\"mia\\\"\\n\u{fffd}\" \"plan\"=\"\""
        );
    }
}
