//! The lines of a chunked body (RFC 9112 §7.1): before each chunk, and the trailers behind the last one.

use memchr::memchr;

use crate::error::Reason;
use crate::listener::framing::{Bounds, head};

/// The most digits of a chunk's size.
const DIGITS: usize = 16;
/// The most bytes of extensions in one body. Nobody needs them, and they go no further.
const EXTENSIONS: usize = 1024;
/// The most bytes of a trailer section, with the line that ends it.
const TRAILER_BYTES: usize = 8 * 1024;
/// The most fields of a trailer section.
const TRAILERS: usize = 20;
/// RFC 9110 §6.5.1: what the receiver of a trailer would need before the body.
const NO_TRAILERS: [&[u8]; 6] =
    [b"content-length", b"transfer-encoding", b"host", b"trailer", b"connection", b"content-encoding"];

/// The line before a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// With its end.
    pub(super) length: usize,
    /// Of the chunk that follows.
    pub(super) size: u64,
    /// Bytes of its extensions.
    pub(super) extensions: usize,
}

/// The line at the beginning of `bytes`, once it is whole; `extensions` came in lines before.
pub(super) fn line(bytes: &[u8], extensions: usize) -> Result<Option<Line>, Reason> {
    let longest = DIGITS + EXTENSIONS.saturating_sub(extensions);
    let Some(end) = memchr(b'\n', &bytes[..bytes.len().min(longest + 2)]) else {
        // Of what is wrong in an unfinished line only its length cannot wait for the end.
        return if bytes.len() >= longest + 2 { Err(too_long(bytes)) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Reason::BadRequest("bare_lf"))?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = size(&line[..digits])?;
    if extensions + line.len() - digits > EXTENSIONS {
        return Err(too_long(bytes));
    }
    if !are_extensions(&line[digits..]) {
        return Err(Reason::BadRequest("chunk_extension_malformed"));
    }
    Ok(Some(Line { length: end + 1, size, extensions: line.len() - digits }))
}

fn too_long(bytes: &[u8]) -> Reason {
    let has_size = bytes.iter().take(DIGITS + 1).any(|byte| !byte.is_ascii_hexdigit());
    Reason::BadRequest(if has_size { "chunk_extensions_too_long" } else { "chunk_size_invalid" })
}

fn size(digits: &[u8]) -> Result<u64, Reason> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() <= DIGITS);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.filter(|size| *size < 1 << 63).ok_or(Reason::BadRequest("chunk_size_invalid"))
}

/// RFC 9112 §7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(named) = space(rest).strip_prefix(b";").map(space) else { return false };
        let name = token(named);
        if name == 0 {
            return false;
        }
        rest = &named[name..];
        let Some(said) = space(rest).strip_prefix(b"=").map(space) else { continue };
        let value = if said.first() == Some(&b'"') { quoted(said) } else { token(said) };
        if value == 0 {
            return false;
        }
        rest = &said[value..];
    }
    true
}

fn space(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[length..]
}

/// The length of the token at the beginning (RFC 9110 §5.6.2).
fn token(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_token(**byte)).count()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The length of the quoted string at the beginning (RFC 9110 §5.6.4); 0 where it does not end.
fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' if bytes.get(at + 1).is_some_and(|byte| is_text(*byte)) => at += 2,
            byte if is_text(*byte) && *byte != b'\\' => at += 1,
            _ => return 0,
        }
    }
    0
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80
}

/// The length of the trailer section at the beginning of `bytes`, once it is whole. In `seen` of its bytes there is no end.
/// No section is larger than a head may be: hyper would take its sender for one that left.
pub(super) fn trailers(bytes: &[u8], seen: usize, bounds: Bounds) -> Result<Option<usize>, Reason> {
    let longest = TRAILER_BYTES.min(bounds.bytes.saturating_sub(1));
    let within = &bytes[..bytes.len().min(longest)];
    // A whole section is looked at once, and one that comes slowly when a line of it has ended.
    if memchr(b'\n', &within[seen.min(within.len())..]).is_none() {
        return if bytes.len() < longest { Ok(None) } else { Err(Reason::HeadersTooLarge) };
    }
    let (mut line, mut fields) = (0, 0);
    while let Some(end) = memchr(b'\n', &within[line..]).map(|at| line + at) {
        let text = within[line..end].strip_suffix(b"\r").ok_or(Reason::BadRequest("bare_lf"))?;
        line = end + 1;
        if text.is_empty() {
            return Ok(Some(line));
        }
        fields += 1;
        if fields > TRAILERS.min(bounds.fields) {
            return Err(Reason::HeadersTooLarge);
        }
        check_trailer(text)?;
    }
    if within.len() < longest { Ok(None) } else { Err(Reason::HeadersTooLarge) }
}

/// RFC 9112 §5. hyper gives up on a trailer as it does on a client that leaves, so all of it is checked here.
fn check_trailer(line: &[u8]) -> Result<(), Reason> {
    let name = token(line);
    let value = line[name..].strip_prefix(b":").filter(|value| value.iter().all(|byte| is_text(*byte)));
    if name == 0 || value.is_none() {
        return Err(Reason::BadRequest("trailer_malformed"));
    }
    if NO_TRAILERS.iter().any(|forbidden| head::value(line, forbidden).is_some()) {
        return Err(Reason::BadRequest("trailer_not_allowed"));
    }
    Ok(())
}
