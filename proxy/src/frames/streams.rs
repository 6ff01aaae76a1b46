//! The streams of a client's connection that are open: which of them were answered before they were reset.

use std::time::Instant;

use super::reader::{Frame, Kind};
use super::{Breach, Spell};

/// Resets in a spell from which on it matters whether they were answered.
const RESETS: u32 = 100;
/// Streams that are known at a time. More than h2 lets be open: those it refuses are known until it has said so.
const KNOWN: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Streams {
    /// The youngest that was opened.
    pub(super) last: u32,
    /// In the order in which they were opened.
    open: Vec<Stream>,
    resets: Spell,
    unanswered: u32,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    is_answered: bool,
}

impl Streams {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: 0, open: Vec::new(), resets: Spell::new(now), unanswered: 0 }
    }

    /// A frame of the client's.
    pub(super) fn received(&mut self, frame: &Frame, now: Instant) -> Result<(), Breach> {
        match frame.kind {
            Kind::Headers if frame.stream > self.last => {
                self.last = frame.stream;
                if self.open.len() < KNOWN {
                    self.open.push(Stream { id: frame.stream, is_answered: false });
                }
                Ok(())
            }
            Kind::Reset => self.reset(frame.stream, now),
            _ => Ok(()),
        }
    }

    /// A frame of ours.
    pub(super) fn sent(&mut self, frame: &Frame) {
        let Some(at) = self.place(frame.stream) else { return };
        if frame.ends_stream || frame.kind == Kind::Reset {
            self.open.remove(at);
        } else if frame.kind == Kind::Headers {
            self.open[at].is_answered = true;
        }
    }

    /// True until one side has ended it: the client with a reset, we with the end of an answer.
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

    /// The youngest are the ones that frames are about.
    fn place(&self, id: u32) -> Option<usize> {
        self.open.iter().rposition(|stream| stream.id == id)
    }
}
