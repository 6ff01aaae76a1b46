//! A client of HTTP/2 that writes whatever it is told, and reads frames: nothing here keeps to RFC 9113.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::common::PATIENCE;
use crate::common::frames::Frame;

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

/// A GET that is whole.
pub(crate) fn asks(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &get(&[]))
}

/// A whole GET of `/left`.
pub(crate) fn left(stream: u32) -> Vec<u8> {
    let fields = BASE.map(|(name, value)| (name, if name == ":path" { "/left" } else { value }));
    frame(HEADERS, WHOLE, stream, &block(&fields))
}

/// See the module.
pub(crate) struct RawH2 {
    reader: BufReader<TcpStream>,
    /// True once the proxy neither said anything nor closed for too long.
    pub(crate) gave_up: bool,
}

impl RawH2 {
    /// Connects, and says nothing yet.
    pub(crate) fn connect(address: SocketAddr) -> RawH2 {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        RawH2 { reader: BufReader::new(stream), gave_up: false }
    }

    /// The same with the preface and settings that change nothing.
    pub(crate) fn greet(address: SocketAddr) -> RawH2 {
        let mut client = RawH2::connect(address);
        client.send(&[PREFACE, &settings(&[])].concat()).unwrap();
        client
    }

    /// Writes all of it, unless the proxy hangs up.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// The next frame, whatever it is; `None` when the proxy has closed. To wait in vain fails the test.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let frame = self.try_next();
        assert!(!self.gave_up, "the proxy neither says anything nor closes in {PATIENCE:?}");
        frame
    }

    /// The same, but that `gave_up` tells of a wait in vain.
    pub(crate) fn try_next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let frame = self.reader.read_exact(&mut head).and_then(|()| {
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.reader.read_exact(&mut payload)?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Ok(Frame { kind: head[3], flags: head[4], stream, payload })
        });
        match frame {
            Ok(frame) => Some(frame),
            Err(error) => {
                self.gave_up = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                None
            }
        }
    }
}

/// The status in the first bytes of an answer's head block (RFC 7541 appendix A, and digits in Huffman's code).
pub(crate) fn status(block: &[u8]) -> u16 {
    match block {
        // A size of the table comes first; one past 30 goes on in bytes of which the last is below 128.
        [0x20..=0x3e, rest @ ..] => status(rest),
        [0x3f, rest @ ..] => status(&rest[rest.iter().position(|byte| *byte < 128).unwrap() + 1..]),
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        [0x48 | 0x08 | 0x18, length, text @ ..] if length & 0x80 == 0 => {
            std::str::from_utf8(&text[..usize::from(*length)]).unwrap().parse().unwrap()
        }
        [0x48 | 0x08 | 0x18, length, text @ ..] => digits(&text[..usize::from(length & 0x7f)]),
        _ => panic!("no status at the head of {block:x?}"),
    }
}

fn digits(coded: &[u8]) -> u16 {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
        // '0' to '2' have five bits, '3' to '9' six.
        let digit = if five < 3 { five } else { (five << 1 | bits.next().unwrap()) - 0b01_1001 + 3 };
        number = number * 10 + digit;
    }
    number
}

/// The code of GOAWAY.
pub(crate) fn goaway_code(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())
}
