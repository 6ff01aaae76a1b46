//! HTTP/1.1 messages as they lie on the wire, read strictly: whatever is not exactly a message is an error.

use std::io::{self, BufRead, ErrorKind, Read, Write};

/// The longest line that is read.
const LINE: u64 = 1 << 20;

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// The header fields, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailer fields, in order.
    pub(crate) trailers: Vec<(String, String)>,
    /// Interim answers that came before this one.
    pub(crate) interim: Vec<Message>,
}

/// What decides about a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Answer,
    AnswerToHead,
}

impl Message {
    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("{:?} is no status line", self.start))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name)
    }

    /// The first value of a trailer.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        values(&self.trailers, name).first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as JSON, which is what the built-in echo answers.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// True when the body came in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.field("transfer-encoding") == Some("chunked")
    }
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

/// A whole message, or `None` when the peer closed before its first byte.
pub(crate) fn read(reader: &mut impl BufRead, kind: Kind) -> io::Result<Option<Message>> {
    let Some(mut message) = read_head(reader)? else { return Ok(None) };
    read_body(reader, &mut message, kind)?;
    Ok(Some(message))
}

/// A message up to its body.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let start = read_line(reader)?;
    Ok(Some(Message { start, fields: read_fields(reader)?, ..Message::default() }))
}

/// The body of a message whose head was read.
pub(crate) fn read_body(reader: &mut impl BufRead, message: &mut Message, kind: Kind) -> io::Result<()> {
    let mut body = Vec::new();
    message.trailers = copy_body(reader, message, kind, &mut body)?;
    message.body = body;
    Ok(())
}

/// The body of a message whose head was read, as it comes; returns its trailers.
pub(crate) fn copy_body(
    reader: &mut impl BufRead,
    head: &Message,
    kind: Kind,
    into: &mut impl Write,
) -> io::Result<Vec<(String, String)>> {
    if is_bodiless(head, kind) {
        return Ok(Vec::new());
    }
    if head.field("transfer-encoding").is_some() {
        return copy_chunks(reader, head, into);
    }
    match head.field("content-length").map(str::parse) {
        Some(Ok(length)) => copy_exactly(reader, into, length)?,
        Some(Err(_)) => return Err(bad("content-length is no number")),
        None if kind == Kind::Request => {}
        None => drop(io::copy(reader, into)?),
    }
    Ok(Vec::new())
}

fn is_bodiless(message: &Message, kind: Kind) -> bool {
    match kind {
        Kind::Request => false,
        Kind::AnswerToHead => true,
        Kind::Answer => matches!(message.status(), 100..=199 | 204 | 304),
    }
}

fn copy_chunks(reader: &mut impl BufRead, head: &Message, into: &mut impl Write) -> io::Result<Vec<(String, String)>> {
    if !head.is_chunked() || head.field("content-length").is_some() {
        return Err(bad("two framings, or a coding that nobody asked for"));
    }
    loop {
        let size = read_line(reader)?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| bad("no chunk size"))?;
        if size == 0 {
            return read_fields(reader);
        }
        copy_exactly(reader, into, size)?;
        if !read_line(reader)?.is_empty() {
            return Err(bad("a chunk does not end"));
        }
    }
}

fn copy_exactly(reader: &mut impl BufRead, into: &mut impl Write, length: u64) -> io::Result<()> {
    let copied = io::copy(&mut reader.take(length), into)?;
    if copied == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn read_fields(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(LINE).read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    String::from_utf8(line.to_vec()).map_err(|_| bad("a line that is no text"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}
