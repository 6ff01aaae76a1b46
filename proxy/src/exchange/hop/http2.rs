//! What HTTP/2 leaves to its users before a request may take the form of HTTP/1.1 (RFC 9113 §8).
//!
//! Names, pseudo-header fields, lengths and fields of a connection are h2's to refuse, and refused by it.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Uri, Version, request};

use crate::error::Reason;

/// Checks a head and joins its cookies; one of HTTP/1.1 is left as it is.
pub(super) fn accept(parts: &mut request::Parts, field_limit: usize) -> Result<(), Reason> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    if parts.headers.len() > field_limit {
        return Err(Reason::HeadersTooLarge);
    }
    // RFC 9113 §8.2.1: HTTP/1.1 would take the space away, and read another value.
    if parts.headers.values().any(is_padded) {
        return Err(Reason::BadRequest("value_padded"));
    }
    check_scheme(&parts.uri)?;
    join_cookies(&mut parts.headers);
    Ok(())
}

fn is_padded(value: &HeaderValue) -> bool {
    let ends = [value.as_bytes().first(), value.as_bytes().last()];
    ends.into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

/// RFC 3986 §3.1: a scheme begins with a letter.
fn check_scheme(uri: &Uri) -> Result<(), Reason> {
    match uri.scheme_str() {
        Some(scheme) if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            Err(Reason::BadRequest("scheme_invalid"))
        }
        _ => Ok(()),
    }
}

/// RFC 9113 §8.2.3: cookies that came in pieces are one field elsewhere.
fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for piece in std::iter::once(second).chain(pieces) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(piece.as_bytes());
    }
    // What valid values are joined to is one, too.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(version: Version, fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = Request::get("http://a/").version(version).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    #[test]
    fn cookies_in_pieces_become_one_field_in_their_order() {
        let mut parts = head(Version::HTTP_2, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);

        accept(&mut parts, 100).unwrap();

        let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_head_has_so_many_fields_and_no_padded_value() {
        let fields = [("x", "1"), ("y", "2")];

        assert_eq!(accept(&mut head(Version::HTTP_2, &fields), 2), Ok(()));
        assert_eq!(accept(&mut head(Version::HTTP_2, &fields), 1), Err(Reason::HeadersTooLarge));
        for value in [" a", "a ", "\ta", "a\t", " "] {
            let padded = accept(&mut head(Version::HTTP_2, &[("x", value)]), 100);
            assert_eq!(padded, Err(Reason::BadRequest("value_padded")), "{value:?}");
        }
    }

    #[test]
    fn a_head_of_http1_is_left_as_it_is() {
        let mut parts = head(Version::HTTP_11, &[("cookie", "a=1"), ("cookie", "b=2")]);

        accept(&mut parts, 1).unwrap();

        assert_eq!(parts.headers.get_all("cookie").iter().count(), 2);
    }
}
