//! Properties that filters set, each within the quota of its filter.

use tollgate_abi::Refusal;

/// How much a plugin may keep in the properties of one exchange or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertyQuota {
    /// Properties.
    pub count: usize,
    /// Bytes of the path, and of the value, of each.
    pub bytes: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Kept(Vec<Property>);

/// Something that a filter set.
#[derive(Clone, Debug)]
struct Property {
    /// As it came, NULs between the segments.
    path: Vec<u8>,
    value: Vec<u8>,
    /// The place in the chain of the filter that set it first, whose quota it counts in.
    owner: usize,
}

impl Kept {
    /// Keeps what the filter at the place `owner` sets; a path that is known gets the new value.
    pub fn set(&mut self, path: &[u8], value: &[u8], (owner, quota): (usize, PropertyQuota)) -> Result<(), Refusal> {
        if value.len() > quota.bytes || path.len() > quota.bytes {
            return Err(Refusal::Limit("bytes of a property"));
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.path == path) {
            known.value = value.to_vec();
            return Ok(());
        }
        if self.0.iter().filter(|known| known.owner == owner).count() >= quota.count {
            return Err(Refusal::Limit("properties of one exchange"));
        }
        self.0.push(Property { path: path.to_vec(), value: value.to_vec(), owner });
        Ok(())
    }

    /// What was set under this raw path.
    pub fn find(&self, path: &[u8]) -> Option<&[u8]> {
        self.all().find(|(name, _)| *name == path).map(|(_, value)| value)
    }

    /// Everything that was set, with its raw path.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|property| (property.path.as_slice(), property.value.as_slice()))
    }
}
