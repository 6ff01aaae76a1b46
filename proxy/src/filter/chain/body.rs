//! Bodies and trailers in the chain: what each filter sees, holds back and lets go.

use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tollgate_abi::{Action, Buffer, BufferType, CallbackKind, HeaderMap, StreamCallback};
use tollgate_config::EmptyBody;

use super::{Chain, Context, Halt, Until};
use crate::error::Reason;
use crate::exchange::Half;
use crate::exchange::buffer::BodyBuffer;

/// What came out at the end of the chain.
#[derive(Debug)]
pub enum Flow {
    /// Bytes to pass on; `end` when no body bytes follow.
    Out {
        /// The bytes, perhaps none.
        bytes: Bytes,
        /// True at the end of the body.
        end: bool,
    },
    /// Trailers may leave now, after these bytes.
    Trailers {
        /// Bytes that filters had held back until the trailers.
        bytes: Bytes,
    },
    /// A filter holds it back.
    Held,
}

/// What a filter holds back of one half.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// True while the filter has not let go.
    pub(super) paused: bool,
    body: BodyBuffer,
    /// The body's end is held here too.
    end: bool,
    /// Trailers wait here.
    trailers: bool,
    /// What came this far before the filter had seen the head.
    early: Option<Early>,
}

/// The part of a message that ran ahead of its head; its bytes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    Body,
    Trailers,
}

impl Hold {
    /// Nothing held; at most `limit` bytes of a body may be.
    pub(super) fn new(limit: usize) -> Self {
        Self { body: BodyBuffer::new(limit), ..Self::default() }
    }
}

impl Chain {
    /// Brings a chunk to the filters from `from` on, in the order of this half.
    pub fn body(&self, half: Half, from: usize, chunk: Bytes, end: bool) -> Result<Flow, Halt> {
        let (mut bytes, mut left) = (chunk, None);
        for step in from..self.links.len() {
            if step >= self.gate(half).get() {
                return Ok(self.keep_early(half, step, bytes, end, Early::Body));
            }
            let place = self.place(half, step);
            let Some(released) = self.body_step(half, place, (bytes, end), &mut left)? else {
                return Ok(Flow::Held);
            };
            bytes = released;
        }
        Ok(Flow::Out { bytes, end })
    }

    /// The filter at `step` has not seen the head: what came ahead of it waits there.
    fn keep_early(&self, half: Half, step: usize, bytes: Bytes, end: bool, early: Early) -> Flow {
        let mut hold = self.links[self.place(half, step)].hold(half).borrow_mut();
        hold.body.append(bytes);
        hold.end |= end;
        hold.early = Some(early);
        self.early.set(true);
        Flow::Held
    }

    /// Brings on what ran ahead of the head, as far as the head has come. `None` when there is nothing.
    pub fn catch_up(&self, half: Half) -> Result<Option<Flow>, Halt> {
        if !self.early.get() {
            return Ok(None);
        }
        for step in 0..self.links.len().min(self.gate(half).get()) {
            let mut hold = self.links[self.place(half, step)].hold(half).borrow_mut();
            let Some(early) = hold.early.take() else { continue };
            let (bytes, end) = (hold.body.take(), hold.end);
            drop(hold);
            return self.pass(half, step, bytes, end, early == Early::Trailers).map(Some);
        }
        Ok(None)
    }

    /// One filter's look at what it holds and a new chunk; `None` while it holds on.
    fn body_step(
        &self,
        half: Half,
        place: usize,
        (chunk, end): (Bytes, bool),
        left: &mut Option<Instant>,
    ) -> Result<Option<Bytes>, Halt> {
        let link = &self.links[place];
        let (kind, callback) = match half {
            Half::Request => (CallbackKind::RequestBody, request_body as fn(usize, bool) -> _),
            Half::Response => (CallbackKind::ResponseBody, response_body as _),
        };
        let mut hold = link.hold(half).borrow_mut();
        hold.end |= end;
        let context = link.context.get();
        if context.is_out() || context == Context::None || !link.plugin.generation.exports(kind) {
            hold.paused = false;
            return Ok(Some(joined(&mut hold.body, chunk)));
        }
        let nothing = self.bodiless(half).get() && chunk.is_empty() && hold.body.is_empty();
        if nothing && link.plugin.generation.manners.empty_body == EmptyBody::Skip {
            return Ok(Some(chunk));
        }
        hold.body.append(chunk);
        let size = hold.body.len();
        if hold.paused && size > hold.body.limit {
            return Err(Halt::Fail(Reason::BodyOverLimit { request: half == Half::Request }));
        }
        let action = self.deliver_with_body(half, place, &mut hold, (callback(size, end), end), left)?;
        self.settle_body(place, half, &mut hold, action)
    }

    /// Delivers a callback, lending what the filter holds of the body; `end` when trailers may still be made.
    fn deliver_with_body(
        &self,
        half: Half,
        place: usize,
        hold: &mut Hold,
        (callback, end): (StreamCallback, bool),
        left: &mut Option<Instant>,
    ) -> Result<Action, Halt> {
        let link = &self.links[place];
        let buffer = match half {
            Half::Request => BufferType::RequestBody,
            Half::Response => BufferType::ResponseBody,
        };
        let fresh = BodyBuffer::new(hold.body.limit);
        let lent = std::mem::replace(&mut hold.body, fresh);
        let original = link.plugin.on_error().may_skip().then(|| lent.clone());
        self.with_stream(|stream| {
            stream.body = Some((buffer, lent));
            stream.may_add_trailers = end;
        })?;
        let action = self.deliver(place, callback, left);
        let back = self.with_stream(|stream| {
            stream.may_add_trailers = false;
            stream.body.take()
        })?;
        // What a filter did to a body before it failed and was skipped is undone.
        let failed = link.context.get().is_out();
        hold.body = original.filter(|_| failed).or(back.map(|(_, body)| body)).unwrap_or_default();
        action
    }

    fn settle_body(&self, place: usize, half: Half, hold: &mut Hold, action: Action) -> Result<Option<Bytes>, Halt> {
        let until = if hold.end { Until::Filter } else { Until::Body };
        hold.paused = self.holds(place, half, action, until)?;
        if action == Action::PauseDroppingBytes {
            hold.body.take();
        }
        if hold.body.len() > hold.body.limit && hold.paused {
            return Err(Halt::Fail(Reason::BodyOverLimit { request: half == Half::Request }));
        }
        Ok((!hold.paused).then(|| hold.body.take()))
    }

    /// True when a filter holds this half after its callback.
    fn holds(&self, place: usize, half: Half, action: Action, until: Until) -> Result<bool, Halt> {
        if action == Action::Continue || self.take_resume(place, half)? {
            self.unpause(place, half);
            return Ok(false);
        }
        self.pause(place, half, until)
    }

    /// Brings trailers to the filters from `from` on. What a filter held of the body leaves before them.
    pub fn trailers(&self, half: Half, from: usize) -> Result<Flow, Halt> {
        let (mut bytes, mut left) = (Bytes::new(), None);
        for step in from..self.links.len() {
            if step >= self.gate(half).get() {
                return Ok(self.keep_early(half, step, bytes, false, Early::Trailers));
            }
            let place = self.place(half, step);
            if !bytes.is_empty() {
                let held = (std::mem::take(&mut bytes), false);
                bytes = self.body_step(half, place, held, &mut left)?.unwrap_or_default();
            }
            let mut hold = self.links[place].hold(half).borrow_mut();
            let action = self.trailers_step(half, place, &mut hold, &mut left)?;
            hold.paused = self.holds(place, half, action, Until::Filter)?;
            hold.trailers = hold.paused;
            let held = joined(&mut hold.body, std::mem::take(&mut bytes));
            if hold.paused {
                hold.body.append(held);
                return Ok(Flow::Held);
            }
            bytes = held;
        }
        Ok(Flow::Trailers { bytes })
    }

    /// One filter's look at the trailers, and for the last time at what it holds of the body.
    fn trailers_step(
        &self,
        half: Half,
        place: usize,
        hold: &mut Hold,
        left: &mut Option<Instant>,
    ) -> Result<Action, Halt> {
        let callback = self.with_stream(|stream| match half {
            Half::Request => StreamCallback::RequestTrailers {
                fields: stream.request_trailers.as_ref().map_or(0, |fields| fields.len()),
            },
            Half::Response => StreamCallback::ResponseTrailers {
                fields: stream.response_trailers.as_ref().map_or(0, |fields| fields.len()),
            },
        })?;
        self.deliver_with_body(half, place, hold, (callback, false), left)
    }

    /// Looks whether a filter that paused this half let go, and moves on what it held. `None` while none did.
    pub fn resumed(&self, half: Half) -> Result<Option<Flow>, Halt> {
        for step in 0..self.links.len() {
            let place = self.place(half, step);
            if !self.links[place].hold(half).borrow().paused {
                continue;
            }
            match self.look(place, half) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => continue,
            }
            return self.release(half, step, place).map(Some);
        }
        Ok(None)
    }

    fn release(&self, half: Half, step: usize, place: usize) -> Result<Flow, Halt> {
        self.unpause(place, half);
        let mut hold = self.links[place].hold(half).borrow_mut();
        hold.paused = false;
        let (bytes, end, trailers) = (hold.body.take(), hold.end, std::mem::take(&mut hold.trailers));
        drop(hold);
        self.pass(half, step + 1, bytes, end, trailers)
    }

    /// Brings bytes, and the trailers behind them, to the filters from `from` on.
    fn pass(&self, half: Half, from: usize, bytes: Bytes, end: bool, trailers: bool) -> Result<Flow, Halt> {
        if !trailers {
            return self.body(half, from, bytes, end);
        }
        match self.body(half, from, bytes, false)? {
            Flow::Out { bytes, .. } => Ok(match self.trailers(half, from)? {
                Flow::Trailers { bytes: held } => Flow::Trailers { bytes: chain_bytes(bytes, &held) },
                // The bytes must not wait for the trailers that a later filter holds.
                _ => Flow::Out { bytes, end: false },
            }),
            _ => self.trailers(half, from),
        }
    }

    /// True while some filter holds this half back.
    pub fn is_held(&self, half: Half) -> bool {
        self.links.iter().any(|link| link.hold(half).borrow().paused)
    }

    /// Filters see the response in reverse.
    pub(super) fn place(&self, half: Half, step: usize) -> usize {
        match half {
            Half::Request => step,
            Half::Response => self.links.len() - 1 - step,
        }
    }
}

fn request_body(size: usize, end_of_stream: bool) -> StreamCallback {
    StreamCallback::RequestBody { size, end_of_stream }
}

fn response_body(size: usize, end_of_stream: bool) -> StreamCallback {
    StreamCallback::ResponseBody { size, end_of_stream }
}

/// What was held, followed by a chunk; without copying when either is empty.
fn joined(held: &mut BodyBuffer, chunk: Bytes) -> Bytes {
    held.append(chunk);
    held.take()
}

fn chain_bytes(first: Bytes, second: &Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    let mut all = BodyBuffer::new(usize::MAX);
    all.append(first);
    all.append(second.clone());
    all.take()
}
