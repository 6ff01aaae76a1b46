//! The bytes of a body that a filter sees at one moment: shared with the wire until a filter changes them.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tollgate_abi::{Buffer, Refusal};

/// Chunks that are at least so large are kept as they came. Smaller ones are copied together: a body that comes in crumbs is
/// to take no more than its bytes.
const PIECE: usize = 8 * 1024;

/// Bytes in the pieces that they came in. A filter reads across them; they are joined only where they leave together.
#[derive(Clone, Debug, Default)]
pub struct BodyBuffer {
    /// In order, none of them empty.
    pieces: SmallVec<[Bytes; 1]>,
    length: usize,
    /// The last piece was put together here.
    is_own: bool,
    /// True once a filter wrote.
    pub changed: bool,
    /// Most bytes a filter may make of it.
    pub limit: usize,
}

impl BodyBuffer {
    /// An empty buffer that may grow to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds what arrived behind what is held.
    pub fn append(&mut self, chunk: Bytes) {
        if self.pieces.is_empty() || chunk.len() >= PIECE {
            self.push(chunk, false);
        } else {
            self.copy(&chunk);
        }
    }

    fn push(&mut self, piece: Bytes, is_own: bool) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push(piece);
            self.is_own = is_own;
        }
    }

    /// Adds bytes to the last piece, if that was put together here.
    fn copy(&mut self, bytes: &[u8]) {
        let own = if self.is_own { self.pieces.pop() } else { None };
        let mut grown = own.map_or_else(BytesMut::new, into_mut);
        self.length -= grown.len();
        grown.extend_from_slice(bytes);
        self.push(grown.freeze(), true);
    }

    /// Takes all bytes out.
    pub fn take(&mut self) -> Bytes {
        let (mut pieces, length) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.length));
        if pieces.len() < 2 {
            return pieces.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(length);
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }

    fn clear(&mut self) {
        self.pieces.clear();
        (self.length, self.is_own) = (0, false);
    }

    /// The bytes of a range, piece by piece.
    fn parts(&self, start: usize, end: usize) -> impl Iterator<Item = &[u8]> {
        let mut before = 0;
        self.pieces.iter().filter_map(move |piece| {
            let (from, to) = (start.saturating_sub(before), end.saturating_sub(before).min(piece.len()));
            before += piece.len();
            piece.get(from..to).filter(|part| !part.is_empty())
        })
    }
}

impl Buffer for BodyBuffer {
    fn len(&self) -> usize {
        self.length
    }

    fn read(&self, start: usize, into: &mut [u8]) {
        let Some(end) = start.checked_add(into.len()).filter(|end| *end <= self.length) else { return };
        // Most bodies come in one.
        if let [piece] = &self.pieces[..] {
            return piece.get(start..end).map_or((), |part| into.copy_from_slice(part));
        }
        let mut rest = into;
        for part in self.parts(start, end) {
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(part);
            rest = later;
        }
    }

    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let start = start.min(self.length);
        let end = start.saturating_add(size).min(self.length);
        let length = self.length - (end - start) + bytes.len();
        // A chunk that arrived larger than the limit may be rewritten, but not grown.
        if length > self.limit.max(self.length) {
            return Err(Refusal::Limit("bytes of a body in a filter"));
        }
        if end - start == self.length {
            self.clear();
            self.push(Bytes::copy_from_slice(bytes), true);
        } else if start == self.length {
            self.copy(bytes);
        } else {
            let mut spliced = BytesMut::with_capacity(length);
            self.parts(0, start).for_each(|part| spliced.extend_from_slice(part));
            spliced.extend_from_slice(bytes);
            self.parts(end, self.length).for_each(|part| spliced.extend_from_slice(part));
            self.clear();
            self.push(spliced.freeze(), true);
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
    fn large_pieces_stay_where_they_are_and_crumbs_are_put_together() {
        let large = Bytes::from(vec![b'x'; PIECE]);
        let mut buffer = BodyBuffer::new(usize::MAX);

        for chunk in [&large, &Bytes::from_static(b"ab"), &Bytes::from_static(b"cd"), &large, &Bytes::new()] {
            buffer.append(chunk.clone());
        }

        assert_eq!(buffer.pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE, 4, PIECE]);
        assert_eq!([buffer.pieces[0].as_ptr(), buffer.pieces[2].as_ptr()], [large.as_ptr(); 2]);
        let whole = [&large[..], b"abcd", &large].concat();
        let mut across = [0; 8];
        buffer.read(PIECE - 2, &mut across);
        assert_eq!(&across, b"xxabcdxx");
        let mut all = vec![0; buffer.len()];
        buffer.read(0, &mut all);
        assert_eq!(all, whole);
        buffer.splice(PIECE + 1, 2, b"-").unwrap();
        assert_eq!(buffer.take(), [&large[..], b"a-d", &large].concat());
        assert!(buffer.is_empty() && buffer.take().is_empty());
    }

    #[test]
    fn a_filter_grows_a_body_up_to_the_limit_and_not_past_it() {
        let mut buffer = buffer("abcdef");

        assert_eq!(buffer.splice(6, 0, &[b'x'; 10]), Ok(()));
        assert_eq!(buffer.splice(0, 0, b"x"), Err(Refusal::Limit("bytes of a body in a filter")));
        assert_eq!(buffer.len(), 16);
    }
}
