//! The request that filters are measured with, as a file holds it: an HTTP/1.1 message (RFC 9112 §2.1) whose lines may end
//! in LF alone, and whose body is everything behind the empty line. What a proxy would refuse is refused here, and what it
//! would not show to a filter is left out.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};
use tollgate_abi::HeaderMap as _;
use tollgate_config::{ByteSize, Limits, PathSpelling};

use crate::error::Reason;
use crate::exchange::head::RequestHead;
use crate::exchange::hop;
use crate::exchange::hop::host::Host;

/// The host of a request that names none.
const HOST: &str = "toll.invalid";
/// The request where no other is given: what a client of an API sends.
pub const USUAL: &[u8] =
    b"GET / HTTP/1.1\nuser-agent: tollgate\naccept: */*\nx-request-id: 0d1f5f1c-5f3e-4f6a-9d2b-3c0a4a9b7e21\n";

/// A request that may be sent.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its head, as a filter sees it.
    pub(super) head: RequestHead,
    /// Its body.
    pub(super) body: Bytes,
}

/// Why a text is no request. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// There is nothing.
    #[error("the request is empty; it begins with a line such as `GET /path HTTP/1.1`")]
    Empty,
    /// The first line is none of a request.
    #[error("line 1: {0:?} is no request line such as `GET /path HTTP/1.1`")]
    RequestLine(String),
    /// A line of the head is no field.
    #[error("line {line}: {text:?} is no field such as `accept: */*`; an empty line ends the head")]
    Field {
        /// Which.
        line: usize,
        /// What it says.
        text: String,
    },
    /// There are two ways to find the end of the body.
    #[error("line {0}: a request in a file has no transfer-encoding; its body is everything behind the empty line")]
    Coding(usize),
    /// Two lines name a host.
    #[error("line {0}: this is the second host; a request has one")]
    SecondHost(usize),
    /// There are more fields than a client may send.
    #[error("the head has {found} fields, and a client may send {most}")]
    Fields {
        /// As many as there are.
        found: usize,
        /// As many as a proxy takes.
        most: usize,
    },
    /// The body is shorter than a field says.
    #[error("content-length is {declared}, and {found} bytes follow the head")]
    Length {
        /// As the field says.
        declared: String,
        /// As it is.
        found: usize,
    },
    /// A filter cannot have the whole body at once.
    #[error("the body has {found} bytes, and a filter may hold {most}")]
    Body {
        /// As long as it is.
        found: usize,
        /// As long as it may be.
        most: ByteSize,
    },
    /// The head is longer than a client may send.
    #[error("the head has {found} bytes, and a client may send {most}")]
    Head {
        /// As long as it is.
        found: usize,
        /// As long as it may be.
        most: ByteSize,
    },
    /// The head is not text.
    #[error("the head is not text")]
    Bytes,
    /// A proxy refuses it.
    #[error("a proxy refuses this request: {0}")]
    Refused(Reason),
}

/// The most bytes of a file that can hold a request.
pub fn longest() -> u64 {
    let Limits { header_bytes, buffer, .. } = Limits::default();
    header_bytes.bytes().saturating_add(buffer.bytes())
}

/// Reads a request.
///
/// # Errors
/// See [`BadRequest`].
pub fn parse(text: &[u8]) -> Result<Asked, BadRequest> {
    let (head, body) = split(text);
    let most = Limits::default().header_bytes;
    if head.len() > most.as_usize() {
        return Err(BadRequest::Head { found: head.len(), most });
    }
    let head = std::str::from_utf8(head).map_err(|_| BadRequest::Bytes)?;
    let mut lines = head.lines().enumerate().map(|(place, line)| (place + 1, line));
    let (_, first) = lines.next().ok_or(BadRequest::Empty)?;
    let mut request = request_line(first)?;
    *request.headers_mut() = fields(lines)?;
    let body = bounded(request.headers(), body)?;
    accepted(request, body)
}

/// Head and body. The line that parts them belongs to neither.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if line == b"\n" || line == b"\r\n" {
            return (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
        }
        start = end;
    }
    (text, &[])
}

fn request_line(line: &str) -> Result<Request<()>, BadRequest> {
    let wrong = || BadRequest::RequestLine(line.to_owned());
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(wrong());
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
    *request.uri_mut() = Uri::try_from(target).map_err(|_| wrong())?;
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

fn fields<'t>(lines: impl Iterator<Item = (usize, &'t str)>) -> Result<HeaderMap, BadRequest> {
    let mut map = HeaderMap::new();
    for (line, text) in lines {
        let (name, value) = field(text).ok_or_else(|| BadRequest::Field { line, text: text.to_owned() })?;
        match name {
            header::TRANSFER_ENCODING => return Err(BadRequest::Coding(line)),
            header::HOST if map.contains_key(header::HOST) => return Err(BadRequest::SecondHost(line)),
            _ => drop(map.append(name, value)),
        }
    }
    let (found, most) = (map.len(), Limits::default().headers);
    if found > most {
        return Err(BadRequest::Fields { found, most });
    }
    if !map.contains_key(header::HOST) {
        map.insert(header::HOST, HeaderValue::from_static(HOST));
    }
    Ok(map)
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(value.trim_matches([' ', '\t'])).ok()?))
}

/// Editors end files with a line break that is no part of the body: a declared length leaves it out.
fn bounded(fields: &HeaderMap, body: &[u8]) -> Result<Bytes, BadRequest> {
    let found = body.len();
    let body = match hop::content_length(fields).map_err(BadRequest::Refused)? {
        None => body,
        Some(declared) => {
            let end = usize::try_from(declared).unwrap_or(usize::MAX);
            let short = || BadRequest::Length { declared: declared.to_string(), found };
            body.get(..end).ok_or_else(short)?
        }
    };
    let most = Limits::default().buffer;
    if body.len() > most.as_usize() {
        return Err(BadRequest::Body { found: body.len(), most });
    }
    Ok(Bytes::copy_from_slice(body))
}

fn accepted(request: Request<()>, body: Bytes) -> Result<Asked, BadRequest> {
    let accepted = hop::accept(request, Limits::default().headers, PathSpelling::Normalize, &Host::default());
    let (accepted, ()) = accepted.map_err(BadRequest::Refused)?;
    Ok(Asked { head: accepted.head, body })
}

impl Asked {
    /// All of it in one text, to tell it from others by.
    pub(super) fn spelled(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.head.for_each(&mut |name, value| text.extend([name, b": ", value, b"\n"].concat()));
        text.push(b'\n');
        text.extend(&self.body);
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn spelled(text: &str) -> String {
        String::from_utf8(parse(text.as_bytes()).unwrap().spelled()).unwrap()
    }

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_request_is_read_with_either_end_of_line() {
        for end in ["\n", "\r\n"] {
            let text = format!("POST /a?b HTTP/1.1{end}Host: x:1{end}Accept:  */* {end}{end}one\ntwo");

            let pseudo = ":authority: x:1\n:path: /a?b\n:method: POST\n:scheme: http\n";
            assert_eq!(spelled(&text), format!("{pseudo}accept: */*\n\none\ntwo"));
        }
    }

    #[test]
    fn a_head_alone_is_a_request() {
        assert_eq!(spelled("GET / HTTP/1.1\n"), ":authority: toll.invalid\n:path: /\n:method: GET\n:scheme: http\n\n");
        assert_eq!(parse(USUAL).unwrap().head.fields.len(), 3);
    }

    #[test]
    fn a_declared_length_bounds_the_body() {
        assert_eq!(&parse(b"POST / HTTP/1.1\ncontent-length: 2\n\nab\n").unwrap().body[..], b"ab");
        let short = refused("POST / HTTP/1.1\ncontent-length: 9\n\nab");
        assert_eq!(short, "content-length is 9, and 2 bytes follow the head");
    }

    #[test]
    fn what_belongs_to_the_connection_is_not_shown_to_filters() {
        let text =
            "GET / HTTP/1.1\nconnection: x-mine, close\nx-mine: 1\nkeep-alive: 5\nproxy-authorization: a\nx-kept: 1\n";

        assert!(spelled(text).ends_with(":scheme: http\nx-kept: 1\n\n"), "{}", spelled(text));
    }

    #[test]
    fn a_body_may_be_as_long_as_a_filter_can_hold_it() {
        let most = Limits::default().buffer.as_usize();
        let with_body = |length: usize| format!("POST / HTTP/1.1\n\n{}", "x".repeat(length));

        assert_eq!(parse(with_body(most).as_bytes()).unwrap().body.len(), most);
        assert_eq!(refused(&with_body(most + 1)), "the body has 1048577 bytes, and a filter may hold 1MiB");
    }

    #[test]
    fn a_head_may_be_as_long_as_a_client_may_send_it() {
        let fields = |count: usize| format!("GET / HTTP/1.1\n{}", "a: b\n".repeat(count));
        let long = |length: usize| format!("GET / HTTP/1.1\na: {}", "b".repeat(length));
        let most = Limits::default().header_bytes.as_usize() - "GET / HTTP/1.1\na: ".len();

        assert_eq!(parse(fields(100).as_bytes()).unwrap().head.fields.len(), 100);
        assert_eq!(refused(&fields(101)), "the head has 101 fields, and a client may send 100");
        assert!(parse(long(most).as_bytes()).is_ok());
        assert_eq!(refused(&long(most + 1)), "the head has 61441 bytes, and a client may send 60KiB");
    }

    #[test]
    fn what_is_none_is_named_with_its_line() {
        for (text, said) in [
            ("", "the request is empty; it begins with a line such as `GET /path HTTP/1.1`"),
            ("GET /", "line 1: \"GET /\" is no request line such as `GET /path HTTP/1.1`"),
            ("GET a HTTP/1.1", "line 1: \"GET a HTTP/1.1\" is no request line such as `GET /path HTTP/1.1`"),
            ("G{T / HTTP/1.1", "line 1: \"G{T / HTTP/1.1\" is no request line such as `GET /path HTTP/1.1`"),
            ("GET / HTTP/1.1 ", "line 1: \"GET / HTTP/1.1 \" is no request line such as `GET /path HTTP/1.1`"),
            (
                "GET / HTTP/1.1\na: b\nno field",
                "line 3: \"no field\" is no field such as `accept: */*`; an empty line ends the head",
            ),
            (
                "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n",
                "line 2: a request in a file has no transfer-encoding; its body is everything behind the empty line",
            ),
            ("GET / HTTP/1.1\nhost: a\nHost: a\n", "line 3: this is the second host; a request has one"),
            ("GET /%2f HTTP/1.1\n", "a proxy refuses this request: bad_request:path_escaped_slash"),
            ("GET / HTTP/1.1\nhost: a@b\n", "a proxy refuses this request: bad_request:userinfo"),
            (
                "GET / HTTP/1.1\ncontent-length: 0\ncontent-length: 0\n",
                "a proxy refuses this request: bad_request:content_length_invalid",
            ),
        ] {
            assert_eq!(refused(text), said);
        }
        assert_eq!(parse(b"GET / HTTP/1.1\na: \xff\n").unwrap_err(), BadRequest::Bytes);
    }

    proptest! {
        #[test]
        fn whatever_bytes_there_are_they_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text);
            let _ = parse(&[b"GET / HTTP/1.1\n", &text[..]].concat());
        }

        #[test]
        fn what_was_written_is_read(
            path in "/[a-z0-9]{0,8}",
            fields in proptest::collection::vec(("x-[a-z]{1,8}", "[!-~]([ -~]{0,8}[!-~])?"), 0..20),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let head: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text = [format!("PUT {path} HTTP/1.1\r\n{head}\r\n").as_bytes(), &body[..]].concat();

            let asked = parse(&text).unwrap();

            prop_assert_eq!((asked.head.path.as_str(), &asked.body[..]), (&path[..], &body[..]));
            prop_assert_eq!(asked.head.fields.len(), fields.len());
            for (name, value) in &fields {
                let mut found = asked.head.fields.map.get_all(name).iter();
                prop_assert!(found.any(|found| found.as_bytes() == value.as_bytes()));
            }
        }
    }
}
