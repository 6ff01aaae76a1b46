//! Key-value data that every VM of one `vm_id` sees, on every worker. It outlives VMs and generations.
//!
//! It does not persist and does not notify.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::SharedDataLimits;

/// The shared data of one `vm_id`. The embedder keeps one per `vm_id` and hands the same `Arc` to each of its VMs.
#[derive(Debug, Default)]
pub struct SharedData {
    /// Guards entries, their sum, their bounds and the counter together. Held for one look-up or one insertion, never across a guest call.
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
    limits: SharedDataLimits,
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Keys that vanish, soonest first: exactly those whose entry has this `until`.
    vanishing: BTreeSet<(Instant, Arc<[u8]>)>,
    /// Sum of the lengths of all keys and values.
    bytes: usize,
    last_cas: u32,
}

#[derive(Debug)]
struct Entry {
    value: SharedValue,
    until: Option<Instant>,
}

impl SharedData {
    /// An empty store with these bounds.
    pub fn new(limits: SharedDataLimits) -> Self {
        SharedData { table: Mutex::new(Table { limits, ..Table::default() }) }
    }

    /// Changes the bounds. What is stored stays, even where it is past them.
    pub fn limit(&self, limits: SharedDataLimits) {
        self.table().limits = limits;
    }

    /// An empty store with the bounds of this one.
    pub fn emptied(&self) -> SharedData {
        SharedData::new(self.table().limits.clone())
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<SharedValue> {
        self.table().entries.get(key).map(|entry| entry.value.clone())
    }

    /// Stores `value`. A `cas` of 0 always wins; another must be the current number of the key.
    ///
    /// As in Envoy, a `cas` for a key that does not exist wins. The value stays until it is replaced or removed.
    pub fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), SharedDataError> {
        self.store(key, value, cas, None)
    }

    /// The same for a value that vanishes after `ttl`, as if it were removed then.
    pub fn set_for(&self, key: &[u8], value: &[u8], cas: u32, ttl: Duration) -> Result<(), SharedDataError> {
        // A time past what the clock can say is no end.
        self.store(key, value, cas, Instant::now().checked_add(ttl))
    }

    fn store(&self, key: &[u8], value: &[u8], cas: u32, until: Option<Instant>) -> Result<(), SharedDataError> {
        let mut table = self.table();
        if value.len() > table.limits.value {
            return Err(SharedDataError::Limit("bytes of one shared value"));
        }
        table.set(key, value, cas, until)
    }

    /// Removes `key`; false when there is none. A `cas` of 0 always wins; another must be the current number of the key.
    pub fn remove(&self, key: &[u8], cas: u32) -> Result<bool, SharedDataError> {
        let mut table = self.table();
        match table.entries.get(key) {
            None => Ok(false),
            Some(entry) if cas != 0 && cas != entry.value.cas => Err(SharedDataError::CasMismatch),
            Some(_) => {
                table.forget(key);
                Ok(true)
            }
        }
    }

    /// The keys that begin with `prefix`, in order. The whole table is looked through.
    pub fn keys(&self, prefix: &[u8]) -> Vec<Arc<[u8]>> {
        let table = self.table();
        let mut keys: Vec<_> = table.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        drop(table);
        keys.sort_unstable();
        keys
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
        table.vanishing.clear();
        table.bytes = 0;
    }

    /// The table without what has vanished.
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is complete before the guard drops, so a panic elsewhere leaves nothing half done.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read only where something can vanish.
        if !table.vanishing.is_empty() {
            table.sweep(Instant::now());
        }
        table
    }
}

impl Table {
    fn set(&mut self, key: &[u8], value: &[u8], cas: u32, until: Option<Instant>) -> Result<(), SharedDataError> {
        let old = self.entries.get(key);
        if let Some(old) = old
            && cas != 0
            && cas != old.value.cas
        {
            return Err(SharedDataError::CasMismatch);
        }
        let freed = old.map_or(0, |old| key.len() + old.value.bytes.len());
        let bytes = self.bytes - freed + key.len() + value.len();
        if old.is_none() && self.entries.len() >= self.limits.keys {
            return Err(SharedDataError::Limit("shared keys"));
        }
        if bytes > self.limits.total {
            return Err(SharedDataError::Limit("bytes of all shared data"));
        }
        self.forget(key);
        self.bytes = bytes;
        self.insert(key.into(), value, until);
        Ok(())
    }

    fn insert(&mut self, key: Arc<[u8]>, value: &[u8], until: Option<Instant>) {
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        if let Some(until) = until {
            self.vanishing.insert((until, key.clone()));
        }
        let value = SharedValue { bytes: value.into(), cas: self.last_cas };
        self.entries.insert(key, Entry { value, until });
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.bytes -= key.len() + entry.value.bytes.len();
            if let Some(until) = entry.until {
                self.vanishing.remove(&(until, key));
            }
        }
    }

    // Each key is inserted once for each time it is forgotten, so nobody waits here for more than was put in.
    fn sweep(&mut self, now: Instant) {
        while let Some((until, key)) = self.vanishing.first()
            && *until <= now
        {
            let key = key.clone();
            self.forget(&key);
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

    #[test]
    fn a_removed_key_is_gone_and_gives_its_bytes_back() {
        let data = SharedData::new(SharedDataLimits { keys: 1, value: 8, total: 9 });
        data.set(b"a", b"12345678", 0).unwrap();
        let cas = data.get(b"a").unwrap().cas;

        assert_eq!(data.remove(b"a", cas + 1), Err(SharedDataError::CasMismatch));
        assert_eq!(data.remove(b"a", cas), Ok(true));
        assert_eq!(data.remove(b"a", 0), Ok(false));

        assert_eq!(data.set(b"b", b"12345678", 0), Ok(()));
        assert!(data.get(b"b").unwrap().cas > cas);
    }

    #[test]
    fn keys_come_in_order_by_their_beginning() {
        let data = SharedData::default();
        for key in ["b2", "a", "b1", "b", ""] {
            data.set(key.as_bytes(), b"", 0).unwrap();
        }

        let keys = |prefix: &[u8]| data.keys(prefix).iter().map(|key| key.to_vec()).collect::<Vec<_>>();

        assert_eq!(keys(b"b"), [b"b".to_vec(), b"b1".to_vec(), b"b2".to_vec()]);
        assert_eq!(keys(b"").len(), 5);
        assert!(keys(b"c").is_empty());
    }

    #[test]
    fn a_key_vanishes_with_its_time_and_leaves_its_room() {
        let data = SharedData::new(SharedDataLimits { keys: 1, value: 8, total: 9 });
        data.set_for(b"a", b"12345678", 0, Duration::ZERO).unwrap();

        assert_eq!(data.get(b"a"), None);
        assert!(data.is_empty() && data.keys(b"").is_empty());
        assert_eq!(data.set(b"b", b"12345678", 0), Ok(()));
    }

    #[test]
    fn what_has_time_left_stays_and_so_does_what_was_set_again() {
        let data = SharedData::default();
        data.set_for(b"long", b"v", 0, Duration::from_secs(3600)).unwrap();
        data.set_for(b"for ever", b"v", 0, Duration::MAX).unwrap();
        data.set_for(b"again", b"v", 0, Duration::from_secs(1)).unwrap();
        data.set(b"again", b"w", 0).unwrap();

        let mut table = data.table();
        table.sweep(Instant::now() + Duration::from_secs(60));
        drop(table);

        assert_eq!(data.len(), 3);
        assert_eq!(&*data.get(b"again").unwrap().bytes, b"w");
        assert_eq!(data.table().vanishing.len(), 1);
    }
}
