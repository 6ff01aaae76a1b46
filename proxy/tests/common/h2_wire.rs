//! Frames of HTTP/2 as they lie on the wire, right or wrong, for whoever writes them by hand.
//!
//! The floods of the benchmarks are made of them, too, so nothing else of the tests is named here.

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITISED: u8 = 32;
/// END_STREAM and END_HEADERS.
pub(crate) const WHOLE: u8 = 5;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame as it lies on the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// SETTINGS of these parameters.
pub(crate) fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload = parameters.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &payload.collect::<Vec<u8>>())
}

pub(crate) fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn ping(payload: &[u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, payload)
}

/// A head block: each field as a literal that is not indexed, with a new name (RFC 7541 §6.2.2).
pub(crate) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_ref());
        string(&mut block, value.as_ref());
    }
    block
}

/// RFC 7541 §5.2, not in Huffman's code.
fn string(block: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).unwrap()),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend_from_slice(text);
}

/// What every request says.
pub(crate) const BASE: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// The head block of a GET with further fields.
pub(crate) fn get(more: &[(&str, &str)]) -> Vec<u8> {
    block(&[&BASE[..], more].concat())
}

/// The head block of a POST with further fields.
pub(crate) fn post(more: &[(&str, &str)]) -> Vec<u8> {
    block(&[&[(":method", "POST")], &BASE[1..], more].concat())
}

/// A whole GET of this path.
pub(crate) fn asks_for(stream: u32, path: &str) -> Vec<u8> {
    let fields = BASE.map(|(name, value)| (name, if name == ":path" { path } else { value }));
    frame(HEADERS, WHOLE, stream, &block(&fields))
}

/// A GET that is whole.
pub(crate) fn asks(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &get(&[]))
}

/// The path of requests that nobody waits for.
pub(crate) const LEFT: &str = "/left";

/// A whole GET of [`LEFT`].
pub(crate) fn left(stream: u32) -> Vec<u8> {
    asks_for(stream, LEFT)
}

/// A POST of [`LEFT`] with further fields, whose body is to come.
pub(crate) fn left_open(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = BASE.map(|(name, value)| match name {
        ":method" => (name, "POST"),
        ":path" => (name, LEFT),
        _ => (name, value),
    });
    frame(HEADERS, END_HEADERS, stream, &block(&[&fields[..], more].concat()))
}
