//! What an image keeps of a state, and the state that is made of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Stage, State, Writable};
use crate::callout::Callouts;
use crate::engine::Ceiling;
use crate::host::Host;
use crate::settings::PluginSettings;
use crate::types::AbiVersion;

/// What a VM that is made from an image takes over from the VM that was configured.
#[derive(Clone)]
pub(crate) struct Kept {
    declared: Arc<HashMap<Vec<u8>, Writable>>,
    /// Numbers that the guest was given are not given again: it may remember them.
    last_token: u32,
    last_callout: u32,
    /// The guest may remember times of its monotonic clock, which does not go back.
    born: Instant,
    /// False when something was under way that only the VM that asked for it will hear of.
    pub(crate) is_self_contained: bool,
}

impl<H: Host> State<H> {
    /// The state of a VM that `kept` was taken from, as it was after its start.
    pub(crate) fn restored(
        kept: &Kept,
        settings: Arc<PluginSettings>,
        abi: AbiVersion,
        ceiling: Ceiling,
        host: H,
    ) -> Self {
        let Kept { declared, last_token, last_callout, born, is_self_contained: _ } = kept;
        State {
            stage: Stage::Open,
            declared: Arc::clone(declared),
            last_token: *last_token,
            callouts: Callouts::after(*last_callout),
            born: *born,
            ..State::new(settings, abi, ceiling, host)
        }
    }

    /// Takes another state, and keeps the handles of the instance.
    pub(crate) fn replace(&mut self, other: Self) {
        let (memory, allocator) = (self.memory, std::mem::take(&mut self.allocator));
        *self = State { memory, allocator, ..other };
    }

    /// What an image keeps of this state. Every field is named, so that a new one is decided here.
    pub(crate) fn keep(&self) -> Kept {
        let State {
            // The image has them by itself, or the module has.
            settings: _,
            abi: _,
            // The embedder gives each VM one of its own.
            host: _,
            // Handles of this instance.
            memory: _,
            allocator: _,
            // The same after every start.
            stage: _,
            allocating: _,
            running: _,
            rundown: _,
            caps: _,
            // Between entries they hold nothing, or what the next entry overwrites. An image is taken before the first
            // exchange, so there is no context but the root.
            contexts: _,
            actions: _,
            deadline: _,
            scratch: _,
            copied: _,
            status: _,
            handed: _,
            // What is under way is this VM's own.
            callouts,
            lookups,
            timers,
            declared,
            last_token,
            born,
        } = self;
        Kept {
            declared: Arc::clone(declared),
            last_token: *last_token,
            last_callout: callouts.last(),
            born: *born,
            is_self_contained: callouts.count() == 0 && lookups.is_empty() && timers.is_empty(),
        }
    }
}
