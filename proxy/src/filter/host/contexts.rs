//! Which exchange a context of a VM belongs to, for hostcalls that name a context of their own choice.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use tollgate_abi::ContextId;

use crate::exchange::Exchange;
use crate::exchange::lent::{Lender, Lent};
use crate::exchange::passage::Passage;

/// The exchanges and connections that have a context in one VM, and the place of the filter in their chains.
#[derive(Default)]
pub struct Contexts {
    live: RefCell<HashMap<ContextId, Owner, BuildHasherDefault<IdHasher>>>,
}

/// Whose a context is, and the place of the filter in its chain.
struct Owner {
    lender: Lender,
    place: usize,
}

impl Contexts {
    /// A context was created for the filter at `place` of the exchange's chain.
    pub fn insert(&self, context: ContextId, exchange: &Rc<Exchange>, place: usize) {
        let owner = Owner { lender: Lender::Exchange(Rc::clone(exchange)), place };
        self.live.borrow_mut().insert(context, owner);
    }

    /// A context was created for the filter at `place` of a connection's chain.
    pub fn insert_passage(&self, context: ContextId, passage: &Rc<Passage>, place: usize) {
        let owner = Owner { lender: Lender::Passage(Rc::clone(passage)), place };
        self.live.borrow_mut().insert(context, owner);
    }

    /// A context is gone.
    pub fn remove(&self, context: ContextId) {
        self.live.borrow_mut().remove(&context);
    }

    /// Forgets all of them, waking each owner: the VM is dead and its policy is due.
    pub fn abandon(&self) {
        let abandoned = std::mem::take(&mut *self.live.borrow_mut());
        abandoned.values().for_each(|owner| owner.lender.wake());
    }

    /// The same for exchanges whose connection is not passed on: their time is over.
    pub fn abandon_exchanges(&self) {
        let is_exchange = |_: &ContextId, owner: &mut Owner| match &owner.lender {
            Lender::Exchange(exchange) => !exchange.is_passage.get(),
            Lender::Passage(_) => false,
        };
        let abandoned: Vec<_> = self.live.borrow_mut().extract_if(is_exchange).collect();
        abandoned.iter().for_each(|(_, owner)| owner.lender.wake());
    }

    /// Takes the stream of a context out of its exchange; `None` while it is lent already.
    pub(super) fn lend(&self, context: ContextId) -> Option<Lent> {
        let live = self.live.borrow();
        let owner = live.get(&context)?;
        owner.lender.lend(owner.place)
    }

    /// Puts a stream back that the filter of this name had; an owner that has something to do about it is woken.
    pub(super) fn put_back(&self, context: ContextId, stream: Lent, name: &str) {
        if let Some(owner) = self.live.borrow().get(&context) {
            owner.lender.take_back(stream, name);
        }
    }
}

/// Spreads context ids, which only we choose: one multiplication, where a keyed hash would cost more than the look-up.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    /// 2⁶⁴ divided by the golden ratio (Knuth, The Art of Computer Programming, vol. 3, §6.4).
    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
