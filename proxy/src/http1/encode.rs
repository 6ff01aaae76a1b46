//! A body on its way out: how its end is told, and the bytes that tell it.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{self, HeaderName};
use http_body::Frame;

use crate::http1::head::write_field;
use crate::http1::out::Out;

/// How the end of a body is told (RFC 9112 §6).
#[derive(Debug)]
pub(crate) enum Encoder {
    /// By its length, of which so much is to come.
    Length(u64),
    /// In chunks, with those of its trailers behind them that were announced.
    Chunks(Vec<HeaderName>),
}

/// A body is not as long as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short;

impl Encoder {
    /// Chunks behind a head, of which the trailers are those that it announces (RFC 9110 §6.6.2).
    pub(crate) fn chunks(fields: &HeaderMap) -> Self {
        let announced = fields.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
        let names = announced.flat_map(|names| names.split(','));
        Self::Chunks(names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect())
    }

    /// Adds a frame; answers true when nothing can follow it. Bytes past the length are left out.
    pub(crate) fn frame(&mut self, frame: Frame<Bytes>, out: &mut Out) -> bool {
        match frame.into_data() {
            Ok(data) => self.data(data, out),
            Err(frame) => {
                if let (Self::Chunks(announced), Ok(trailers)) = (&*self, frame.into_trailers()) {
                    write_trailers(out.small(), announced, &trailers);
                    return true;
                }
                false
            }
        }
    }

    fn data(&mut self, mut data: Bytes, out: &mut Out) -> bool {
        if data.is_empty() {
            return false;
        }
        match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).map_or(data.len(), |left| left.min(data.len()));
                data.truncate(length);
                *left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                out.push(data, b"");
                *left == 0
            }
            Self::Chunks(_) => {
                write_size(out.small(), data.len());
                out.push(data, b"\r\n");
                false
            }
        }
    }

    /// Adds what tells the end, where something does.
    pub(crate) fn end(&self, out: &mut Out) -> Result<(), Short> {
        match self {
            Self::Length(0) => Ok(()),
            Self::Length(_) => Err(Short),
            Self::Chunks(_) => {
                out.push_last_chunk();
                Ok(())
            }
        }
    }
}

/// RFC 9112 §7.1: a size in hexadecimal digits.
fn write_size(out: &mut BytesMut, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        out.put_u8(DIGITS[(size >> (4 * at)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_trailers(out: &mut BytesMut, announced: &[HeaderName], trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if announced.contains(name) && may_trail(name) {
            write_field(out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 §6.5.1: fields that are needed before a body are none of its trailers.
fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 12] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::MAX_FORWARDS,
        header::SET_COOKIE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::TE,
    ];
    !NEVER.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(mut encoder: Encoder, frames: Vec<Frame<Bytes>>) -> (Vec<u8>, Result<(), Short>) {
        let mut out = Out::default();
        let is_over = frames.into_iter().any(|frame| encoder.frame(frame, &mut out));
        let end = if is_over { Ok(()) } else { encoder.end(&mut out) };
        (out.small().to_vec(), end)
    }

    fn data(bytes: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(bytes.as_bytes()))
    }

    #[test]
    fn a_body_with_a_length_is_as_long_as_that_or_short() {
        assert_eq!(sent(Encoder::Length(3), vec![data("ab"), data("cd")]), (b"abc".to_vec(), Ok(())));
        assert_eq!(sent(Encoder::Length(3), vec![data("ab")]), (b"ab".to_vec(), Err(Short)));
    }

    #[test]
    fn chunks_tell_their_size_and_an_empty_piece_is_none() {
        let chunks = || Encoder::chunks(&HeaderMap::new());

        assert_eq!(
            sent(chunks(), vec![data("0123456789abcdef"), data(""), data("x")]).0,
            b"10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"
        );
        for size in [1, 15, 16, 255, 256, 0xabcdef, usize::MAX] {
            let mut out = BytesMut::new();
            write_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn the_last_chunk_comes_behind_a_large_one() {
        let (mut out, mut encoder) = (Out::default(), Encoder::chunks(&HeaderMap::new()));
        let large = Bytes::from(vec![b'x'; 16 * 1024]);

        encoder.frame(Frame::data(large.clone()), &mut out);
        encoder.end(&mut out).unwrap();

        assert_eq!(out.whole(), [b"4000\r\n", &large[..], b"\r\n0\r\n\r\n"].concat());
    }

    #[test]
    fn trailers_are_sent_that_were_announced_and_may_be() {
        let mut head = HeaderMap::new();
        head.append("trailer", "a, Content-Length".parse().unwrap());
        head.append("trailer", "b".parse().unwrap());
        let mut trailers = HeaderMap::new();
        for name in ["a", "b", "c", "content-length"] {
            trailers.append(name, "1".parse().unwrap());
        }

        let (bytes, _) = sent(Encoder::chunks(&head), vec![data("x"), Frame::trailers(trailers)]);

        assert_eq!(bytes.escape_ascii().to_string(), r"1\r\nx\r\n0\r\na: 1\r\nb: 1\r\n\r\n");
    }
}
