//! The head of a request: where it ends, and what its framing fields say. Names and values are checked by hyper.

use memchr::memchr;

use crate::error::Reason;
use crate::exchange::hop::TARGET_LIMIT;
use crate::listener::framing::Bounds;

/// The longest method that is read, in bytes; the longest that is registered has 18.
const METHOD_LIMIT: usize = 64;
/// The longest request line: method, target, version and two spaces.
const LINE_LIMIT: usize = METHOD_LIMIT + TARGET_LIMIT + b"  HTTP/1.1".len();
/// The longest field line.
const FIELD_LIMIT: usize = 32 * 1024;
/// The most that a body may be said to hold: more does not fit signed arithmetic, which others use.
const LENGTH_LIMIT: u64 = 1 << 63;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes; none without framing fields.
    Length(u64),
    /// Chunks.
    Chunks,
}

/// How far a head was looked at, and what was found. Every line is looked at once, however slowly a head comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the next line begins.
    line: usize,
    /// Where the next line is known to have no end before.
    seen: usize,
    fields: usize,
    stage: Stage,
    is_http10: bool,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    /// After one empty line.
    Skipped,
    Fields,
}

impl Scan {
    /// The length of the head and what follows it, once it is whole. `bytes` begins where the head does, each time.
    pub(super) fn look(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<(usize, Body)>, Reason> {
        while let Some(end) = memchr(b'\n', &bytes[self.seen..]).map(|at| self.seen + at) {
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Reason::BadRequest("bare_lf"))?;
            (self.line, self.seen) = (end + 1, end + 1);
            if self.line > bounds.bytes {
                return Err(self.too_long());
            }
            match self.stage {
                Stage::Start if line.is_empty() => self.stage = Stage::Skipped,
                Stage::Start | Stage::Skipped => self.request_line(line)?,
                Stage::Fields if line.is_empty() => return self.body().map(|body| Some((self.line, body))),
                Stage::Fields => self.field(line, bounds)?,
            }
        }
        self.seen = bytes.len();
        let open = bytes.len() - self.line;
        let limit = if self.stage == Stage::Fields { FIELD_LIMIT } else { LINE_LIMIT };
        // What ends the line is not part of it.
        if bytes.len() >= bounds.bytes || open > limit + 1 {
            return Err(self.too_long());
        }
        Ok(None)
    }

    fn too_long(&self) -> Reason {
        if self.stage == Stage::Fields { Reason::HeadersTooLarge } else { Reason::TargetTooLong }
    }

    /// RFC 9112 §3: method, target and version, with one space between them.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Reason> {
        if line.len() > LINE_LIMIT {
            return Err(Reason::TargetTooLong);
        }
        let malformed = Reason::BadRequest("request_line_malformed");
        let Some(method) = memchr(b' ', line).filter(|length| (1..=METHOD_LIMIT).contains(length)) else {
            return Err(malformed);
        };
        let rest = &line[method + 1..];
        let Some(target) = memchr(b' ', rest).filter(|length| *length > 0) else { return Err(malformed) };
        if memchr(b'#', &rest[..target]).is_some() {
            return Err(Reason::BadRequest("target_with_fragment"));
        }
        self.is_http10 = match &rest[target + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Reason::UnknownVersion);
            }
            _ => return Err(malformed),
        };
        self.stage = Stage::Fields;
        Ok(())
    }

    fn field(&mut self, line: &[u8], bounds: Bounds) -> Result<(), Reason> {
        self.fields += 1;
        if line.len() > FIELD_LIMIT || self.fields > bounds.fields {
            return Err(Reason::HeadersTooLarge);
        }
        // Few names begin like these two and are as long.
        match line.first() {
            Some(b'c' | b'C') => match value(line, b"content-length") {
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            Some(b't' | b'T') => match value(line, b"transfer-encoding") {
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// RFC 9110 §8.6: one value of digits. Two that are equal are two that a reader before us may have seen otherwise.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Reason> {
        let invalid = Reason::BadRequest("content_length_invalid");
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok()).filter(|length| *length < LENGTH_LIMIT);
        match (length, self.length) {
            (Some(length), None) => self.length = Some(length),
            _ => return Err(invalid),
        }
        Ok(())
    }

    /// RFC 9112 §6.1: a coding that is not understood leaves no way to find the end.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reason::BadRequest("transfer_encoding_unknown"));
        }
        self.is_chunked = true;
        Ok(())
    }

    /// RFC 9112 §6.3, without what it lets a server guess.
    fn body(&self) -> Result<Body, Reason> {
        match (self.is_chunked, self.length) {
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
            (true, Some(_)) => Err(Reason::BadRequest("two_framings")),
            (true, None) if self.is_http10 => Err(Reason::BadRequest("transfer_encoding_not_allowed")),
            (true, None) => Ok(Body::Chunks),
        }
    }
}

/// The value of a field line, if it has that name. RFC 9112 §5.1: nothing stands between name and colon.
pub(super) fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (named, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| named.eq_ignore_ascii_case(name))?;
    Some(trimmed(value))
}

/// Without optional whitespace (RFC 9110 §5.6.3), which is narrower than what Rust calls whitespace.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
