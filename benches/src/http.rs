//! As much HTTP/1.1 as a benchmark needs: requests, and where an answer with a content-length ends.
//! It is no client: an answer in another shape is a failure here. `load` understands chunks too.

/// The body of every answer of the origin.
pub const BODY: &str = "hello, world\n";

/// What a target with the header filter adds to each request: what the request says it accepts.
pub const ASKED: (&str, &str) = ("x-bench-asked", ACCEPTED.1);
/// What a target with the header filter adds to each answer.
pub const ANSWERED: (&str, &str) = ("x-bench-answered", "yes");

/// To a request for this path the origin answers with the head it got.
pub const SEEN: &str = "/seen";
/// To a request for this path, with a number behind it, the origin answers with so many bytes.
pub const BYTES: &str = "/bytes/";

/// The field that the header filter gets.
pub const ACCEPTED: (&str, &str) = ("accept", "*/*");
/// The three fields that every simple client sends.
pub const FIELDS: [(&str, &str); 3] = [("host", "bench.test"), ("user-agent", "bench"), ACCEPTED];

/// What the header filter is told: to get a field of each request, and to add one to it and one to its answer.
pub fn header_filter() -> String {
    let (copy, add) = (serde_json::json!({ ASKED.0: ACCEPTED.0 }), serde_json::json!({ ANSWERED.0: ANSWERED.1 }));
    serde_json::json!({ "request": { "copy": copy }, "response": { "add": add } }).to_string()
}

/// A request with [`FIELDS`].
pub fn request(path: &str) -> Vec<u8> {
    request_with(path, &[])
}

/// A request with [`FIELDS`] and these.
pub fn request_with(path: &str, more: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\n");
    let more = more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in FIELDS.into_iter().chain(more) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Fields that say nothing, to make a head longer.
pub fn filling(count: usize) -> Vec<(String, String)> {
    (0..count).map(|place| (format!("x-filling-{place}"), format!("a value that nobody reads, {place}"))).collect()
}

/// An answer that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Bytes of the head, the empty line included.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
}

impl Answer {
    /// Bytes of the whole answer.
    pub fn len(self) -> usize {
        self.head + self.body
    }

    /// True for an answer of no bytes, which there is none of.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Bytes that are not the beginning of an answer this module understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP/1.1 answer with a content-length")]
pub struct NotAnAnswer;

/// The first answer in `bytes`; `None` while more of it has to come.
pub fn answer(bytes: &[u8]) -> Result<Option<Answer>, NotAnAnswer> {
    let Some(head) = head_end(bytes) else { return Ok(None) };
    let fields = bytes.get(..head).unwrap_or_default();
    let (status, body) = status(fields).zip(content_length(fields)).ok_or(NotAnAnswer)?;
    let answer = Answer { status, head, body };
    Ok((bytes.len() >= answer.len()).then_some(answer))
}

/// Where the first head in `bytes` ends, its empty line included.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

/// The status of a head.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The length that a head tells of its body.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    field(head, b"content-length:")?.parse().ok()
}

/// The value of the first field of this name, which ends with its colon.
pub(crate) fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name)))?;
    Some(std::str::from_utf8(line.get(name.len()..)?).ok()?.trim())
}

/// The names of a head's fields, in lower case and in order.
pub fn names(head: &str) -> Vec<String> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
}

/// True when a head holds this field, whatever the case of its name.
pub fn has_field(head: &str, (name, value): (&str, &str)) -> bool {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.any(|(known, content)| known.eq_ignore_ascii_case(name) && content.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn an_answer_is_whole_when_its_last_byte_came() {
        for length in 0..WHOLE.len() {
            assert_eq!(answer(&WHOLE[..length]), Ok(None), "{length}");
        }

        let whole = answer(WHOLE).unwrap().unwrap();

        assert_eq!((whole.status, whole.body, whole.len()), (200, 2, WHOLE.len()));
    }

    #[test]
    fn an_answer_without_a_length_is_a_failure() {
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), Err(NotAnAnswer));
        assert_eq!(answer(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"), Err(NotAnAnswer));
    }

    #[test]
    fn a_field_is_found_by_its_name_in_any_case() {
        let head = "GET / HTTP/1.1\r\nX-Bench-Asked: */*\r\n\r\n";

        assert!(has_field(head, ASKED));
        assert!(!has_field(head, ANSWERED));
    }
}
