//! What heads say of the bytes behind them: written for a request, read for an answer (RFC 9112 §6).

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Version};

use crate::http1::decode::Decoder;
use crate::http1::head::{self, write_field, write_number};
use crate::upstream::body::RequestBody;
use crate::upstream::h1::Fault;

/// What follows a head (RFC 9112 §6.3). Who passes it on looks closer at its fields.
pub(super) fn decoder(answer: &head::Answer, is_head: bool, trailers: usize) -> Result<Decoder, Fault> {
    let status = answer.status.as_u16();
    if is_head || matches!(status, 101 | 204 | 304) {
        return Ok(Decoder::DONE);
    }
    let mut codings = answer.fields.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(last) = codings.next_back() {
        return match (answer.version, is_chunked(last)) {
            (Version::HTTP_10, _) => Err(Fault::Malformed),
            (_, true) => Ok(Decoder::chunks(trailers)),
            (_, false) => Ok(Decoder::Close),
        };
    }
    let fields = answer.fields.get_all(header::CONTENT_LENGTH).iter();
    // Whoever passes the head on refuses a list, in words of its own.
    let mut lengths = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(length);
    let Some(first) = lengths.next() else { return Ok(Decoder::Close) };
    let length = first.filter(|_| lengths.all(|other| other == first)).ok_or(Fault::Malformed)?;
    Ok(Decoder::Length(length))
}

fn is_chunked(coding: &HeaderValue) -> bool {
    let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// One that signed arithmetic bears, which others use.
fn length(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text.trim_ascii()).ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|length| *length < 1 << 63)
}

/// True where a head says that its connection ends behind its message (RFC 9112 §9.3).
pub(super) fn closes(fields: &HeaderMap, version: Version) -> bool {
    let says = |word: &str| {
        let values = fields.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case(word))
    };
    if version == Version::HTTP_10 { !says("keep-alive") } else { says("close") }
}

/// Writes a request's head; `body` has a length or none, and is absent where there is nothing to send.
pub(super) fn write_head(out: &mut BytesMut, request: &Request<RequestBody>, body: Option<Option<u64>>) {
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
    out.reserve(target.len() + 512);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        // What frames the body is said below; that there is none, by whoever made the request.
        let frames = name == header::TRANSFER_ENCODING || (name == header::CONTENT_LENGTH && body.is_some());
        if !frames {
            write_field(out, name, value.as_bytes());
        }
    }
    match body {
        Some(Some(length)) => {
            out.extend_from_slice(b"content-length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n\r\n");
        }
        Some(None) => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        None => out.extend_from_slice(b"\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(fields: &str) -> head::Answer {
        head::answer(&Bytes::from(format!("HTTP/1.{fields}\r\n\r\n")), 100).unwrap()
    }

    fn behind(head: &str, is_head: bool) -> Option<Decoder> {
        decoder(&answer(head), is_head, 100).ok()
    }

    #[test]
    fn what_follows_an_answer_is_what_it_says() {
        let chunks = Some(Decoder::chunks(100));
        for (head, due) in [
            ("1 200 OK\r\ncontent-length: 3", Some(Decoder::Length(3))),
            ("1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3", Some(Decoder::Length(3))),
            ("1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4", None),
            ("1 200 OK\r\ncontent-length: 3, 3", Some(Decoder::Length(3))),
            ("1 200 OK\r\ncontent-length: 3,4", None),
            ("1 200 OK\r\ncontent-length: ", None),
            ("1 200 OK\r\ncontent-length: +3", None),
            ("1 200 OK\r\ncontent-length: 9223372036854775808", None),
            ("1 200 OK\r\ntransfer-encoding: chunked", chunks),
            ("1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\ncontent-length: 3", chunks),
            ("1 200 OK\r\ntransfer-encoding: gzip", Some(Decoder::Close)),
            ("0 200 OK\r\ntransfer-encoding: chunked", None),
            ("1 200 OK", Some(Decoder::Close)),
            ("1 204 No Content\r\ncontent-length: 3", Some(Decoder::DONE)),
            ("1 304 Not Modified\r\ntransfer-encoding: chunked", Some(Decoder::DONE)),
        ] {
            assert_eq!(behind(head, false), due, "{head}");
        }
        assert_eq!(behind("1 200 OK\r\ncontent-length: 3", true), Some(Decoder::DONE));
    }

    #[test]
    fn a_connection_goes_on_unless_either_side_says_otherwise() {
        for (head, ends) in [
            ("1 200 OK", false),
            ("1 200 OK\r\nconnection: x, Close", true),
            ("0 200 OK", true),
            ("0 200 OK\r\nconnection: Keep-Alive", false),
        ] {
            let answer = answer(head);
            assert_eq!(closes(&answer.fields, answer.version), ends, "{head}");
        }
    }

    #[test]
    fn a_request_says_how_its_body_ends_and_nothing_else_does() {
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = "/a?b".parse().unwrap();
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("h"));
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        for (body, due) in [
            (None, "content-length: 0\r\n\r\n"),
            (Some(Some(12)), "content-length: 12\r\n\r\n"),
            (Some(None), "transfer-encoding: chunked\r\n\r\n"),
        ] {
            let mut out = BytesMut::new();
            write_head(&mut out, &request, body);
            assert_eq!(std::str::from_utf8(&out).unwrap(), format!("GET /a?b HTTP/1.1\r\nhost: h\r\n{due}"));
        }
    }
}
