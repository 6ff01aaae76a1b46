//! HTTP/2 frames as they lie on the wire (RFC 9113 §4.1), for origins that say what no library would.

use std::io::{self, Read};

use crate::common::origin::Peer;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of RST_STREAM.
    pub(crate) fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// The beginning of a connection: the client's preface in, settings out.
pub(crate) fn greet(peer: &mut Peer) -> io::Result<()> {
    let mut preface = [0; 24];
    peer.reader().read_exact(&mut preface)?;
    assert_eq!(preface, PREFACE);
    // SETTINGS_INITIAL_WINDOW_SIZE: a mebibyte for each stream; the connection's window stays at 64 KiB.
    send(peer, SETTINGS, 0, 0, &[0, 4, 0, 16, 0, 0])
}

/// Room for another mebibyte of bodies on the connection.
pub(crate) fn widen(peer: &mut Peer) -> io::Result<()> {
    send(peer, WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes())
}

/// The next frame that is about a stream or the end. Settings and pings are acknowledged on the way.
pub(crate) fn next(peer: &mut Peer) -> io::Result<Frame> {
    loop {
        let mut head = [0; 9];
        peer.reader().read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        peer.reader().read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        match frame.kind {
            SETTINGS | PING if frame.flags & ACK == 0 => {
                let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                send(peer, frame.kind, ACK, 0, &payload)?;
            }
            DATA | HEADERS | RST_STREAM | GOAWAY => return Ok(frame),
            _ => {}
        }
    }
}

/// The next request's stream, once the request has come to its end.
pub(crate) fn request(peer: &mut Peer) -> io::Result<u32> {
    loop {
        let frame = next(peer)?;
        if frame.ends_stream() {
            return Ok(frame.stream);
        }
    }
}

pub(crate) fn send(peer: &mut Peer, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    peer.send(frame)
}

/// Status 200 and this body, whole.
pub(crate) fn answer(peer: &mut Peer, stream: u32, body: &str) -> io::Result<()> {
    begin(peer, stream)?;
    send(peer, DATA, END_STREAM, stream, body.as_bytes())
}

/// Status 200, of which the body is to come. RFC 7541 appendix A has it at index 8.
pub(crate) fn begin(peer: &mut Peer, stream: u32) -> io::Result<()> {
    send(peer, HEADERS, END_HEADERS, stream, &[0x88])
}

/// Ends a stream.
pub(crate) fn reset(peer: &mut Peer, stream: u32, code: u32) -> io::Result<()> {
    send(peer, RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// Says that streams after `last` were not looked at, without an error.
pub(crate) fn go_away(peer: &mut Peer, last: u32) -> io::Result<()> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&0u32.to_be_bytes());
    send(peer, GOAWAY, 0, 0, &payload)
}
