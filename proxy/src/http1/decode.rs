//! A body as it comes: where its end is, and its pieces out of what was read (RFC 9112 §6 and §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memchr;

use crate::http1::head;

/// Bytes of chunk extensions in one body; they are read and ignored.
const EXTENSIONS: usize = 16 * 1024;
/// Fields of a trailer section.
const TRAILERS: usize = 100;

/// How the end of a body is found, and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks, with so many bytes of extensions so far.
    Chunks {
        /// What the next byte is.
        at: At,
        /// Bytes of extensions so far.
        extensions: usize,
        /// The most bytes of a trailer section.
        trailers: usize,
    },
    /// It ends with the connection.
    Close,
}

/// What the next byte of a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Part of the line before a chunk.
    Line,
    /// Part of a chunk of which so much is to come.
    Chunk(u64),
    /// Part of the line end behind it.
    ChunkEnd,
    /// Part of the trailer section, of which so many bytes hold no line end that was not looked at.
    Trailers(usize),
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// The end of a chunked body, with fields.
    Trailers(HeaderMap),
    /// The end.
    End,
    /// More is needed.
    More,
}

/// The bytes are none of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Decoder {
    /// Nothing comes, or nothing more.
    pub(crate) const DONE: Self = Self::Length(0);

    /// Chunks, with a trailer section of at most so many bytes.
    pub(crate) fn chunks(trailers: usize) -> Self {
        Self::Chunks { at: At::Line, extensions: 0, trailers }
    }

    /// True once nothing more is to come.
    pub(crate) fn is_done(&self) -> bool {
        *self == Self::DONE
    }

    /// The bytes that are to come, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunks { .. } | Self::Close => None,
        }
    }

    /// Takes the next piece out of what was read.
    pub(crate) fn decode(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(take(left, read)),
            Self::Close if read.is_empty() => Ok(Piece::More),
            Self::Close => Ok(Piece::Data(read.split().freeze())),
            Self::Chunks { at, extensions, trailers } => {
                let piece = chunks(at, extensions, *trailers, read)?;
                if matches!(piece, Piece::End | Piece::Trailers(_)) {
                    *self = Self::DONE;
                }
                Ok(piece)
            }
        }
    }
}

/// What there is of the `left` bytes that are to come.
fn take(left: &mut u64, read: &mut BytesMut) -> Piece {
    let length = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    if length == 0 {
        return Piece::More;
    }
    *left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    Piece::Data(read.split_to(length).freeze())
}

fn chunks(at: &mut At, extensions: &mut usize, most: usize, read: &mut BytesMut) -> Result<Piece, Malformed> {
    loop {
        match at {
            At::Line => {
                let Some((size, length)) = line(read, extensions)? else { return Ok(Piece::More) };
                read.advance(length);
                *at = if size == 0 { At::Trailers(0) } else { At::Chunk(size) };
            }
            At::Chunk(left) => {
                let piece = take(left, read);
                if *left == 0 {
                    *at = At::ChunkEnd;
                }
                return Ok(piece);
            }
            At::ChunkEnd => match &read[..] {
                [b'\r', b'\n', ..] => {
                    read.advance(2);
                    *at = At::Line;
                }
                [] | [b'\r'] => return Ok(Piece::More),
                _ => return Err(Malformed),
            },
            At::Trailers(seen) => return trailers(seen, most, read),
        }
    }
}

/// Size and length of the line before a chunk, once it is whole. Space behind the size is let pass, as old origins send it.
fn line(read: &[u8], extensions: &mut usize) -> Result<Option<(u64, usize)>, Malformed> {
    let Some(end) = memchr(b'\n', read) else {
        return if read.len() > EXTENSIONS + 16 { Err(Malformed) } else { Ok(None) };
    };
    let line = read[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    let is_over = rest.is_empty() || rest[0] == b';';
    *extensions += rest.len();
    if !is_over || *extensions > EXTENSIONS || memchr(b'\r', line).is_some() {
        return Err(Malformed);
    }
    Ok(Some((hexadecimal(&line[..digits])?, end + 1)))
}

fn hexadecimal(digits: &[u8]) -> Result<u64, Malformed> {
    let digits = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed)
}

fn trailers(seen: &mut usize, most: usize, read: &mut BytesMut) -> Result<Piece, Malformed> {
    match &read[..] {
        [b'\r', b'\n', ..] => {
            read.advance(2);
            return Ok(Piece::End);
        }
        [] | [b'\r'] => return Ok(Piece::More),
        _ => {}
    }
    match head::find_end(read, seen) {
        Some(end) if end <= most => fields(&read.split_to(end).freeze()).map(Piece::Trailers),
        None if read.len() < most => Ok(Piece::More),
        _ => Err(Malformed),
    }
}

fn fields(section: &Bytes) -> Result<HeaderMap, Malformed> {
    if section.split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r")) {
        return Err(Malformed);
    }
    match httparse::parse_headers(section, &mut [httparse::EMPTY_HEADER; TRAILERS]) {
        Ok(httparse::Status::Complete((_, found))) => head::fields(section, found).map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: &[u8] = b"3;a=\"b\"\r\nabc\r\n10 \r\n0123456789abcdef\r\n0\r\nx: 1\r\ny: 2\r\n\r\n";

    /// Body and trailers of what comes in pieces that end where `cuts` says, and what is left behind them.
    fn whole(mut decoder: Decoder, bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize, Vec<u8>), Malformed> {
        let (mut read, mut body, mut shown) = (BytesMut::new(), Vec::new(), 0);
        for end in cuts.iter().copied().chain([bytes.len()]) {
            read.extend_from_slice(&bytes[shown..end]);
            shown = end;
            loop {
                match decoder.decode(&mut read)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::More => break,
                    Piece::Trailers(fields) => return Ok((body, fields.len(), rest(&read, bytes, shown))),
                    Piece::End => return Ok((body, 0, rest(&read, bytes, shown))),
                }
            }
        }
        Ok((body, usize::MAX, Vec::new()))
    }

    fn rest(read: &[u8], bytes: &[u8], shown: usize) -> Vec<u8> {
        [read, &bytes[shown..]].concat()
    }

    #[test]
    fn what_a_body_is_does_not_depend_on_how_it_is_cut() {
        let stream = [CHUNKS, b"HTTP"].concat();
        for one in 0..stream.len() {
            for other in [one, (one + 1).min(stream.len()), stream.len()] {
                let (body, fields, rest) = whole(Decoder::chunks(100), &stream, &[one, other]).unwrap();
                assert_eq!(
                    (&body[..], fields, &rest[..]),
                    (&b"abc0123456789abcdef"[..], 2, &b"HTTP"[..]),
                    "{one} {other}"
                );

                let (body, _, rest) = whole(Decoder::Length(7), &stream, &[one, other]).unwrap();
                assert_eq!((&body[..], &rest[..]), (&stream[..7], &stream[7..]), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bytes in [
            "x\r\n",
            "\r\n",
            "3\n",
            "3 4\r\n",
            "3;a\rb\r\n",
            "3\r\nabcd",
            "3\r\nabc\n",
            "10000000000000000\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx: 1\n\r\n",
            "-3\r\n",
            "+3\r\n",
        ] {
            assert!(whole(Decoder::chunks(100), bytes.as_bytes(), &[]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_nobody_needs_of_a_body_is_bounded() {
        let extension = format!("1;{}\r\n", "e".repeat(EXTENSIONS));
        let extensions = format!("1;{}\r\na\r\n", "e".repeat(EXTENSIONS / 4)).repeat(5);
        let endless = format!("1;{}", "e".repeat(2 * EXTENSIONS));
        let trailers = format!("0\r\nx: {}\r\n\r\n", "v".repeat(100));
        let fields = format!("0\r\n{}\r\n", "x: 1\r\n".repeat(TRAILERS + 1));
        for bytes in [extension, extensions, endless] {
            assert!(whole(Decoder::chunks(100), bytes.as_bytes(), &[]).is_err());
        }
        assert!(whole(Decoder::chunks(100), trailers.as_bytes(), &[]).is_err());
        assert!(whole(Decoder::chunks(1 << 16), trailers.as_bytes(), &[]).is_ok());
        assert!(whole(Decoder::chunks(1 << 16), fields.as_bytes(), &[]).is_err());
    }

    #[test]
    fn a_body_without_an_end_of_its_own_is_all_that_comes() {
        let (body, end, _) = whole(Decoder::Close, b"abc", &[1]).unwrap();

        assert_eq!((&body[..], end), (&b"abc"[..], usize::MAX));
    }
}
