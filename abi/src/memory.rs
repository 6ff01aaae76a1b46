//! The only door to guest bytes: a pointer and a length become a checked range, or `InvalidMemoryAccess`.
//!
//! It never allocates in the guest; `alloc` does.

use std::ops::Range;

use crate::types::Status;

/// A place in guest memory that a hostcall writes a number to, unchecked until used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestPtr(pub(crate) u32);

/// A pointer and a length of the guest, unchecked until used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestSlice {
    start: u32,
    len: u32,
}

/// The two places that receive pointer and length of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResultSlots {
    pub(crate) data: GuestPtr,
    pub(crate) len: GuestPtr,
}

impl GuestSlice {
    pub(crate) fn new(start: u32, len: u32) -> Self {
        GuestSlice { start, len }
    }

    pub(crate) fn len(self) -> u32 {
        self.len
    }

    /// The bytes. An empty slice lies anywhere: Rust guests point empty ones at no memory at all.
    pub(crate) fn read(self, memory: &[u8]) -> Result<&[u8], Status> {
        if self.len == 0 {
            return Ok(&[]);
        }
        memory.get(self.range()).ok_or(Status::InvalidMemoryAccess)
    }

    /// The bytes, to be written over.
    pub(crate) fn write(self, memory: &mut [u8]) -> Result<&mut [u8], Status> {
        if self.len == 0 {
            return Ok(&mut []);
        }
        memory.get_mut(self.range()).ok_or(Status::InvalidMemoryAccess)
    }

    // The end is the sum of two `u32`, so `u64` cannot overflow; on a 32-bit host a larger one saturates and finds nothing.
    fn range(self) -> Range<usize> {
        let end = u64::from(self.start) + u64::from(self.len);
        index(u64::from(self.start))..index(end)
    }
}

impl GuestPtr {
    /// Fails unless `size` bytes may be written here.
    pub(crate) fn check(self, memory: &[u8], size: u32) -> Result<(), Status> {
        GuestSlice::new(self.0, size).read(memory).map(drop)
    }

    pub(crate) fn read_u32(self, memory: &[u8]) -> Result<u32, Status> {
        let bytes = GuestSlice::new(self.0, 4).read(memory)?;
        let number = bytes.first_chunk().ok_or(Status::InvalidMemoryAccess)?;
        Ok(u32::from_le_bytes(*number))
    }

    pub(crate) fn write_u32(self, memory: &mut [u8], number: u32) -> Result<(), Status> {
        self.write(memory, &number.to_le_bytes())
    }

    pub(crate) fn write_u64(self, memory: &mut [u8], number: u64) -> Result<(), Status> {
        self.write(memory, &number.to_le_bytes())
    }

    fn write<const N: usize>(self, memory: &mut [u8], bytes: &[u8; N]) -> Result<(), Status> {
        let start = index(u64::from(self.0));
        let room = memory.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        *room.ok_or(Status::InvalidMemoryAccess)? = *bytes;
        Ok(())
    }
}

impl ResultSlots {
    pub(crate) fn new(data: u32, len: u32) -> Self {
        ResultSlots { data: GuestPtr(data), len: GuestPtr(len) }
    }

    /// Fails unless both places may be written.
    pub(crate) fn check(self, memory: &[u8]) -> Result<(), Status> {
        self.data.check(memory, 4)?;
        self.len.check(memory, 4)
    }

    pub(crate) fn write(self, memory: &mut [u8], result: GuestSlice) -> Result<(), Status> {
        self.data.write_u32(memory, result.start)?;
        self.len.write_u32(memory, result.len)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_may_end_where_memory_ends_and_not_one_later() {
        let memory = [7; 16];

        assert_eq!(GuestSlice::new(12, 4).read(&memory), Ok(&[7; 4][..]));
        assert_eq!(GuestSlice::new(13, 4).read(&memory), Err(Status::InvalidMemoryAccess));
        assert_eq!(GuestSlice::new(16, 1).read(&memory), Err(Status::InvalidMemoryAccess));
    }

    #[test]
    fn lengths_that_wrap_the_address_space_are_refused() {
        let mut memory = [0; 16];

        let slice = GuestSlice::new(u32::MAX, u32::MAX);

        assert_eq!(slice.read(&memory), Err(Status::InvalidMemoryAccess));
        assert_eq!(slice.write(&mut memory), Err(Status::InvalidMemoryAccess));
    }

    #[test]
    fn an_empty_slice_lies_anywhere() {
        assert_eq!(GuestSlice::new(u32::MAX, 0).read(&[]), Ok(&[][..]));
    }

    #[test]
    fn numbers_are_little_endian_and_need_all_their_bytes() {
        let mut memory = [0; 8];

        assert_eq!(GuestPtr(1).write_u32(&mut memory, 0x0403_0201), Ok(()));
        assert_eq!(memory, [0, 1, 2, 3, 4, 0, 0, 0]);
        assert_eq!(GuestPtr(1).read_u32(&memory), Ok(0x0403_0201));
        assert_eq!(GuestPtr(5).write_u32(&mut memory, 1), Err(Status::InvalidMemoryAccess));
        assert_eq!(GuestPtr(0).write_u64(&mut memory, 1), Ok(()));
        assert_eq!(GuestPtr(1).write_u64(&mut memory, 1), Err(Status::InvalidMemoryAccess));
        assert_eq!(GuestPtr(u32::MAX).read_u32(&memory), Err(Status::InvalidMemoryAccess));
    }
}
