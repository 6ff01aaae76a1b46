//! One direction of a connection, cut into frames wherever its bytes are cut (RFC 9113 §4.1).

/// The bytes before a payload.
const HEAD: usize = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The kinds of frames that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Reset,
    Settings,
    Continuation,
    Other,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) stream: u32,
    /// The last one of its sender's half of the stream.
    pub(super) ends_stream: bool,
    /// Bytes of a body, without padding.
    pub(super) data: u32,
    ends_head: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    /// The head of the frame that comes, and the length of its padding, which is told by the first byte of the payload.
    head: [u8; HEAD + 1],
    have: usize,
    /// Bytes that are still to be passed over.
    left: usize,
    /// The head of a message has begun, and its end is still to come.
    is_head_open: bool,
    /// The payload that is passed over is that of a head.
    is_head: bool,
}

impl Reader {
    /// A direction that begins with so many bytes that are no frame.
    pub(super) fn after(length: usize) -> Self {
        Self { head: [0; HEAD + 1], have: 0, left: length, is_head_open: false, is_head: false }
    }

    /// Takes bytes up to the next frame, as soon as its head is whole; `None` when all were taken.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            let passed = self.left.min(bytes.len());
            *bytes = &bytes[passed..];
            self.left -= passed;
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.head[self.have] = *byte;
            self.have += 1;
            if self.have == self.needed() {
                return Some(self.begin_payload());
            }
        }
    }

    fn needed(&self) -> usize {
        // A frame's length is that of its payload; the byte that tells of padding is the first of it.
        let is_padded =
            self.have >= HEAD && self.kind() == Kind::Data && self.head[4] & PADDED != 0 && self.length() > 0;
        HEAD + usize::from(is_padded)
    }

    fn begin_payload(&mut self) -> Frame {
        let (kind, flags, length) = (self.kind(), self.head[4], self.length());
        let padding = if self.have > HEAD { usize::from(self.head[HEAD]) + 1 } else { 0 };
        let data = if kind == Kind::Data { length.saturating_sub(padding) } else { 0 };
        let frame = Frame {
            kind,
            stream: u32::from_be_bytes([self.head[5] & 0x7f, self.head[6], self.head[7], self.head[8]]),
            ends_stream: matches!(kind, Kind::Data | Kind::Headers) && flags & END_STREAM != 0,
            data: u32::try_from(data).unwrap_or(u32::MAX),
            ends_head: flags & END_HEADERS != 0,
        };
        self.is_head = matches!(kind, Kind::Headers | Kind::Continuation);
        if self.is_head {
            self.is_head_open = !frame.ends_head;
        }
        self.left = length - (self.have - HEAD);
        self.have = 0;
        frame
    }

    fn kind(&self) -> Kind {
        match self.head[3] {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            9 => Kind::Continuation,
            _ => Kind::Other,
        }
    }

    fn length(&self) -> usize {
        usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2])
    }

    /// True while nothing of a frame is there that is not whole.
    pub(super) fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// True while the head of a message or of a frame has begun and is not whole.
    pub(super) fn is_within_head(&self) -> bool {
        self.have > 0 || self.is_head_open || (self.is_head && self.left > 0)
    }
}
