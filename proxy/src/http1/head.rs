//! Heads: found whole, taken apart, and written.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use memchr::memchr;

/// Fields for which there is room without an allocation.
const FEW: usize = 100;
/// Fields for which a map has room beside those that were found: some are added on the way, and hyper's server takes the map
/// of an answer for the next request.
const MORE: usize = 8;

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// Against the grammar.
    Malformed,
    /// More fields than may be.
    TooMany,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) fields: HeaderMap,
}

/// The length of the head that `bytes` begin with, empty line included, once it is whole. `seen` of them hold no line end that
/// was not looked at; it is moved on. A line may end with a line feed alone (RFC 9112 §2.2).
pub(crate) fn find_end(bytes: &[u8], seen: &mut usize) -> Option<usize> {
    while let Some(at) = bytes.get(*seen..).and_then(|rest| memchr(b'\n', rest)) {
        let next = *seen + at + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            // What ends the head may be on its way.
            [] | [b'\r'] => {
                *seen = next - 1;
                return None;
            }
            _ => *seen = next,
        }
    }
    *seen = bytes.len();
    None
}

/// Takes the head of an answer apart, which is whole.
pub(crate) fn answer(head: &Bytes, most: usize) -> Result<Answer, NoHead> {
    if most <= FEW {
        answer_within(head, &mut [const { MaybeUninit::uninit() }; FEW][..most])
    } else {
        answer_within(head, &mut vec![MaybeUninit::uninit(); most])
    }
}

fn answer_within<'b>(head: &'b Bytes, room: &mut [MaybeUninit<httparse::Header<'b>>]) -> Result<Answer, NoHead> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, room) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(NoHead::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(NoHead::TooMany),
        Err(_) => return Err(NoHead::Malformed),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(NoHead::Malformed)?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok(Answer { status, version, fields: fields(head, parsed.headers)? })
}

/// The fields that were found in `head`, as parts of it.
pub(crate) fn fields(head: &Bytes, found: &[httparse::Header<'_>]) -> Result<HeaderMap, NoHead> {
    let mut fields = HeaderMap::with_capacity(found.len() + MORE);
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| NoHead::Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| NoHead::Malformed)?;
        fields.try_append(name, value).map_err(|_| NoHead::TooMany)?;
    }
    Ok(fields)
}

/// Writes a field and its line's end.
pub(crate) fn write_field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + b": \r\n".len());
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal digits.
pub(crate) fn write_number(out: &mut BytesMut, mut number: u64) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_does_not_depend_on_how_it_is_cut() {
        for head in ["HTTP/1.1 200 OK\r\na: b\r\n\r\n", "HTTP/1.1 200 OK\na: b\n\n", "HTTP/1.1 200 OK\r\na: b\n\r\n"] {
            let bytes = [head, "rest\n\n"].concat();
            for cut in 0..head.len() {
                let mut seen = 0;
                assert_eq!(find_end(&bytes.as_bytes()[..cut], &mut seen), None, "{cut}");
                assert_eq!(find_end(bytes.as_bytes(), &mut seen), Some(head.len()), "{cut}");
            }
        }
    }

    #[test]
    fn fields_are_parts_of_the_head() {
        let head =
            Bytes::from_static(b"HTTP/1.0 404 Not Found\r\nServer: a\r\nset-cookie: b\r\nSet-Cookie:\tc \r\n\r\n");

        let answer = answer(&head, 3).unwrap();

        assert_eq!((answer.status.as_u16(), answer.version), (404, Version::HTTP_10));
        assert_eq!(answer.fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(super::answer(&head, 2).unwrap_err(), NoHead::TooMany);
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [0, 9, 10, 4096, u64::MAX] {
            let mut out = BytesMut::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
