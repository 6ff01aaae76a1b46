//! Where each request of an HTTP/1.1 client begins and ends: the one opinion about it, formed before hyper sees a byte.
//!
//! It looks at bytes where they lie and says how many may go on. Lines are found by their ends, so a head costs one search
//! for line feeds and a look at few of its lines; bodies are counted. What a field means is `exchange::hop`'s business.
//!
//! hyper 1.12 and httparse 1.10 read more than RFC 9112 lets a client send. What they would let pass, and what is done:
//!
//! | hyper | here |
//! |---|---|
//! | takes a line feed alone for the end of a line, in heads and in trailers | 400 |
//! | skips any number of empty lines before a request | one is skipped, a second is 400 |
//! | merges `content-length` lines of equal value | 400 |
//! | drops `content-length` beside `transfer-encoding`, and reads the body as chunks | 400 |
//! | takes any list of codings that ends in `chunked` | 400 unless it is `chunked` alone, said once |
//! | drops a fragment from the target without a word | 400 |
//! | answers 400 to a version that it does not speak | 505 where it is a version |
//! | takes space behind the size of a chunk, and any bytes as its extension, 16 KiB in all | 400; the grammar, 1 KiB in all |
//! | takes sizes of chunks with any number of leading zeros | 16 digits, less than 2^63 |
//! | takes framing fields as trailers, and as many bytes of trailers as of a head | 400; 20 fields and 8 KiB |
//! | bounds the head as a whole, not its lines | 16 KiB for the target, 32 KiB for a field |
//! | reads on while an exchange is under way | the bytes behind a request wait until it is answered, so that they are the
//! |   | next request, or the upgraded connection's, and never a matter of luck |
//!
//! What is left to hyper it refuses with 400 by itself: methods and names that are no tokens, controls in values, folded
//! lines, space before a colon, targets that are no URI.

mod chunk;
mod head;

use crate::error::Reason;

/// What one request may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Fields of a head.
    pub(crate) fields: usize,
    /// Bytes of a head.
    pub(crate) bytes: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Part of a head.
    Head(head::Scan),
    /// Behind a request that is not answered.
    Between,
    /// Part of a body of which so many bytes are left.
    Body(u64),
    /// Part of the line before a chunk.
    ChunkLine,
    /// Part of a chunk of which so many bytes are left.
    Chunk(u64),
    /// Part of the line end behind a chunk.
    ChunkEnd,
    /// Part of the trailer section, of which so many bytes hold no end.
    Trailers(usize),
    /// Nothing that anybody reads.
    Over,
}

/// What may go on of the bytes that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// How many from their beginning.
    pub(crate) bytes: usize,
    /// True when there is a whole head among them.
    pub(crate) head: bool,
}

/// See the module. One for each connection.
#[derive(Debug)]
pub(crate) struct Framing {
    bounds: Bounds,
    at: At,
    /// Bytes of chunk extensions of this body.
    extensions: usize,
}

impl Framing {
    /// The first byte begins a head.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, at: At::Head(head::Scan::default()), extensions: 0 }
    }

    /// The request before is answered: the next byte begins a head.
    pub(crate) fn go_on(&mut self) {
        if self.at == At::Between {
            self.at = At::Head(head::Scan::default());
        }
    }

    /// True behind a request that is not answered.
    pub(crate) fn waits(&self) -> bool {
        self.at == At::Between
    }

    /// True after a refusal: nothing is looked at again.
    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// True while a body is being read, which cannot be refused with an answer of its own.
    pub(crate) fn is_in_body(&self) -> bool {
        !matches!(self.at, At::Head(_) | At::Between | At::Over)
    }

    /// Nothing is looked at again.
    pub(crate) fn end(&mut self) {
        self.at = At::Over;
    }

    /// Says how many of `bytes` may go on. The others are to be shown again, with what follows them, and with nothing
    /// before them. What is wrong is said when nothing before it is left to go on.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Result<Passed, Reason> {
        let mut passed = Passed::default();
        while passed.bytes < bytes.len() {
            let rest = &bytes[passed.bytes..];
            let is_head = matches!(self.at, At::Head(_));
            match self.step(rest) {
                Ok(0) => break,
                Ok(length) => {
                    passed.bytes += length;
                    passed.head |= is_head;
                }
                Err(_) if passed.bytes > 0 => break,
                Err(reason) => return Err(reason),
            }
        }
        Ok(passed)
    }

    /// The length of what is whole at the beginning of `rest`, which is not empty; 0 where more is needed.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Reason> {
        match self.at {
            At::Between | At::Over => Ok(0),
            At::Head(scan) => self.head(scan, rest),
            At::Body(left) => {
                let (length, left) = take(left, rest.len());
                self.at = if left == 0 { At::Between } else { At::Body(left) };
                Ok(length)
            }
            At::Chunk(left) => {
                let (length, left) = take(left, rest.len());
                self.at = if left == 0 { At::ChunkEnd } else { At::Chunk(left) };
                Ok(length)
            }
            At::ChunkLine => self.chunk_line(rest),
            At::ChunkEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.at = At::ChunkLine;
                    Ok(2)
                }
                [b'\r'] => Ok(0),
                _ => Err(Reason::BadRequest("chunk_end_missing")),
            },
            At::Trailers(seen) => self.trailers(seen, rest),
        }
    }

    fn head(&mut self, mut scan: head::Scan, rest: &[u8]) -> Result<usize, Reason> {
        let Some((length, body)) = scan.look(rest, self.bounds)? else {
            self.at = At::Head(scan);
            return Ok(0);
        };
        self.extensions = 0;
        self.at = match body {
            head::Body::Length(0) => At::Between,
            head::Body::Length(length) => At::Body(length),
            head::Body::Chunks => At::ChunkLine,
        };
        Ok(length)
    }

    fn chunk_line(&mut self, rest: &[u8]) -> Result<usize, Reason> {
        let Some(line) = chunk::line(rest, self.extensions)? else { return Ok(0) };
        self.extensions += line.extensions;
        self.at = if line.size == 0 { At::Trailers(0) } else { At::Chunk(line.size) };
        Ok(line.length)
    }

    fn trailers(&mut self, seen: usize, rest: &[u8]) -> Result<usize, Reason> {
        match chunk::trailers(rest, seen, self.bounds)? {
            Some(length) => {
                self.at = At::Between;
                Ok(length)
            }
            None => {
                self.at = At::Trailers(rest.len());
                Ok(0)
            }
        }
    }
}

/// How many of `there` bytes belong to the `left` that are wanted, and how many are wanted still.
fn take(left: u64, there: usize) -> (usize, u64) {
    let length = usize::try_from(left).map_or(there, |left| left.min(there));
    (length, left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { fields: 100, bytes: 60 * 1024 };
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const CHUNKS: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
        3;a=\"b\"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx: 1\r\ny: 2\r\n\r\n";
    const LENGTH: &[u8] = b"\r\nPUT /a HTTP/1.0\r\nContent-Length:\t5 \r\n\r\nab\r\nc";

    /// How many bytes of one request go on when it comes in pieces that end where `ends` says, and why no more.
    fn in_pieces(bytes: &[u8], ends: &[usize]) -> (usize, Option<Reason>) {
        let (mut framing, mut passed, mut shown) = (Framing::new(BOUNDS), 0, 0);
        for end in ends.iter().copied().chain([bytes.len()]) {
            shown = end.max(shown);
            loop {
                match framing.look(&bytes[passed..shown]) {
                    Ok(Passed { bytes: 0, .. }) => break,
                    Ok(more) => passed += more.bytes,
                    Err(reason) => return (passed, Some(reason)),
                }
            }
        }
        (passed, None)
    }

    #[test]
    fn where_a_request_ends_does_not_depend_on_how_it_is_cut() {
        for request in [GET, CHUNKS, LENGTH] {
            let stream = [request, GET].concat();
            for one in 0..stream.len() {
                for other in [one, one + 1, stream.len() / 2] {
                    let (passed, why) = in_pieces(&stream, &[one, other.min(stream.len())]);

                    assert_eq!((passed, why), (request.len(), None), "{one} {other}: {}", request.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn what_is_refused_does_not_depend_on_how_it_is_cut() {
        for (stream, why) in [
            (&b"GET / HTTP/1.1\nhost: a\r\n\r\n"[..], "bare_lf"),
            (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", "content_length_invalid"),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", "two_framings"),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "chunk_end_missing"),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: b\r\n\r\n", "trailer_not_allowed"),
        ] {
            let whole = in_pieces(stream, &[]);
            let bytewise: Vec<usize> = (0..stream.len()).collect();

            assert_eq!(whole.1, Some(Reason::BadRequest(why)));
            assert_eq!(in_pieces(stream, &bytewise).1, whole.1, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn nothing_goes_on_behind_a_request_until_it_is_answered() {
        let mut framing = Framing::new(BOUNDS);

        let first = framing.look(&[GET, GET].concat()).unwrap();
        let second = framing.look(GET).unwrap();
        framing.go_on();
        let third = framing.look(GET).unwrap();

        let whole = Passed { bytes: GET.len(), head: true };
        assert_eq!((first, second, third), (whole, Passed::default(), whole));
    }
}
