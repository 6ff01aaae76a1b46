//! Answers in the form that a client asked for: JSON for machines, text for people. What they say is others' business.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::page::parameter;

/// Text of Prometheus, in the version that every scraper reads.
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// Something said in both forms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) json: Value,
    /// With a line end.
    pub(super) text: String,
}

impl Reply {
    /// Something that was not done, in words that say what to do about it.
    pub(super) fn error(status: StatusCode, error: &str) -> Self {
        Self { status, json: json!({ "error": error }), text: format!("{error}\n") }
    }

    /// In the form that the request asks for: JSON, unless it wants `?text` or accepts `text/plain` alone of the two.
    pub(super) fn to(self, request: &Request<()>) -> Response<Full<Bytes>> {
        match wants_text(request) {
            true => response(self.status, TEXT, visible(&self.text)),
            false => response(self.status, JSON, format!("{:#}\n", self.json)),
        }
    }
}

fn wants_text(request: &Request<()>) -> bool {
    let ranges = || request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = || ranges().flat_map(|ranges| ranges.split(',')).filter_map(|range| range.split(';').next());
    let accepts = |wanted: &str| kinds().any(|kind| kind.trim().eq_ignore_ascii_case(wanted));
    parameter(request.uri().query(), "text").is_some() || accepts("text/plain") && !accepts(JSON)
}

/// The text without what steers a terminal: names in a module may be anything.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push(char),
            // A string takes every write.
            control if control.is_control() => drop(write!(shown, "{}", control.escape_default())),
            plain => shown.push(plain),
        }
    }
    shown
}

/// An answer that nobody is to keep.
pub(super) fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(target: &str, accept: &str) -> bool {
        wants_text(&Request::builder().uri(target).header(ACCEPT, accept).body(()).unwrap())
    }

    #[test]
    fn text_is_for_who_asks_for_it() {
        for accept in ["text/plain", "TEXT/plain; charset=utf-8", "text/html, text/plain;q=0.9"] {
            assert!(form("/filters", accept), "{accept}");
        }
        for accept in ["*/*", "", "text/html", "application/json", "application/json, text/plain"] {
            assert!(!form("/filters", accept), "{accept}");
            assert!(form("/filters?text", accept), "{accept}");
        }
    }

    #[test]
    fn text_steers_no_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\rc\nd\u{9b}"), "a\\u{1b}[2Jb\\rc\nd\\u{9b}");
    }
}
