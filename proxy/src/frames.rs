//! HTTP/2 frames, counted as their bytes pass by: a peer that makes work and gets nowhere is told from one that is busy
//! (RFC 9113 §10.5).
//!
//! It reads the head of each frame and keeps nothing of the rest. What frames mean is not its business, nor what becomes
//! of a flood: whoever moves the bytes ends the connection.

pub mod guarded;
mod reader;
mod streams;

use std::time::{Duration, Instant};

use self::reader::{Frame, Kind, Reader};
use self::streams::Streams;

/// How long frames are counted together.
const SPELL: Duration = Duration::from_secs(10);
/// Frames that a peer may send in a spell while nothing moves for them.
const FRAMES_WITHOUT_PROGRESS: u32 = 1000;
/// Frames that are handed on at a time. h2 takes what it is given before any stream has its turn, and ends a connection
/// with some five hundred small pieces of bodies that no stream has looked at.
pub const CROWD: usize = 256;
/// RFC 9113 §3.4: a client's connection begins with these, which are no frame.
const PREFACE_LENGTH: usize = 24;
/// RFC 9113 §7.
const PROTOCOL_ERROR: u8 = 1;
const ENHANCE_YOUR_CALM: u8 = 11;

/// What a connection is ended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Something else than settings came first (RFC 9113 §3.4).
    #[error("the first frame is not of settings")]
    Preface,
    /// Frames that carry nothing and are answered by nothing: settings, pings, priorities, windows, unknown ones, resets
    /// of streams that are closed, empty data, pieces of a head that does not end.
    #[error("{FRAMES_WITHOUT_PROGRESS} frames came without progress")]
    Control,
    /// Requests that are withdrawn before they are answered (CVE-2023-44487).
    #[error("requests were reset before they were answered, too many and too often")]
    Resets,
}

impl Breach {
    /// True for what costs a peer less than us.
    pub fn is_flood(self) -> bool {
        self != Self::Preface
    }

    fn code(self) -> u8 {
        if self.is_flood() { ENHANCE_YOUR_CALM } else { PROTOCOL_ERROR }
    }
}

/// Frames of one connection, both ways.
///
/// Progress is a byte of a body that comes on an open stream, or a head or a byte of a body that goes: each costs the peer
/// a request or bytes of its own. Anything else that comes is counted. Frames that wait to be sent need no count of their own: h2
/// reads nothing that it would have to acknowledge before the last acknowledgement has left.
#[derive(Debug)]
pub struct Accounting {
    received: Reader,
    sent: Reader,
    /// The client's first frame came. What an upstream begins with is h2's to judge, who tells it from a connection that
    /// broke.
    begun: bool,
    without_progress: Spell,
    /// Only for clients: an upstream that resets what it was asked is asked no more than it was.
    streams: Option<Streams>,
}

impl Accounting {
    /// Of a connection that a client made, on which so many streams may be open at a time.
    pub fn of_client(now: Instant, streams: u32) -> Self {
        let (received, sent) = (Reader::after(PREFACE_LENGTH), Reader::after(0));
        let streams = Some(Streams::new(now, streams));
        Self { received, sent, begun: false, without_progress: Spell::new(now), streams }
    }

    /// Of a connection to an upstream.
    pub fn of_upstream(now: Instant) -> Self {
        let (received, sent) = (Reader::after(0), Reader::after(PREFACE_LENGTH));
        Self { received, sent, begun: true, without_progress: Spell::new(now), streams: None }
    }

    /// Bytes came from the peer, after those that were told before; `now` may be coarse. Answers how many were looked at:
    /// all, or those up to the head of the last frame of a [`CROWD`]. After a breach nothing more is to be told.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<usize, Breach> {
        let mut rest = bytes;
        for _ in 0..CROWD {
            let Some(frame) = self.received.next(&mut rest) else { break };
            self.weigh(&frame, now)?;
        }
        Ok(bytes.len() - rest.len())
    }

    fn weigh(&mut self, frame: &Frame, now: Instant) -> Result<(), Breach> {
        if !std::mem::replace(&mut self.begun, true) && frame.kind != Kind::Settings {
            return Err(Breach::Preface);
        }
        // Before the frame is taken in: with its last byte a stream may close.
        let moves = frame.data > 0 && self.streams.as_ref().is_none_or(|streams| streams.is_open(frame.stream));
        if let Some(streams) = &mut self.streams {
            streams.received(frame, now)?;
        }
        if moves {
            self.without_progress.count = 0;
        } else if self.without_progress.add(now) > FRAMES_WITHOUT_PROGRESS {
            return Err(Breach::Control);
        }
        Ok(())
    }

    /// Bytes went to the peer, after those that were told before.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.sent.next(&mut bytes) {
            if let Some(streams) = &mut self.streams {
                streams.sent(&frame);
            }
            if frame.kind == Kind::Headers || frame.data > 0 {
                self.without_progress.count = 0;
            }
        }
    }

    /// True while a head, or a frame of any kind, has begun to come and is not whole.
    pub fn is_within_head(&self) -> bool {
        self.received.is_within_head()
    }

    /// The last word to a peer, unless it would fall into the middle of another frame.
    pub fn farewell(&self, breach: Breach) -> Option<[u8; 17]> {
        let last = self.streams.as_ref().map_or(0, |streams| streams.last).to_be_bytes();
        let frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, last[0], last[1], last[2], last[3], 0, 0, 0, breach.code()];
        self.sent.is_between_frames().then_some(frame)
    }
}

/// How often something happened since the spell began.
#[derive(Debug)]
struct Spell {
    since: Instant,
    count: u32,
}

impl Spell {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Once more; a spell that is over begins anew. Answers the count.
    fn add(&mut self, now: Instant) -> u32 {
        self.begin_anew(now);
        self.count += 1;
        self.count
    }

    /// True when the spell was over.
    fn begin_anew(&mut self, now: Instant) -> bool {
        let is_over = now.saturating_duration_since(self.since) > SPELL;
        if is_over {
            *self = Self::new(now);
        }
        is_over
    }
}

#[cfg(test)]
mod tests;
