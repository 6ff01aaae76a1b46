//! One exchange at a time over HTTP/1.1, as a client: bodies are counted by length or by chunks, and kept only where somebody
//! wants to look at them.

use std::time::Instant;

use super::ask::{Done, Wanted};
use crate::http;

/// The longest head that is understood.
const HEAD_BYTES: usize = 64 * 1024;

/// See the module.
pub(super) struct Http1 {
    /// When the request in flight was due.
    due: Option<Instant>,
    state: State,
    /// A head or a line that has not come whole.
    line: Vec<u8>,
    /// Bytes of the body so far.
    body: usize,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes, then the answer is whole.
    Sized(usize),
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk and its line end.
    Chunk(usize),
    /// Lines up to an empty one.
    Trailers,
}

impl Http1 {
    /// Of a connection on which nothing was asked.
    pub(super) fn new() -> Http1 {
        Http1 { due: None, state: State::Head, line: Vec::new(), body: 0 }
    }

    /// How many requests may be sent.
    pub(super) fn room(&self) -> usize {
        usize::from(self.due.is_none())
    }

    /// Requests in flight.
    pub(super) fn waiting(&self) -> usize {
        usize::from(self.due.is_some())
    }

    /// The request that was due then is written to `out`.
    pub(super) fn ask(&mut self, wanted: &Wanted, due: Instant, out: &mut Vec<u8>) {
        self.due = Some(due);
        out.extend_from_slice(&wanted.request);
    }

    /// Takes what came.
    pub(super) fn take(&mut self, mut bytes: &[u8], wanted: &Wanted, done: &mut Done) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.due.is_none() {
                return Err("more came than was asked for".to_owned());
            }
            bytes = match self.state {
                State::Head => self.head(bytes, wanted, done)?,
                State::Sized(left) => self.sized(bytes, left, wanted, done)?,
                State::Size => self.size(bytes)?,
                State::Chunk(left) => self.chunk(bytes, left, done),
                State::Trailers => self.trailers(bytes, wanted, done)?,
            };
        }
        Ok(())
    }

    fn head<'a>(&mut self, bytes: &'a [u8], wanted: &Wanted, done: &mut Done) -> Result<&'a [u8], String> {
        let before = self.line.len();
        self.line.extend_from_slice(bytes);
        let Some(end) = http::head_end(&self.line) else {
            let fits = self.line.len() < HEAD_BYTES;
            return if fits { Ok(&[]) } else { Err("the head of an answer does not end".to_owned()) };
        };
        let rest = bytes.get(end.saturating_sub(before)..).unwrap_or_default();
        self.line.truncate(end);
        match http::status(&self.line) {
            Some(200) => {}
            Some(status) => return Err(format!("status {status}")),
            None => return Err("no answer of HTTP/1.1".to_owned()),
        }
        done.keep_head(&self.line);
        let length = http::content_length(&self.line);
        let chunked = http::field(&self.line, b"transfer-encoding:").is_some_and(|coding| coding == "chunked");
        self.line.clear();
        self.state = match length {
            Some(length) => State::Sized(length),
            None if chunked => State::Size,
            None => return Err("an answer has neither length nor chunks".to_owned()),
        };
        if length == Some(0) { self.finish(wanted, done).map(|()| rest) } else { Ok(rest) }
    }

    fn sized<'a>(
        &mut self,
        bytes: &'a [u8],
        left: usize,
        wanted: &Wanted,
        done: &mut Done,
    ) -> Result<&'a [u8], String> {
        let (own, rest) = bytes.split_at(left.min(bytes.len()));
        self.body += own.len();
        done.keep_body(own);
        self.state = State::Sized(left - own.len());
        if own.len() == left {
            self.finish(wanted, done)?;
        }
        Ok(rest)
    }

    fn size<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let (rest, whole) = self.line(bytes);
        if whole {
            let digits = std::str::from_utf8(&self.line).unwrap_or_default().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits.trim(), 16).map_err(|_| "a chunk has no size".to_owned())?;
            self.line.clear();
            self.state = if size == 0 { State::Trailers } else { State::Chunk(size + 2) };
        }
        Ok(rest)
    }

    /// The last two of `left` are the line end.
    fn chunk<'a>(&mut self, bytes: &'a [u8], left: usize, done: &mut Done) -> &'a [u8] {
        let (own, rest) = bytes.split_at(left.min(bytes.len()));
        let content = own.len().min(left.saturating_sub(2));
        self.body += content;
        done.keep_body(own.get(..content).unwrap_or_default());
        self.state = if own.len() == left { State::Size } else { State::Chunk(left - own.len()) };
        rest
    }

    fn trailers<'a>(&mut self, bytes: &'a [u8], wanted: &Wanted, done: &mut Done) -> Result<&'a [u8], String> {
        let (rest, whole) = self.line(bytes);
        if whole {
            let last = self.line.iter().all(u8::is_ascii_whitespace);
            self.line.clear();
            if last {
                self.finish(wanted, done)?;
            }
        }
        Ok(rest)
    }

    /// Gathers a line; what is behind it, and whether it is whole.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.line.extend_from_slice(bytes.get(..end).unwrap_or_default());
                (bytes.get(end + 1..).unwrap_or_default(), true)
            }
            None => {
                self.line.extend_from_slice(bytes);
                (&[], false)
            }
        }
    }

    fn finish(&mut self, wanted: &Wanted, done: &mut Done) -> Result<(), String> {
        self.state = State::Head;
        let body = std::mem::take(&mut self.body);
        wanted.judge(body)?;
        done.due.extend(self.due.take());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n";

    fn take(parts: &[&[u8]], body: usize) -> Result<usize, String> {
        let wanted = Wanted { request: b"GET".to_vec(), body: Some(body) };
        let (mut speech, mut done) = (Http1::new(), Done::keeping());
        speech.ask(&wanted, Instant::now(), &mut Vec::new());
        parts.iter().try_for_each(|part| speech.take(part, &wanted, &mut done))?;
        if !done.due.is_empty() {
            assert_eq!(done.body(), b"hello");
        }
        Ok(done.due.len())
    }

    #[test]
    fn an_answer_is_whole_however_it_is_cut() {
        for whole in [SIZED, CHUNKED] {
            for cut in 0..whole.len() {
                let (one, other) = whole.split_at(cut);

                assert_eq!(take(&[one], 5), Ok(0), "{cut}");
                assert_eq!(take(&[one, other], 5), Ok(1), "{cut}");
            }
        }
    }

    #[test]
    fn another_length_another_status_and_more_than_was_asked_for_are_failures() {
        assert_eq!(take(&[SIZED], 6), Err("a body of 5 bytes in place of 6".to_owned()));
        assert_eq!(take(&[b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"], 5), Err("status 503".to_owned()));
        assert_eq!(take(&[SIZED, b"H"], 5), Err("more came than was asked for".to_owned()));
        assert_eq!(take(&[b"HTTP/1.1 200 OK\r\n\r\n"], 5), Err("an answer has neither length nor chunks".to_owned()));
    }
}
