//! Bytes of modules and of their code, in pages of their own.
//!
//! They are large, come and go with every swap, and pass through many threads. The heap of each of those would stay as large as
//! the largest that it held; pages go back to the system with their last owner.

use std::io::{self, Read};

use bytes::Bytes;
use memmap2::MmapMut;

/// What is read at once.
const CHUNK: usize = 64 << 10;

/// Bytes that are still coming.
#[derive(Debug, Default)]
pub struct Blob {
    /// Absent while there is nothing.
    pages: Option<MmapMut>,
    length: usize,
}

impl Blob {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Makes room for so many in all. It fails where the system has no memory.
    pub fn reserve(&mut self, length: usize) -> io::Result<()> {
        if length <= self.pages.as_ref().map_or(0, |pages| pages.len()) {
            return Ok(());
        }
        let mut pages = MmapMut::map_anon(length)?;
        pages[..self.length].copy_from_slice(self.as_ref());
        self.pages = Some(pages);
        Ok(())
    }

    /// Adds these; room doubles where there is none.
    pub fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = self.length + bytes.len();
        if length > self.pages.as_ref().map_or(0, |pages| pages.len()) {
            self.reserve(length.max(2 * self.length).max(CHUNK))?;
        }
        if let Some(pages) = &mut self.pages {
            pages[self.length..length].copy_from_slice(bytes);
        }
        self.length = length;
        Ok(())
    }

    /// Reads to the end, or one more than `limit`; `expected` is how many there may be.
    pub fn read(from: impl Read, expected: usize, limit: usize) -> io::Result<Blob> {
        let mut blob = Blob::default();
        blob.reserve(expected.min(limit))?;
        let (mut from, mut chunk) = (from.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)), [0; CHUNK]);
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(blob),
                Ok(length) => blob.extend(&chunk[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self.pages.as_ref().map_or(&[], |pages| &pages[..self.length])
    }
}

impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        Bytes::from_owner(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_pieces_is_there_as_it_came() {
        let whole: Vec<u8> = (0..=255).cycle().take(5 * CHUNK + 7).collect();
        let mut blob = Blob::default();

        for piece in whole.chunks(1000) {
            blob.extend(piece).unwrap();
        }

        assert_eq!(Bytes::from(blob), whole);
        assert_eq!(Bytes::from(Blob::default()), b""[..]);
    }

    #[test]
    fn one_more_than_the_limit_is_read_and_no_more() {
        for expected in [0, 3, 100] {
            let blob = Blob::read(&b"0123456789"[..], expected, 4).unwrap();

            assert_eq!(blob.as_ref(), b"01234");
        }
    }
}
