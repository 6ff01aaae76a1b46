//! What an embedder lends: header maps and buffers, bytes in and bytes out.
//!
//! Nothing here knows an HTTP crate. `VecHeaderMap` and `Vec<u8>` serve tests, examples and small embedders.

use crate::callout::CalloutRefusal;

/// Why a map or buffer did not take a change. The guest's answer follows from `guest_errors`, never from here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The message has been sent already, or the map belongs to somebody else.
    #[error("it can only be read at this point")]
    ReadOnly,
    /// The name is not a token, is a pseudo-header that does not exist here, or belongs to the host alone.
    #[error("field name {0:?} is not allowed")]
    Name(String),
    /// The value holds CR, LF, NUL or another byte that no field may carry, or is not a valid value of its pseudo-header.
    #[error("the value of field {0:?} is not allowed")]
    Value(String),
    /// The change would go past a limit of the embedder.
    #[error("over the limit: {0}")]
    Limit(&'static str),
    /// The thing does not exist at this point of the exchange.
    #[error("there is none at this point")]
    Unavailable,
    /// Bytes of the guest that should hold pairs or text do not.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A callout was not begun.
    #[error(transparent)]
    Callout(#[from] CalloutRefusal),
}

/// Ordered fields, pseudo-headers (`:method`, `:status`, …) included and listed first. Names compare without case.
pub trait HeaderMap {
    /// Number of fields; repeated names count each.
    fn len(&self) -> usize;
    /// True without fields.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Calls `visit(name, value)` for every field in order. Must visit the same fields each time until changed:
    /// the codec measures first and writes second.
    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8]));
    /// The first value of `name`.
    fn first(&self, name: &[u8]) -> Option<&[u8]>;
    /// Adds a field, keeping others of the same name.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal>;
    /// Makes `value` the only value of `name`.
    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal>;
    /// Removes every field of `name`; absent is fine.
    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal>;
    /// Replaces all fields at once, or none of them when any is refused.
    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal>;
}

/// A body or message as a filter sees it at one moment.
pub trait Buffer {
    /// Bytes in the buffer.
    fn len(&self) -> usize;
    /// True without bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies `into.len()` bytes from `start`; the caller has checked both against `len`.
    fn read(&self, start: usize, into: &mut [u8]);
    /// Replaces `size` bytes at `start` by `bytes`; the caller has clamped both to `len`.
    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal>;
}

/// Fields in a plain vector, for tests, examples and embedders without a map of their own.
///
/// Refuses what no HTTP field may carry: an empty name, and CR, LF or NUL in a name or value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VecHeaderMap {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl VecHeaderMap {
    /// A map of these fields, in this order, unchecked.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, V)>) -> Self {
        let owned = |(name, value): (N, V)| (name.as_ref().to_vec(), value.as_ref().to_vec());
        VecHeaderMap { fields: fields.into_iter().map(owned).collect() }
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.fields
    }
}

impl HeaderMap for VecHeaderMap {
    fn len(&self) -> usize {
        self.fields.len()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        self.fields.iter().for_each(|(name, value)| visit(name, value));
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        check_field(name, value)?;
        self.fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        check_field(name, value)?;
        let Some(first) = self.fields.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return self.add(name, value);
        };
        let mut index = 0;
        self.fields.retain(|(known, _)| {
            index += 1;
            index <= first + 1 || !known.eq_ignore_ascii_case(name)
        });
        if let Some((_, old)) = self.fields.get_mut(first) {
            *old = value.to_vec();
        }
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Ok(())
    }

    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        fields.iter().try_for_each(|(name, value)| check_field(name, value))?;
        *self = VecHeaderMap::new(fields.iter().copied());
        Ok(())
    }
}

fn check_field(name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    let control = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    let shown = || String::from_utf8_lossy(name).into_owned();
    if name.is_empty() || name.iter().any(|byte| control(byte) || *byte == b' ') {
        return Err(Refusal::Name(shown()));
    }
    if value.iter().any(control) {
        return Err(Refusal::Value(shown()));
    }
    Ok(())
}

impl Buffer for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn read(&self, start: usize, into: &mut [u8]) {
        if let Some(bytes) = self.get(start..start.saturating_add(into.len())) {
            into.copy_from_slice(bytes);
        }
    }

    fn splice(&mut self, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let start = start.min(Vec::len(self));
        let end = start.saturating_add(size).min(Vec::len(self));
        Vec::splice(self, start..end, bytes.iter().copied());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn replace_keeps_the_place_of_the_first_and_removes_the_others() {
        let mut map = VecHeaderMap::new([("a", "1"), ("B", "2"), ("c", "3"), ("b", "4")]);

        map.replace(b"b", b"5").expect("the field is plain");

        assert_eq!(map, VecHeaderMap::new([("a", "1"), ("B", "5"), ("c", "3")]));
    }

    #[test]
    fn one_bad_field_refuses_the_whole_set() {
        let mut map = VecHeaderMap::new([("a", "1")]);

        let refused = map.replace_all(&[(b"x", b"1"), (b"y", b"1\r\nz: 2")]);

        assert_eq!(refused, Err(Refusal::Value("y".into())));
        assert_eq!(map, VecHeaderMap::new([("a", "1")]));
    }

    #[test]
    fn a_vector_is_spliced_in_the_middle() {
        let mut body = b"abcdef".to_vec();

        Buffer::splice(&mut body, 2, 2, b"XYZ").expect("a vector takes any bytes");

        assert_eq!(body, b"abXYZef");
    }
}
