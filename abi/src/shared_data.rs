//! Key-value data that every VM of one `vm_id` sees, on every worker. It outlives VMs and generations.
//!
//! It does not persist and does not notify.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::SharedDataLimits;

/// The shared data of one `vm_id`. The embedder keeps one per `vm_id` and hands the same `Arc` to each of its VMs.
#[derive(Debug, Default)]
pub struct SharedData {
    limits: SharedDataLimits,
    /// Guards entries, their sum and the counter together. Held for one look-up or one insertion, never across a guest call.
    table: Mutex<Table>,
}

/// A value and the number that a later compare-and-swap must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedValue {
    /// The bytes; empty is a value too, and the guests' idiom for "deleted".
    pub bytes: Arc<[u8]>,
    /// Never zero.
    pub cas: u32,
}

/// Why a value was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedDataError {
    /// Another writer came first.
    #[error("the value has changed since it was read")]
    CasMismatch,
    /// The key or value would go past a bound.
    #[error("over the limit: {0}")]
    Limit(&'static str),
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Vec<u8>, SharedValue>,
    /// Sum of the lengths of all keys and values.
    bytes: usize,
    last_cas: u32,
}

impl SharedData {
    /// An empty store with these bounds.
    pub fn new(limits: SharedDataLimits) -> Self {
        SharedData { limits, table: Mutex::default() }
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<SharedValue> {
        self.table().entries.get(key).cloned()
    }

    /// Stores `value`. A `cas` of 0 always wins; another must be the current number of the key.
    ///
    /// As in Envoy, a `cas` for a key that does not exist wins.
    pub fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), SharedDataError> {
        if value.len() > self.limits.value {
            return Err(SharedDataError::Limit("bytes of one shared value"));
        }
        self.table().set(&self.limits, key, value, cas)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table().entries.len()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything; numbers go on counting, so an old `cas` never matches a new value.
    pub fn clear(&self) {
        let mut table = self.table();
        table.entries.clear();
        table.bytes = 0;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is complete before the guard drops, so a panic elsewhere leaves nothing half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn set(&mut self, limits: &SharedDataLimits, key: &[u8], value: &[u8], cas: u32) -> Result<(), SharedDataError> {
        let old = self.entries.get(key);
        if let Some(old) = old
            && cas != 0
            && cas != old.cas
        {
            return Err(SharedDataError::CasMismatch);
        }
        let freed = old.map_or(0, |old| key.len() + old.bytes.len());
        let bytes = self.bytes - freed + key.len() + value.len();
        if old.is_none() && self.entries.len() >= limits.keys {
            return Err(SharedDataError::Limit("shared keys"));
        }
        if bytes > limits.total {
            return Err(SharedDataError::Limit("bytes of all shared data"));
        }
        self.bytes = bytes;
        self.store(key, value);
        Ok(())
    }

    fn store(&mut self, key: &[u8], value: &[u8]) {
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        let value = SharedValue { bytes: value.into(), cas: self.last_cas };
        match self.entries.get_mut(key) {
            Some(old) => *old = value,
            None => {
                self.entries.insert(key.to_vec(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_swap_with_an_old_number_is_refused_and_changes_nothing() {
        let data = SharedData::default();
        data.set(b"k", b"one", 0).unwrap();
        let old = data.get(b"k").unwrap().cas;
        data.set(b"k", b"two", old).unwrap();

        let late = data.set(b"k", b"three", old);

        assert_eq!(late, Err(SharedDataError::CasMismatch));
        assert_eq!(&*data.get(b"k").unwrap().bytes, b"two");
    }

    #[test]
    fn the_number_wraps_past_zero() {
        let data = SharedData::default();
        data.table().last_cas = u32::MAX;

        data.set(b"k", b"v", 0).unwrap();

        assert_eq!(data.get(b"k").unwrap().cas, 1);
    }

    #[test]
    fn each_bound_holds_at_its_value_and_one_past_it() {
        let data = SharedData::new(SharedDataLimits { keys: 2, value: 4, total: 10 });

        assert_eq!(data.set(b"a", b"1234", 0), Ok(()));
        assert_eq!(data.set(b"a", b"12345", 0), Err(SharedDataError::Limit("bytes of one shared value")));
        assert_eq!(data.set(b"b", b"1234", 0), Ok(()));
        assert_eq!(data.set(b"bb", b"", 0), Err(SharedDataError::Limit("shared keys")));
        assert_eq!(data.set(b"b", b"", 0), Ok(()));
        assert_eq!(data.len(), 2);
    }

    #[test]
    fn replacing_a_value_gives_its_bytes_back() {
        let data = SharedData::new(SharedDataLimits { keys: 2, value: 8, total: 10 });
        data.set(b"a", b"12345678", 0).unwrap();

        assert_eq!(data.set(b"b", b"1", 0), Err(SharedDataError::Limit("bytes of all shared data")));
        data.set(b"a", b"", 0).unwrap();

        assert_eq!(data.set(b"b", b"1", 0), Ok(()));
    }
}
