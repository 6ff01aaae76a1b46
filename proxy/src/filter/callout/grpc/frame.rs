//! gRPC's frames: one byte of flags, four of length, the message (gRPC over HTTP/2, "Requests", Length-Prefixed-Message).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Flags and length.
const PREFIX: usize = 5;

/// A message as it goes over the wire; `None` for one that is too long for the wire.
pub fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// Messages out of bytes as they come.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The longest message.
    limit: usize,
}

/// Why bytes are no messages that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Nobody agreed on a compression, or the flags are not flags.
    Flags,
    /// The message is over the limit.
    TooLong,
}

impl Decoder {
    /// Nothing read; messages may have `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// More bytes came.
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next message, when it is whole. A bad prefix is known before its message came.
    pub fn message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some((&[flags, length @ ..], rest)) = self.buffer.split_first_chunk::<PREFIX>() else { return Ok(None) };
        if flags != 0 {
            return Err(FrameError::Flags);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(FrameError::TooLong);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).to_vec()))
    }

    /// True between messages.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_their_bytes_come() {
        let wire = [framed(b"one").unwrap(), framed(b"").unwrap(), framed(b"three").unwrap()].concat();
        for step in 1..=wire.len() {
            let mut decoder = Decoder::new(5);
            let mut messages = Vec::new();

            for chunk in wire.chunks(step) {
                decoder.push(chunk);
                while let Some(message) = decoder.message().unwrap() {
                    messages.push(message);
                }
            }

            assert_eq!(messages, [&b"one"[..], b"", b"three"], "{step}");
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_bad_prefix_is_refused_before_its_message() {
        let refused = |prefix: [u8; 5]| {
            let mut decoder = Decoder::new(5);
            decoder.push(&prefix);
            decoder.message()
        };

        assert_eq!(refused([0, 0, 0, 0, 5]), Ok(None));
        assert_eq!(refused([0, 0, 0, 0, 6]), Err(FrameError::TooLong));
        assert_eq!(refused([0, 0xff, 0xff, 0xff, 0xff]), Err(FrameError::TooLong));
        assert_eq!(refused([1, 0, 0, 0, 1]), Err(FrameError::Flags));
        assert_eq!(refused([0x80, 0, 0, 0, 1]), Err(FrameError::Flags));
    }

    #[test]
    fn half_a_message_is_none() {
        let mut decoder = Decoder::new(5);

        decoder.push(&framed(b"two").unwrap()[..7]);

        assert_eq!(decoder.message(), Ok(None));
        assert!(!decoder.is_empty());
    }
}
