//! The floods, and after how many frames each has to be over. `soak floods` of the benchmarks sends the same ones.

use super::h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PADDED, PING, PRIORITISED, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, WHOLE, asks, block, frame, get, post, reset, settings, window,
};

/// A thousand frames without progress are borne.
const CONTROL: u32 = 1001;
/// Streams that are reset for the client's errors.
const ERRORS: u32 = 130;

/// See the module.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    /// How many frames, or pairs of them, are sent, and no more: then the connection has to end.
    pub(crate) frames: u32,
    /// What comes before.
    pub(crate) begin: fn() -> Vec<u8>,
    pub(crate) frame: fn(u32) -> Vec<u8>,
    /// Counted as a flood for sure; others may end in h2 before.
    pub(crate) is_counted: bool,
    /// What GOAWAY tells its client: one of these.
    pub(crate) codes: &'static [u32],
}

/// A flood that the proxy counts.
const fn counted(name: &'static str, begin: fn() -> Vec<u8>, frame: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, frames: CONTROL, begin, frame, is_counted: true, codes: &[ENHANCE_YOUR_CALM] }
}

/// A flood that h2 ends.
const fn known(name: &'static str, frames: u32, begin: fn() -> Vec<u8>, frame: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, frames, begin, frame, is_counted: false, codes: &[ENHANCE_YOUR_CALM] }
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// A request that is open.
fn open() -> Vec<u8> {
    posts(1)
}

fn posts(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &post(&[]))
}

/// A request that is over.
fn over() -> Vec<u8> {
    [posts(1), reset(1, 8)].concat()
}

/// The stream of that number.
fn odd(number: u32) -> u32 {
    number * 2 + 1
}

fn priority(stream: u32, depends_on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&depends_on.to_be_bytes()[..], &[15]].concat())
}

pub(crate) const ROWS: &[Flood] = &[
    counted("settings that say nothing", nothing, |_| settings(&[])),
    counted("settings that move every window", open, |number| settings(&[(4, 65_535 - number % 2)])),
    counted("settings that resize the table of heads", nothing, |number| settings(&[(1, number % 2 * 4096)])),
    counted("pings", nothing, |number| frame(PING, 0, 0, &u64::from(number).to_be_bytes())),
    counted("answers to pings that were not sent", nothing, |_| frame(PING, ACK, 0, b"unasked!")),
    counted("priorities of one stream", open, |_| priority(1, 0)),
    counted("priorities of streams that never open", nothing, |number| priority(odd(number), 0)),
    counted("priorities that turn a tree round and round", open, |number| {
        priority(3 + number % 2 * 2, 5 - number % 2 * 2)
    }),
    counted("windows for the connection", nothing, |_| window(0, 1)),
    counted("windows for a stream that waits", open, |_| window(1, 1)),
    counted("windows for a stream that is closed", over, |_| window(1, 1)),
    counted("resets of a stream that is closed", over, |_| reset(1, 8)),
    counted("frames of an unknown kind", nothing, |_| frame(0x4d, 0, 0, b"")),
    counted("large frames of an unknown kind", nothing, |_| frame(0x4d, 0xff, 1, &[0; 1000])),
    known("empty data", 101, open, |_| frame(DATA, 0, 1, b"")),
    known("data that is all padding", 101, open, |_| {
        frame(DATA, PADDED, 1, &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }),
    known(
        "a head in empty pieces",
        10,
        || frame(HEADERS, END_STREAM, 1, &get(&[])),
        |_| frame(CONTINUATION, 0, 1, b""),
    ),
    known(
        "a head that grows without end",
        10,
        || frame(HEADERS, END_STREAM, 1, &get(&[])),
        |_| frame(CONTINUATION, 0, 1, &block(&[("x", "x".repeat(100))])),
    ),
    known(
        "one large field that is said again and again",
        20,
        || frame(HEADERS, 0, 1, &bomb()),
        |_| frame(CONTINUATION, 0, 1, &[0xbe; 1000]),
    ),
    known("requests that are reset before they are looked at", 100, nothing, |number| {
        [asks(odd(number)), reset(odd(number), 8)].concat()
    }),
    known("windows that overflow, so that streams are reset", ERRORS, nothing, |number| {
        [posts(odd(number)), window(odd(number), (1 << 31) - 1)].concat()
    }),
    known("heads that may not be, so that streams are reset", ERRORS, nothing, |number| {
        frame(HEADERS, WHOLE, odd(number), &get(&[("connection", "close")]))
    }),
    known("requests that depend on themselves", ERRORS, nothing, |number| {
        let stream = odd(number);
        frame(HEADERS, WHOLE | PRIORITISED, stream, &[&stream.to_be_bytes()[..], &[15], &get(&[])].concat())
    }),
    Flood {
        // h2 counts streams that it reset, and takes a head for such a stream for an error: whichever comes first.
        codes: &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR],
        ..known("second heads that do not end their requests", ERRORS, nothing, |number| {
            [posts(odd(number)), frame(HEADERS, END_HEADERS, odd(number), &block(&[("x", "y")]))].concat()
        })
    },
    known("bodies longer than was said", ERRORS, nothing, |number| {
        let head = frame(HEADERS, END_HEADERS, odd(number), &post(&[("content-length", "1")]));
        [head, frame(DATA, 0, odd(number), b"xx")].concat()
    }),
    known("more streams than may be open", 1200, nothing, |number| posts(odd(number))),
    counted("data on a stream that was reset", over, |_| frame(DATA, 0, 1, b"x")),
    counted("settings, pings, priorities and windows in turn", nothing, |number| match number % 4 {
        0 => frame(SETTINGS, 0, 0, b""),
        1 => frame(PING, 0, 0, b"in turn!"),
        2 => priority(1, 0),
        _ => window(0, 1),
    }),
    counted("resets of many streams that are closed", many_over, |number| {
        frame(RST_STREAM, 0, odd(number % 10), &[0; 4])
    }),
];

/// A field of 4,000 bytes that goes into the table of heads.
fn bomb() -> Vec<u8> {
    let mut block = get(&[]);
    block.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
    block.extend([b'x'; 4000]);
    block
}

fn many_over() -> Vec<u8> {
    // Fewer than may be reset before they are looked at.
    (0..10).flat_map(|number| [posts(odd(number)), reset(odd(number), 8)].concat()).collect()
}
