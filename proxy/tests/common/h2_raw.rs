//! A client of HTTP/2 that writes whatever it is told, and reads frames: nothing here keeps to RFC 9113.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::common::PATIENCE;
use crate::common::frames::Frame;

pub(crate) use crate::common::h2_wire::*;

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

    /// The next frame that is no ping of the proxy's; those are answered.
    fn next_said(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind != PING || frame.flags & ACK != 0 {
                return Some(frame);
            }
            // Whoever closes has no use for it.
            let _ = self.send(&self::frame(PING, ACK, 0, &frame.payload));
        }
    }

    /// The status and the body of the answer on this stream, whole. Pings are answered on the way.
    pub(crate) fn answer(&mut self, stream: u32) -> (u16, Vec<u8>) {
        let (mut code, mut body) = (0, Vec::new());
        loop {
            let frame = self.next_said().expect("an answer");
            match frame.kind {
                HEADERS if frame.stream == stream && code == 0 => code = status(&frame.payload),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if frame.stream == stream && frame.ends_stream() {
                return (code, body);
            }
        }
    }

    /// Waits for the proxy to close; the codes of GOAWAY on the way. Pings are answered.
    pub(crate) fn parted(&mut self) -> Vec<u32> {
        let frames = std::iter::from_fn(|| self.next_said());
        frames.filter(|frame| frame.kind == GOAWAY).map(|frame| goaway_code(&frame)).collect()
    }

    /// The next frame like [`RawH2::next`], but that `gave_up` tells of a wait in vain.
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
