//! The request that filters are measured with, as a file holds it: an HTTP/1.1 message (RFC 9112 §2.1) whose lines may end
//! in LF alone.

use http::header::{HeaderName, HeaderValue};
use tollgate_config::TestRequest;

/// The host of a request that names none.
const HOST: &str = "toll.invalid";

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
    /// The body is shorter than a field says.
    #[error("content-length is {declared}, and {found} bytes follow the head")]
    Length {
        /// As the field says.
        declared: String,
        /// As it is.
        found: usize,
    },
    /// The head is not text.
    #[error("the head is not text")]
    Bytes,
}

/// Reads a request. Without a field that says otherwise everything behind the empty line is the body.
///
/// # Errors
/// See [`BadRequest`].
pub fn parse(text: &[u8]) -> Result<TestRequest, BadRequest> {
    let (head, body) = split(text);
    let head = std::str::from_utf8(head).map_err(|_| BadRequest::Bytes)?;
    let mut lines = head.lines().enumerate().map(|(place, line)| (place + 1, line));
    let (_, first) = lines.next().ok_or(BadRequest::Empty)?;
    let (method, path) = request_line(first)?;
    let mut request = TestRequest { method, path, host: HOST.to_owned(), headers: Vec::new(), body: body.to_vec() };
    for (line, text) in lines {
        let (name, value) = field(text).ok_or_else(|| BadRequest::Field { line, text: text.to_owned() })?;
        match name.as_str() {
            "host" => request.host = value,
            _ => request.headers.push((name, value)),
        }
    }
    bound(request)
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

fn request_line(line: &str) -> Result<(String, String), BadRequest> {
    let wrong = || BadRequest::RequestLine(line.to_owned());
    let mut words = line.split(' ');
    let (method, path) = words.next().zip(words.next()).ok_or_else(wrong)?;
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let is_token = http::Method::from_bytes(method.as_bytes()).is_ok();
    let is_one = is_http && is_token && path.starts_with('/') && words.next().is_none();
    if is_one { Ok((method.to_owned(), path.to_owned())) } else { Err(wrong()) }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = HeaderValue::from_str(value.trim()).ok()?;
    Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
}

/// Editors end files with a line break that is no part of the body: a declared length leaves it out.
fn bound(mut request: TestRequest) -> Result<TestRequest, BadRequest> {
    let found = request.body.len();
    let Some((_, declared)) = request.headers.iter().find(|(name, _)| name == "content-length") else {
        if found > 0 {
            request.headers.push(("content-length".to_owned(), found.to_string()));
        }
        return Ok(request);
    };
    let length = declared.parse().ok().filter(|length| *length <= found);
    let length = length.ok_or_else(|| BadRequest::Length { declared: declared.clone(), found })?;
    request.body.truncate(length);
    Ok(request)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_request_is_read_with_either_end_of_line() {
        for end in ["\n", "\r\n"] {
            let text = format!("POST /a?b HTTP/1.1{end}Host: x:1{end}Accept:  */* {end}{end}one\ntwo");

            let request = parse(text.as_bytes()).unwrap();

            assert_eq!(
                (request.method.as_str(), request.path.as_str(), request.host.as_str()),
                ("POST", "/a?b", "x:1")
            );
            let fields = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            assert!(fields.eq([("accept", "*/*"), ("content-length", "7")]));
            assert_eq!(request.body, b"one\ntwo");
        }
    }

    #[test]
    fn a_head_alone_is_a_request() {
        let request = parse(b"GET / HTTP/1.1\n").unwrap();

        assert_eq!((request.host.as_str(), request.headers.len(), request.body.len()), (HOST, 0, 0));
    }

    #[test]
    fn a_declared_length_bounds_the_body() {
        assert_eq!(parse(b"POST / HTTP/1.1\ncontent-length: 2\n\nab\n").unwrap().body, b"ab");
        let short = parse(b"POST / HTTP/1.1\ncontent-length: 9\n\nab").unwrap_err();
        assert_eq!(short.to_string(), "content-length is 9, and 2 bytes follow the head");
    }

    #[test]
    fn what_is_none_is_named_with_its_line() {
        for (text, said) in [
            ("", "the request is empty; it begins with a line such as `GET /path HTTP/1.1`"),
            ("GET /", "line 1: \"GET /\" is no request line such as `GET /path HTTP/1.1`"),
            ("GET a HTTP/1.1", "line 1: \"GET a HTTP/1.1\" is no request line such as `GET /path HTTP/1.1`"),
            ("G{T / HTTP/1.1", "line 1: \"G{T / HTTP/1.1\" is no request line such as `GET /path HTTP/1.1`"),
            (
                "GET / HTTP/1.1\na: b\nno field",
                "line 3: \"no field\" is no field such as `accept: */*`; an empty line ends the head",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), said);
        }
    }
}
