//! The fields in which both sides say that a connection changes its protocol (RFC 9110 §7.8).
//!
//! Which protocols that may be is for routes to say.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Version, request};

/// The only protocol that a message says its connection changes to, if there is one. A list is none: what follows would
/// depend on which of them the other side picks.
pub(super) fn named(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_named = headers.get_all(header::CONNECTION).iter().any(|named| names_upgrade(named.as_bytes()));
    let is_one = !value.is_empty() && !value.as_bytes().iter().any(|byte| matches!(byte, b',' | b' ' | b'\t'));
    (is_named && is_one).then(|| value.clone())
}

fn names_upgrade(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// True where a request may ask for `token`: in HTTP/1.1 alone, and for WebSockets as RFC 6455 §4.1 has it. An answer to HEAD
/// has nothing behind it.
pub(super) fn may_ask(parts: &request::Parts, token: &HeaderValue) -> bool {
    let fits = if is(token, "websocket") { parts.method == Method::GET } else { parts.method != Method::HEAD };
    parts.version == Version::HTTP_11 && fits
}

/// True for the protocol of that name, in whatever case.
pub fn is(token: &HeaderValue, name: &str) -> bool {
    token.as_bytes().eq_ignore_ascii_case(name.as_bytes())
}

/// Says that the connection changes to a protocol.
pub fn put(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}

/// Says nothing of the kind.
pub fn remove(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    headers.remove(header::UPGRADE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        named(&headers).map(|token| token.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_protocol_is_asked_for_with_both_fields_and_alone() {
        assert_eq!(found(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]).as_deref(), Some("WebSocket"));
        assert_eq!(
            found(&[("connection", "keep-alive, UPGRADE"), ("upgrade", "spdy/3.1")]).as_deref(),
            Some("spdy/3.1")
        );
        assert_eq!(
            found(&[("connection", "keep-alive"), ("connection", "upgrade"), ("upgrade", "x")]).as_deref(),
            Some("x")
        );
        for fields in [
            &[("upgrade", "websocket")][..],
            &[("connection", "upgrade")],
            &[("connection", "keep-alive"), ("upgrade", "websocket")],
            &[("connection", "upgrades"), ("upgrade", "websocket")],
            &[("connection", "upgrade"), ("upgrade", "h2c, websocket")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "websocket")],
            &[("connection", "upgrade"), ("upgrade", "")],
        ] {
            assert_eq!(found(fields), None, "{fields:?}");
        }
    }
}
