//! The wire form of a list of pairs: a count, all sizes, then every key and value with a NUL behind it.
//!
//! It knows nothing of guests; `memory` finds the bytes and `alloc` the room.

use std::ops::Deref;

use crate::limits;
use crate::storage::HeaderMap;

/// Why bytes are not a list of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    /// The bytes end before the list does.
    #[error("the list of pairs ends early")]
    Truncated,
    /// The list ends before the bytes do.
    #[error("bytes follow the list of pairs")]
    Trailing,
    /// A key or value is not followed by its NUL.
    #[error("a key or value does not end in NUL")]
    Unterminated,
    /// More pairs, or more bytes, than a guest may hand over.
    #[error("the list of pairs is too long")]
    TooLong,
}

impl PairsError {
    /// The error as a fixed sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            PairsError::Truncated => "the list of pairs ends early",
            PairsError::Trailing => "bytes follow the list of pairs",
            PairsError::Unterminated => "a key or value does not end in NUL",
            PairsError::TooLong => "the list of pairs is too long",
        }
    }
}

/// Encodes the fields of `map`, for properties whose value is a map. Without fields the result is empty.
pub fn encode(map: &dyn HeaderMap) -> Vec<u8> {
    let mut bytes = vec![0; size_of(map)];
    let complete = write(map, &mut bytes);
    debug_assert!(complete, "a map that nobody changes has one size");
    bytes
}

/// Pairs that lie in bytes of somebody else, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Deref for Pairs<'a> {
    type Target = [(&'a [u8], &'a [u8])];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Decodes a list of at most 1,024 pairs. No bytes at all, or a single zero byte, are the empty list.
pub fn decode(bytes: &[u8]) -> Result<Pairs<'_>, PairsError> {
    if bytes.is_empty() || bytes == [0] {
        return Ok(Pairs::default());
    }
    let mut sizes = Reader { rest: bytes };
    let count = sizes.number()?;
    // The sizes alone take eight bytes a pair, so the count is checked before anything is reserved for it.
    if count > limits::PAIRS {
        return Err(PairsError::TooLong);
    }
    let mut data = Reader { rest: sizes.rest.get(count * 8..).ok_or(PairsError::Truncated)? };
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, value) = (sizes.number()?, sizes.number()?);
        pairs.push((data.text(key)?, data.text(value)?));
    }
    if data.rest.is_empty() { Ok(Pairs(pairs)) } else { Err(PairsError::Trailing) }
}

/// The exact number of bytes that `write` needs for `map`; 0 for an empty one.
pub(crate) fn size_of(map: &dyn HeaderMap) -> usize {
    let mut size = Size::default();
    map.for_each(&mut |key, value| size.add(key, value));
    size.total()
}

/// Writes `map` into `into`, which has exactly the size that `size_of` named. False when the map has changed since.
pub(crate) fn write(map: &dyn HeaderMap, into: &mut [u8]) -> bool {
    let mut writer = Writer::new(into, map.len());
    map.for_each(&mut |key, value| writer.pair(key, value));
    writer.is_complete()
}

#[derive(Default)]
struct Size {
    pairs: usize,
    text: usize,
}

impl Size {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.pairs += 1;
        self.text += key.len() + value.len() + 2;
    }

    fn total(&self) -> usize {
        if self.pairs == 0 { 0 } else { 4 + 8 * self.pairs + self.text }
    }
}

/// Two cursors over one slice: sizes in front, text behind. What does not fit is left out and shows in `is_complete`.
struct Writer<'a> {
    sizes: &'a mut [u8],
    text: &'a mut [u8],
    fits: bool,
}

impl<'a> Writer<'a> {
    fn new(into: &'a mut [u8], pairs: usize) -> Self {
        let head = pairs.saturating_mul(8).saturating_add(4);
        let count = u32::try_from(pairs);
        let (Some((sizes, text)), Ok(count)) = (into.split_at_mut_checked(head), count) else {
            return Writer { sizes: &mut [], text: &mut [], fits: pairs == 0 };
        };
        let mut writer = Writer { sizes, text, fits: true };
        writer.size(count);
        writer
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) {
        let (Ok(key_size), Ok(value_size)) = (u32::try_from(key.len()), u32::try_from(value.len())) else {
            self.fits = false;
            return;
        };
        self.size(key_size);
        self.size(value_size);
        self.text(key);
        self.text(value);
    }

    fn size(&mut self, number: u32) {
        self.fits &= fill(&mut self.sizes, &number.to_le_bytes());
    }

    fn text(&mut self, bytes: &[u8]) {
        self.fits &= fill(&mut self.text, bytes) && fill(&mut self.text, &[0]);
    }

    fn is_complete(&self) -> bool {
        self.fits && self.sizes.is_empty() && self.text.is_empty()
    }
}

/// Moves `bytes` to the front of `into` and steps over them.
fn fill(into: &mut &mut [u8], bytes: &[u8]) -> bool {
    let Some((head, rest)) = std::mem::take(into).split_at_mut_checked(bytes.len()) else {
        return false;
    };
    head.copy_from_slice(bytes);
    *into = rest;
    true
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<usize, PairsError> {
        let (number, rest) = self.rest.split_first_chunk::<4>().ok_or(PairsError::Truncated)?;
        self.rest = rest;
        usize::try_from(u32::from_le_bytes(*number)).map_err(|_| PairsError::TooLong)
    }

    fn text(&mut self, size: usize) -> Result<&'a [u8], PairsError> {
        let (text, rest) = self.rest.split_at_checked(size).ok_or(PairsError::Truncated)?;
        let (end, rest) = rest.split_first().ok_or(PairsError::Truncated)?;
        if *end != 0 {
            return Err(PairsError::Unterminated);
        }
        self.rest = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::VecHeaderMap;

    #[test]
    fn the_form_is_count_sizes_then_terminated_text() {
        let bytes = encode(&VecHeaderMap::new([("a", "bc"), ("", "")]));

        let expected = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0a\0bc\0\0\0";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn nothing_and_a_single_zero_are_the_empty_list() {
        assert_eq!(encode(&VecHeaderMap::default()), b"");
        assert_eq!(decode(b""), Ok(Pairs::default()));
        assert_eq!(decode(b"\0"), Ok(Pairs::default()));
        assert_eq!(decode(b"\0\0\0\0"), Ok(Pairs::default()));
    }

    #[test]
    fn each_malformation_has_its_name() {
        let good = encode(&VecHeaderMap::new([("key", "value")]));
        let mut unterminated = good.clone();
        let last = unterminated.len() - 1;
        unterminated[last] = b'x';

        assert_eq!(decode(&good[..good.len() - 1]), Err(PairsError::Truncated));
        assert_eq!(decode(&[good, vec![0]].concat()), Err(PairsError::Trailing));
        assert_eq!(decode(&unterminated), Err(PairsError::Unterminated));
        assert_eq!(decode(&u32::MAX.to_le_bytes()), Err(PairsError::TooLong));
        assert_eq!(decode(&1024_u32.to_le_bytes()), Err(PairsError::Truncated));
        assert_eq!(decode(&1025_u32.to_le_bytes()), Err(PairsError::TooLong));
        assert_eq!(decode(b"\x01"), Err(PairsError::Truncated));
    }

    #[test]
    fn a_map_that_does_not_fit_its_room_is_noticed() {
        let map = VecHeaderMap::new([("a", "b")]);
        let size = size_of(&map);

        assert!(write(&map, &mut vec![0; size]));
        assert!(!write(&map, &mut vec![0; size - 1]));
        assert!(!write(&map, &mut vec![0; size + 1]));
        assert!(!write(&map, &mut []));
        assert!(write(&VecHeaderMap::default(), &mut []));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same_pairs(
            pairs in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..20),
        ) {
            let borrowed: Vec<(&[u8], &[u8])> = pairs.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();

            let bytes = encode(&VecHeaderMap::new(pairs.clone()));

            prop_assert_eq!(decode(&bytes), Ok(Pairs(borrowed)));
            prop_assert_eq!(bytes.len(), size_of(&VecHeaderMap::new(pairs)));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
