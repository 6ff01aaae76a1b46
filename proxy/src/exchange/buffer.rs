//! The bytes of a body that a filter sees at one moment: shared with the wire until a filter changes them.

use bytes::{Bytes, BytesMut};
use tollgate_abi::{Buffer, Refusal};

/// Bytes that are copied only when a second chunk joins them or a filter writes.
#[derive(Clone, Debug, Default)]
pub struct BodyBuffer {
    bytes: Bytes,
    /// True once a filter wrote.
    pub changed: bool,
    /// Most bytes a filter may make of it.
    pub limit: usize,
}

impl BodyBuffer {
    /// An empty buffer that may grow to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Bytes::new(), changed: false, limit }
    }

    /// Adds what arrived behind what is held.
    pub fn append(&mut self, chunk: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = chunk;
        } else if !chunk.is_empty() {
            let mut joined = into_mut(std::mem::take(&mut self.bytes));
            joined.extend_from_slice(&chunk);
            self.bytes = joined.freeze();
        }
    }

    /// Takes all bytes out.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }
}

impl Buffer for BodyBuffer {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, start: usize, into: &mut [u8]) {
        if let Some(bytes) = start.checked_add(into.len()).and_then(|end| self.bytes.get(start..end)) {
            into.copy_from_slice(bytes);
        }
    }

    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let start = start.min(self.bytes.len());
        let end = start.saturating_add(size).min(self.bytes.len());
        let length = self.bytes.len() - (end - start) + bytes.len();
        // A chunk that arrived larger than the limit may be rewritten, but not grown.
        if length > self.limit.max(self.bytes.len()) {
            return Err(Refusal::Limit("bytes of a body in a filter"));
        }
        if start == self.bytes.len() {
            let mut grown = into_mut(std::mem::take(&mut self.bytes));
            grown.extend_from_slice(bytes);
            self.bytes = grown.freeze();
        } else {
            let mut spliced = BytesMut::with_capacity(length);
            spliced.extend_from_slice(&self.bytes[..start]);
            spliced.extend_from_slice(bytes);
            spliced.extend_from_slice(&self.bytes[end..]);
            self.bytes = spliced.freeze();
        }
        self.changed = true;
        Ok(())
    }
}

/// Grows in place when nobody else holds the bytes.
fn into_mut(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(text: &'static str) -> BodyBuffer {
        let mut buffer = BodyBuffer::new(16);
        buffer.append(Bytes::from_static(text.as_bytes()));
        buffer
    }

    #[test]
    fn bytes_are_inserted_replaced_prepended_and_appended() {
        for (start, size, bytes, expected) in [
            (2, 0, "-", "ab-cdef"),
            (2, 2, "-", "ab-ef"),
            (0, 0, "-", "-abcdef"),
            (6, 0, "-", "abcdef-"),
            (0, 6, "", ""),
        ] {
            let mut buffer = buffer("abcdef");

            buffer.splice(start, size, bytes.as_bytes()).unwrap();

            assert_eq!(buffer.take(), expected);
            assert!(buffer.changed);
        }
    }

    #[test]
    fn chunks_join_in_order_without_counting_as_a_change() {
        let mut buffer = buffer("abc");

        buffer.append(Bytes::from_static(b"def"));

        assert!(!buffer.changed);
        let mut read = [0; 3];
        buffer.read(2, &mut read);
        assert_eq!(&read, b"cde");
    }

    #[test]
    fn a_filter_grows_a_body_up_to_the_limit_and_not_past_it() {
        let mut buffer = buffer("abcdef");

        assert_eq!(buffer.splice(6, 0, &[b'x'; 10]), Ok(()));
        assert_eq!(buffer.splice(0, 0, b"x"), Err(Refusal::Limit("bytes of a body in a filter")));
        assert_eq!(buffer.len(), 16);
    }
}
