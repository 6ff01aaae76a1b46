//! What a root context shares with its stream contexts: ids it has opened and streams that wait for its ticks.
//! No borrow outlives a method, and no method runs while the host calls back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::ffi::{self, Frame};
use super::run::warn;
use crate::policy::{Arg, Hostcall, Outcome, Value};

#[derive(Default)]
pub(super) struct Shared {
    /// The last gRPC callout.
    pub(super) grpc: Cell<u32>,
    handles: RefCell<HashMap<Hostcall, u64>>,
    waiting: RefCell<Vec<Waiting>>,
}

/// A paused half of an exchange.
struct Waiting {
    context: u32,
    stream: u32,
    /// The tick that brings this to zero continues it.
    ticks: u32,
}

impl Shared {
    /// The id that `open` returns, asked for once.
    pub(super) fn handle(&self, open: &Hostcall) -> Result<u64, Outcome> {
        if let Some(handle) = self.handles.borrow().get(open) {
            return Ok(*handle);
        }
        let outcome = ffi::call(open, Frame::default());
        match outcome.results.first() {
            Some(Value::Number(handle)) => {
                self.handles.borrow_mut().insert(open.clone(), *handle);
                Ok(*handle)
            }
            _ => Err(outcome),
        }
    }

    pub(super) fn wait(&self, context: u32, stream: u32, ticks: u32) {
        self.waiting.borrow_mut().push(Waiting { context, stream, ticks });
    }

    pub(super) fn forget(&self, context: u32) {
        self.waiting.borrow_mut().retain(|waiting| waiting.context != context);
    }

    /// Counts one tick and continues the streams whose last it was.
    pub(super) fn resume_due(&self, root: u32) {
        let due: Vec<Waiting> = self.waiting.borrow_mut().extract_if(.., Waiting::tick).collect();
        for waiting in &due {
            request("proxy_set_effective_context", waiting.context);
            request("proxy_continue_stream", waiting.stream);
        }
        if !due.is_empty() {
            request("proxy_set_effective_context", root);
        }
    }
}

impl Waiting {
    fn tick(&mut self) -> bool {
        self.ticks = self.ticks.saturating_sub(1);
        self.ticks == 0
    }
}

fn request(name: &'static str, word: u32) {
    let call = Hostcall::new(name, [Arg::number(word)]);
    let outcome = ffi::call(&call, Frame::default());
    if outcome.status != 0 {
        warn(&format!("probe: {name} {word} = status {}", outcome.status));
    }
}
