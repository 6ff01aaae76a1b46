//! Several exchanges at a time over HTTP/2, as a client that does as little as it may: a request is the same bytes but for the
//! number of its stream, windows are as large as they can be, and of an answer's head only the status is read.
//!
//! It is no decoder of HPACK: an answer whose status is not among the first bytes of its head is a failure.

use std::time::Instant;

use super::ask::{Done, Wanted};
use crate::http;

/// RFC 9113 §3.4; then settings that allow no pushes and open the largest window to each stream; then the connection's.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\x0c\x04\0\0\0\0\0\0\x02\0\0\0\0\0\x04\x7f\xff\xff\xff\
    \0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0";
/// That settings were taken.
const TAKEN: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
/// How much of the connection's window is used before it is opened again.
const USED: usize = 1 << 30;
/// The last number that is given to a stream of a connection; the run is over before.
const LAST: u32 = (1 << 31) - 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// See the module.
pub(super) struct Http2 {
    streams: usize,
    next: u32,
    active: Vec<Stream>,
    /// Of a frame that has not come whole: its nine bytes, and how much of it there is.
    frame: Vec<u8>,
    /// Bytes of DATA since the window was opened.
    used: usize,
    begun: bool,
}

struct Stream {
    number: u32,
    due: Instant,
    good: bool,
    body: usize,
}

impl Http2 {
    /// Of a connection on which nothing was said, with so many streams at a time.
    pub(super) fn new(streams: usize) -> Http2 {
        Http2 { streams, next: 1, active: Vec::with_capacity(streams), frame: Vec::new(), used: 0, begun: false }
    }

    /// How many requests may be sent.
    pub(super) fn room(&self) -> usize {
        self.streams - self.active.len()
    }

    /// Requests in flight.
    pub(super) fn waiting(&self) -> usize {
        self.active.len()
    }

    /// The request that was due then is written to `out`.
    pub(super) fn ask(&mut self, wanted: &Wanted, due: Instant, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(BEGIN);
        }
        let number = self.next;
        self.next = self.next.saturating_add(2).min(LAST);
        self.active.push(Stream { number, due, good: false, body: 0 });
        let length = u32::try_from(wanted.request.len()).unwrap_or_default().to_be_bytes();
        out.extend_from_slice(length.get(1..).unwrap_or_default());
        out.extend_from_slice(&[HEADERS, END_STREAM | 4]);
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&wanted.request);
    }

    /// Takes what came; what has to be said to it is written to `out`.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        wanted: &Wanted,
        done: &mut Done,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if self.frame.is_empty() {
            let rest = self.whole_frames(bytes, wanted, done, out)?;
            self.frame.extend_from_slice(rest);
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.frame);
        gathered.extend_from_slice(bytes);
        self.frame = self.whole_frames(&gathered, wanted, done, out)?.to_vec();
        Ok(())
    }

    /// Takes the frames that are whole, and gives back the rest.
    fn whole_frames<'a>(
        &mut self,
        mut bytes: &'a [u8],
        wanted: &Wanted,
        done: &mut Done,
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], String> {
        while let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = bytes.split_first_chunk::<9>() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            let Some((content, rest)) = rest.split_at_checked(length) else { break };
            let number = u32::from_be_bytes([d & 0x7f, e, f, g]);
            self.frame(Frame { kind, flags, number, content }, wanted, done, out)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    fn frame(&mut self, frame: Frame<'_>, wanted: &Wanted, done: &mut Done, out: &mut Vec<u8>) -> Result<(), String> {
        match frame.kind {
            HEADERS => self.head(&frame)?,
            DATA => self.data(&frame, done, out)?,
            SETTINGS if frame.flags & ACK == 0 => out.extend_from_slice(TAKEN),
            PING if frame.flags & ACK == 0 => {
                out.extend_from_slice(&[0, 0, 8, PING, ACK, 0, 0, 0, 0]);
                out.extend_from_slice(frame.content);
            }
            RESET => return Err("a stream was reset".to_owned()),
            GOAWAY => return Err("the connection is to end".to_owned()),
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            return self.finish(frame.number, wanted, done);
        }
        Ok(())
    }

    /// A second head of a stream is trailers.
    fn head(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let stream = self.stream(frame.number)?;
        if !stream.good && !is_status_200(frame.bare()) {
            return Err(format!("a head that does not begin with status 200: {:02x?}", frame.bare().get(..8)));
        }
        stream.good = true;
        Ok(())
    }

    fn data(&mut self, frame: &Frame<'_>, done: &mut Done, out: &mut Vec<u8>) -> Result<(), String> {
        let content = frame.bare();
        self.stream(frame.number)?.body += content.len();
        done.keep_body(content);
        self.used += frame.content.len();
        if self.used >= USED {
            out.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&u32::try_from(self.used).unwrap_or_default().to_be_bytes());
            self.used = 0;
        }
        Ok(())
    }

    fn stream(&mut self, number: u32) -> Result<&mut Stream, String> {
        let known = self.active.iter_mut().find(|stream| stream.number == number);
        known.ok_or_else(|| "more came than was asked for".to_owned())
    }

    fn finish(&mut self, number: u32, wanted: &Wanted, done: &mut Done) -> Result<(), String> {
        let Some(place) = self.active.iter().position(|stream| stream.number == number) else { return Ok(()) };
        let stream = self.active.swap_remove(place);
        wanted.judge(stream.body)?;
        done.due.push(stream.due);
        Ok(())
    }
}

/// One that came whole.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    number: u32,
    content: &'a [u8],
}

impl Frame<'_> {
    /// Without padding and priority (RFC 9113 §6.1, §6.2).
    fn bare(&self) -> &[u8] {
        let (mut content, mut padding) = (self.content, 0);
        if self.flags & PADDED != 0
            && let Some((length, rest)) = content.split_first()
        {
            (content, padding) = (rest, usize::from(*length));
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..).unwrap_or_default();
        }
        content.get(..content.len().saturating_sub(padding)).unwrap_or_default()
    }
}

/// The status is the first field: entry 8 of the static table (RFC 7541 appendix A), behind changes of the dynamic table's size.
fn is_status_200(block: &[u8]) -> bool {
    block.iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&0x88)
}

/// The block of a request's head: entries of the static table where there are, all others literal and not to be kept.
pub(super) fn block(path: &str, more: &[(String, String)], tls: bool) -> Vec<u8> {
    let mut block = vec![0x82, if tls { 0x87 } else { 0x86 }];
    literal(&mut block, ":path", path);
    for (name, value) in http::FIELDS {
        literal(&mut block, if name == "host" { ":authority" } else { name }, value);
    }
    more.iter().for_each(|(name, value)| literal(&mut block, name, value));
    block
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        length(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// RFC 7541 §5.1, with seven bits of the first byte.
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.extend(u8::try_from(length)) };
    block.push(127);
    while rest >= 128 {
        block.extend(u8::try_from(rest % 128 + 128));
        rest /= 128;
    }
    block.extend(u8::try_from(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings, a head with a changed table size before the status, and a body in two frames, one of them padded.
    const ANSWER: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x04\0\0\0\x01\x20\x88\x61\
        \0\0\x06\0\x08\0\0\0\x01\x02hel\0\0\0\0\x02\0\x01\0\0\0\x01lo";

    fn take(parts: &[&[u8]], body: usize) -> Result<(usize, Vec<u8>), String> {
        let wanted = Wanted { request: block("/", &[], false), body: Some(body) };
        let (mut speech, mut done, mut out) = (Http2::new(2), Done::keeping(), Vec::new());
        speech.ask(&wanted, Instant::now(), &mut Vec::new());
        parts.iter().try_for_each(|part| speech.take(part, &wanted, &mut done, &mut out))?;
        assert!(done.due.is_empty() || done.body() == b"hello");
        Ok((done.due.len(), out))
    }

    #[test]
    fn an_answer_is_whole_however_it_is_cut() {
        for cut in 0..ANSWER.len() {
            let (one, other) = ANSWER.split_at(cut);

            assert_eq!(take(&[one], 5).unwrap().0, 0, "{cut}");
            assert_eq!(take(&[one, other], 5), Ok((1, TAKEN.to_vec())), "{cut}");
        }
    }

    #[test]
    fn another_length_another_status_and_a_reset_are_failures() {
        let status = b"\0\0\x01\x01\x05\0\0\0\x01\x8d";

        assert_eq!(take(&[ANSWER], 6), Err("a body of 5 bytes in place of 6".to_owned()));
        assert!(take(&[status], 0).is_err());
        assert!(take(&[b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"], 0).is_err());
    }

    #[test]
    fn lengths_of_literals_are_of_any_size() {
        let mut block = Vec::new();
        [10, 127, 128 + 127].into_iter().for_each(|long| length(&mut block, long));

        assert_eq!(block, [10, 127, 0, 127, 0x80, 1]);
    }
}
