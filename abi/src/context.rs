//! Which contexts of one VM live, whose turn it is, and the exchanges lent to them.
//!
//! It never calls the guest or the embedder.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::ContextId;

/// What a VM knows about one exchange or connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    /// Callouts it began.
    pub(crate) callouts: usize,
    pub(crate) rundown: Rundown,
}

/// How far the end of a context is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rundown {
    #[default]
    Serving,
    /// Its `proxy_on_done` answered false; the guest owes a `proxy_done`.
    Pending,
    Done,
}

/// The contexts of one VM; `S` is the embedder's exchange.
pub(crate) struct Contexts<S> {
    live: HashMap<ContextId, Life, BuildHasherDefault<IdHasher>>,
    last: u32,
    /// The context whose callback runs.
    current: ContextId,
    /// The context that hostcalls speak of: `current`, until the guest chooses another one.
    effective: ContextId,
    /// The exchange of `current`. `None` while no entry runs, and in entries of the root.
    lent: Option<S>,
    /// Exchanges of other contexts that the running entry chose; empty while no entry runs.
    borrowed: Vec<(ContextId, S)>,
}

impl<S> Contexts<S> {
    /// The root context; it takes part in everything but `live`, which counts exchanges.
    pub(crate) const ROOT: ContextId = ContextId(1);

    pub(crate) fn new() -> Self {
        Contexts {
            live: HashMap::default(),
            last: Self::ROOT.0,
            current: Self::ROOT,
            effective: Self::ROOT,
            lent: None,
            borrowed: Vec::new(),
        }
    }

    /// A fresh id, or `None` after four billion of them: ids are never reused.
    pub(crate) fn open(&mut self) -> Option<ContextId> {
        let id = ContextId(self.last.checked_add(1)?);
        self.last = id.0;
        self.live.insert(id, Life::default());
        Some(id)
    }

    pub(crate) fn close(&mut self, id: ContextId) {
        self.live.remove(&id);
    }

    pub(crate) fn is_live(&self, id: ContextId) -> bool {
        self.live.contains_key(&id)
    }

    pub(crate) fn life(&mut self, id: ContextId) -> Option<&mut Life> {
        self.live.get_mut(&id)
    }

    pub(crate) fn streams(&self) -> usize {
        self.live.len()
    }

    /// The live context of this number, the root included.
    pub(crate) fn find(&self, number: u32) -> Option<ContextId> {
        let id = ContextId(number);
        (id == Self::ROOT || self.is_live(id)).then_some(id)
    }

    /// An entry for `id` begins, with its exchange if it is not the root.
    pub(crate) fn enter(&mut self, id: ContextId, stream: Option<S>) {
        self.current = id;
        self.effective = id;
        self.lent = stream;
    }

    /// The entry is over: gives the exchange back.
    pub(crate) fn leave(&mut self) -> Option<S> {
        let stream = self.lent.take();
        self.enter(Self::ROOT, None);
        stream
    }

    pub(crate) fn current(&self) -> ContextId {
        self.current
    }

    pub(crate) fn effective(&self) -> ContextId {
        self.effective
    }

    pub(crate) fn choose(&mut self, id: ContextId) {
        self.effective = id;
    }

    /// True when the exchange of `id` still has to be borrowed before hostcalls can act on it.
    pub(crate) fn lacks(&self, id: ContextId) -> bool {
        id != Self::ROOT && id != self.current && !self.borrowed.iter().any(|(known, _)| *known == id)
    }

    pub(crate) fn borrow(&mut self, id: ContextId, stream: S) {
        self.borrowed.push((id, stream));
    }

    pub(crate) fn borrowed(&self) -> usize {
        self.borrowed.len()
    }

    pub(crate) fn pop_borrowed(&mut self) -> Option<(ContextId, S)> {
        self.borrowed.pop()
    }

    /// The exchange that hostcalls speak of.
    pub(crate) fn stream(&mut self) -> Option<&mut S> {
        self.stream_of(self.effective)
    }

    pub(crate) fn stream_of(&mut self, id: ContextId) -> Option<&mut S> {
        if id == self.current {
            return self.lent.as_mut();
        }
        let found = self.borrowed.iter_mut().find(|(known, _)| *known == id);
        found.map(|(_, stream)| stream)
    }
}

/// Hashes an id to a multiple of itself: ids are counted by us, so nobody can choose colliding ones.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_id_is_never_given_twice() {
        let mut contexts = Contexts::<()>::new();

        let first = contexts.open().unwrap();
        contexts.close(first);
        let second = contexts.open().unwrap();

        assert_ne!(first, second);
        assert_eq!(contexts.find(first.get()), None);
        assert_eq!(contexts.find(second.get()), Some(second));
        assert_eq!(contexts.find(0), None);
    }

    #[test]
    fn the_last_number_is_not_followed_by_another() {
        let mut contexts = Contexts::<()>::new();
        contexts.last = u32::MAX - 1;

        assert!(contexts.open().is_some());
        assert_eq!(contexts.open(), None);
    }

    #[test]
    fn the_effective_context_falls_back_when_the_entry_ends() {
        let mut contexts = Contexts::new();
        let (own, other) = (contexts.open().unwrap(), contexts.open().unwrap());
        contexts.enter(own, Some("own"));
        contexts.borrow(other, "other");

        contexts.choose(other);
        assert_eq!(contexts.stream(), Some(&mut "other"));
        assert_eq!(contexts.leave(), Some("own"));

        assert_eq!(contexts.effective(), Contexts::<&str>::ROOT);
        assert_eq!(contexts.stream(), None);
    }
}
