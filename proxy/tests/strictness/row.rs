//! A row of the table: bytes, the rule that they are for, and what becomes of them.

#![allow(dead_code, reason = "not every file of tests that reads the table looks at all of a row")]

/// What is sent behind the bytes of each row, in the same write.
pub(crate) const SECOND: &str = "GET /second HTTP/1.1\r\nhost: second\r\n\r\n";

/// How the listener is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Setting {
    /// Nothing is written.
    Default,
    /// `http: { path: keep, underscores: allow }`.
    Keep,
    /// The route has `upgrade: [connect]`.
    Tunnels,
}

/// What becomes of the bytes of a row.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The origin gets exactly these requests, each is answered 200, and the second request is served behind them.
    Passed(Vec<String>),
    /// The same, but the connection ends behind them, and the second request is not read.
    Last(Vec<String>),
    /// The origin gets exactly these requests; what follows is refused with this status, and nothing more is read.
    Refused(Vec<String>, u16),
    /// Answered 200 without a body, and the second request goes through the tunnel as it is.
    Tunnel,
    /// As bytes that go on: the client ends its side behind the row, nothing is answered, and no request reaches the origin.
    Dropped,
}

/// See the module.
pub(crate) struct Row {
    pub(crate) setting: Setting,
    /// The section that decides, of RFC 9110, 9112, 9113 or 3986; or the weakness (`CWE-…`) that is kept out where this proxy is
    /// stricter than they are, because readers are known that differ.
    pub(crate) cites: &'static str,
    /// The rule that this row alone is for.
    pub(crate) rule: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// Passed on as this one request: method and target, fields by name, and after an empty line the body and its trailers.
pub(crate) fn passed(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>, seen: &str) -> Row {
    row(cites, rule, bytes, Verdict::Passed(vec![seen.to_owned()]))
}

/// Passed on as these requests.
pub(crate) fn each(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>, seen: &[&str]) -> Row {
    row(cites, rule, bytes, Verdict::Passed(seen.iter().map(|seen| (*seen).to_owned()).collect()))
}

/// Passed on as this request, the last of its connection.
pub(crate) fn last(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>, seen: &str) -> Row {
    row(cites, rule, bytes, Verdict::Last(vec![seen.to_owned()]))
}

/// Refused with this status.
pub(crate) fn refused(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>, status: u16) -> Row {
    row(cites, rule, bytes, Verdict::Refused(Vec::new(), status))
}

/// Refused behind this request, which is passed on.
pub(crate) fn behind(
    cites: &'static str,
    rule: &'static str,
    bytes: impl Into<Vec<u8>>,
    seen: &str,
    status: u16,
) -> Row {
    row(cites, rule, bytes, Verdict::Refused(vec![seen.to_owned()], status))
}

/// Answered with a tunnel.
pub(crate) fn tunnel(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    row(cites, rule, bytes, Verdict::Tunnel)
}

/// Never finished by its client.
pub(crate) fn dropped(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    row(cites, rule, bytes, Verdict::Dropped)
}

fn row(cites: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>, verdict: Verdict) -> Row {
    Row { setting: Setting::Default, cites, rule, bytes: bytes.into(), verdict }
}

impl Row {
    /// The same where paths and underscores are kept.
    pub(crate) fn kept(self) -> Row {
        Row { setting: Setting::Keep, ..self }
    }

    /// The same where the route makes tunnels.
    pub(crate) fn with_tunnels(self) -> Row {
        Row { setting: Setting::Tunnels, ..self }
    }
}
