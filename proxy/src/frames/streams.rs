//! The streams of a client's connection that are open: which of them were answered before they were reset.

use std::time::Instant;

use super::reader::{Frame, Kind};
use super::{Breach, Spell};

/// Resets in a spell from which on it matters whether they were answered.
const RESETS: u32 = 100;
/// Streams that are known beside those that may be open: those that h2 refuses, until it has said so.
const REFUSED: usize = 400;

/// See the module.
#[derive(Debug)]
pub(super) struct Streams {
    /// The youngest that was opened.
    pub(super) last: u32,
    /// In the order in which they were opened, which is that of their numbers.
    open: Vec<Stream>,
    /// The most of them.
    most: usize,
    resets: Spell,
    unanswered: u32,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    is_answered: bool,
    /// The client has said all of it.
    is_asked: bool,
    /// We have.
    is_over: bool,
}

impl Streams {
    /// Of a connection on which so many may be open at a time.
    pub(super) fn new(now: Instant, streams: u32) -> Self {
        let most = usize::try_from(streams).unwrap_or(usize::MAX).saturating_add(REFUSED);
        Self { last: 0, open: Vec::new(), most, resets: Spell::new(now), unanswered: 0 }
    }

    /// A frame of the client's.
    pub(super) fn received(&mut self, frame: &Frame, now: Instant) -> Result<(), Breach> {
        match frame.kind {
            Kind::Headers if frame.stream > self.last => {
                self.last = frame.stream;
                if self.open.len() < self.most {
                    let (id, is_asked) = (frame.stream, frame.ends_stream);
                    self.open.push(Stream { id, is_answered: false, is_asked, is_over: false });
                }
                Ok(())
            }
            Kind::Reset => self.reset(frame.stream, now),
            _ if frame.ends_stream => {
                self.end(frame.stream, |stream| stream.is_asked = true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A frame of ours.
    pub(super) fn sent(&mut self, frame: &Frame) {
        let Some(at) = self.place(frame.stream) else { return };
        if frame.kind == Kind::Reset {
            self.open.remove(at);
        } else if frame.kind == Kind::Headers {
            self.open[at].is_answered = true;
        }
        if frame.ends_stream {
            self.end(frame.stream, |stream| stream.is_over = true);
        }
    }

    /// One side has said all that it has to say.
    fn end(&mut self, id: u32, side: impl FnOnce(&mut Stream)) {
        let Some(at) = self.place(id) else { return };
        side(&mut self.open[at]);
        if self.open[at].is_asked && self.open[at].is_over {
            self.open.remove(at);
        }
    }

    /// True until both sides have said all of it, or one has reset it.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.place(id).is_some()
    }

    fn reset(&mut self, stream: u32, now: Instant) -> Result<(), Breach> {
        let Some(at) = self.place(stream) else { return Ok(()) };
        let stream = self.open.remove(at);
        if self.resets.begin_anew(now) {
            self.unanswered = 0;
        }
        let resets = self.resets.add(now);
        self.unanswered += u32::from(!stream.is_answered);
        if resets >= RESETS && self.unanswered * 2 > resets { Err(Breach::Resets) } else { Ok(()) }
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id).ok()
    }
}
