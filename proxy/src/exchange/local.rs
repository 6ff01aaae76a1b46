//! An answer of a filter as a head and a body.
//!
//! Whether it may be sent at all is for the stream to say, and which filters see it for whoever answers.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tollgate_abi::{HeaderMap as _, LocalResponse};

use crate::exchange::head::{Fields, ResponseHead};

/// True for a gRPC request, whose failures are told in gRPC's own words.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Head and body, in gRPC's form for gRPC (trailers-only).
pub fn compose(local: LocalResponse, is_grpc: bool) -> (ResponseHead, Bytes) {
    if is_grpc {
        return (grpc_head(&local), Bytes::new());
    }
    let status = StatusCode::from_u16(local.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut fields = Fields::new(HeaderMap::new(), local.headers.len());
    add_all(&mut fields, &local.headers);
    if !local.body.is_empty() && !fields.map.contains_key(header::CONTENT_TYPE) {
        fields.map.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    (ResponseHead { status, fields }, Bytes::from(local.body))
}

/// gRPC over HTTP/2, "Responses": a trailers-only answer. Without a code the status is mapped as gRPC's table says.
fn grpc_head(local: &LocalResponse) -> ResponseHead {
    let code = local.grpc_status.unwrap_or(match local.status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    });
    let mut fields = Fields::new(HeaderMap::new(), local.headers.len());
    add_all(&mut fields, &local.headers);
    fields.map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.map.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)));
    match HeaderValue::from_str(&percent_encode(&local.body)) {
        Ok(message) if !message.is_empty() => drop(fields.map.insert(HeaderName::from_static("grpc-message"), message)),
        _ => {}
    }
    ResponseHead { status: StatusCode::OK, fields }
}

/// Adds what a filter wants on its answer, without what may not be there: the filter has been told of it.
fn add_all(fields: &mut Fields, wanted: &[(Vec<u8>, Vec<u8>)]) {
    wanted.iter().for_each(|(name, value)| drop(fields.add(name, value)));
}

/// gRPC's percent-encoding of a status message: printable ASCII but `%` stays.
fn percent_encode(message: &[u8]) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(message.len());
    for byte in message.trim_ascii_end() {
        match byte {
            b' '..=b'~' if *byte != b'%' => encoded.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(status: u16, body: &str) -> LocalResponse {
        LocalResponse {
            status,
            details: Vec::new(),
            headers: vec![(b"x-why".to_vec(), b"tenant".to_vec()), (b"content-length".to_vec(), b"9".to_vec())],
            body: body.as_bytes().to_vec(),
            grpc_status: None,
        }
    }

    fn fields(head: &ResponseHead) -> Vec<(&str, &str)> {
        head.fields.map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_answer_has_the_fields_that_may_be_there_and_says_what_its_body_is() {
        let (head, body) = compose(local(403, "no"), false);
        let (without, nothing) = compose(local(204, ""), false);

        assert_eq!((head.status.as_u16(), &body[..]), (403, &b"no"[..]));
        assert_eq!(fields(&head), [("x-why", "tenant"), ("content-type", "text/plain; charset=utf-8")]);
        assert_eq!((fields(&without), nothing.len()), (vec![("x-why", "tenant")], 0));
    }

    #[test]
    fn a_grpc_client_is_told_in_grpcs_own_words() {
        let (head, body) = compose(local(403, "100 %"), true);

        assert_eq!((head.status.as_u16(), body.len()), (200, 0));
        let said = fields(&head);
        assert!(said.contains(&("grpc-status", "7")) && said.contains(&("grpc-message", "100 %25")), "{said:?}");
    }
}
