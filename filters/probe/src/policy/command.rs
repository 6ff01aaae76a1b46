//! One command: what it does, and where its answer goes.
//! How the words of each are read is in `lower`.

use super::hostcall::Hostcall;
use super::lower;
use super::refusal::{Cause, Refusal};
use super::words::Words;

/// One command of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As it was written, without the sink.
    pub text: String,
    /// What it does.
    pub act: Act,
    /// The header that keeps its answer.
    pub sink: Option<Sink>,
}

/// One header of one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// As the ABI numbers maps.
    pub map: u32,
    /// The header's name.
    pub name: Vec<u8>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// One hostcall.
    Call(Hostcall),
    /// A hostcall on what another one opened; `open` is made once per root context and its id remembered.
    OnHandle {
        /// Returns the id.
        open: Hostcall,
        /// Uses it as `Arg::Handle`.
        then: Hostcall,
    },
    /// A hostcall whose bytes go to the sink untouched, if it returns any.
    Copy(Hostcall),
    /// A callout.
    Callout(Callout),
    /// A gRPC callout; the root context remembers the last one.
    GrpcCallout(GrpcCallout),
    /// A hostcall with the last gRPC callout as `Arg::Handle`.
    OnGrpc(Hostcall),
    /// The body in capitals.
    BodyUpper,
    /// Nothing further until the body ended.
    BodyBuffer,
    /// The callback answers Pause.
    Pause,
    /// The same, and the root continues the stream at that many ticks from now.
    ResumeAfterTicks(u32),
    /// The callback answers false.
    Refuse,
    /// A mistake.
    Fault(Fault),
}

/// A callout, in the types the SDK wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The cluster.
    pub upstream: String,
    /// Pseudo-headers first.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// In order.
    pub trailers: Vec<(String, String)>,
    /// In milliseconds; what 0 means is for the host to say.
    pub timeout_ms: u32,
}

/// A gRPC call or stream, in the types the SDK wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCallout {
    /// The cluster, or what else names one.
    pub upstream: Vec<u8>,
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// In order.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The one message of a call and its timeout in milliseconds; a stream has neither.
    pub message: Option<(Vec<u8>, u32)>,
}

/// What a filter should not do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the commands")]
pub enum Fault {
    Trap,
    Panic(String),
    Loop,
    Recurse,
    Exit(i32),
    Grow(usize),
}

impl Command {
    /// Reads commands between semicolons; empty ones are none.
    pub fn list(text: &str) -> Result<Vec<Self>, Refusal> {
        let commands = text.split(';').map(str::trim).filter(|text| !text.is_empty());
        commands.map(|text| Self::parse(text).map_err(|cause| Refusal::new(text, cause))).collect()
    }

    fn parse(text: &str) -> Result<Self, Cause> {
        let all: Vec<&str> = text.split_whitespace().collect();
        let arrow = all.iter().position(|word| *word == "->").unwrap_or(all.len());
        let (said, sink) = (&all[..arrow], all.get(arrow + 1..));

        let mut words = Words::new(said);
        let act = lower::act(&mut words)?;
        let unread = words.len();
        let sink = match sink {
            Some(sink) => words.finish().and_then(|()| Sink::parse(Words::new(sink))).map(Some)?,
            None if unread == 0 => None,
            None => Some(Sink::parse(words)?),
        };
        let text = said[..said.len() - unread].join(" ");
        match (&act, &sink) {
            (Act::Copy(_), None) => Err(Cause::Missing("a header map")),
            _ => Ok(Self { text, act, sink }),
        }
    }
}

impl Sink {
    fn parse(mut words: Words<'_>) -> Result<Self, Cause> {
        let sink = Self { map: words.map()?, name: words.bytes("a header name")? };
        words.finish()?;
        Ok(sink)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn one(text: &str) -> Command {
        let mut list = Command::list(text).unwrap();
        assert_eq!(list.len(), 1);
        list.remove(0)
    }

    fn refusal(text: &str) -> String {
        Command::list(text).unwrap_err().to_string()
    }

    #[test]
    fn semicolons_part_commands_and_empty_ones_are_none() {
        assert_eq!(Command::list(" pause ;; refuse; ").unwrap().len(), 2);
        assert_eq!(Command::list("").unwrap(), []);
    }

    #[test]
    fn an_answer_goes_where_the_arrow_points() {
        let command = one("get request-headers a -> response-headers b%20c");

        assert_eq!(command.sink, Some(Sink { map: 2, name: b"b c".to_vec() }));
        assert_eq!(command.text, "get request-headers a");
    }

    #[test]
    fn the_arrow_may_be_left_out_after_a_fixed_number_of_words() {
        for (short, long) in [
            ("body-len response-headers n", "body-len -> response-headers n"),
            ("property a.b 0 x", "property a.b -> request-headers x"),
            ("shared-get k 2 x", "shared-get k -> response-headers x"),
            ("copy 0 a 2 b", "copy 0 a -> response-headers b"),
        ] {
            assert_eq!(one(short), one(long));
        }
    }

    #[test]
    fn a_bad_sink_is_refused() {
        assert_eq!(refusal("time ->"), r#"command "time ->": expected a header map, found the end"#);
        assert_eq!(refusal("time -> 0"), r#"command "time -> 0": expected a header name, found the end"#);
        assert_eq!(refusal("time -> 0 a b"), r#"command "time -> 0 a b": "b" is one word too many"#);
        assert_eq!(refusal("time x -> 0 a"), r#"command "time x -> 0 a": "x" is one word too many"#);
        assert_eq!(refusal("pause x y"), r#"command "pause x y": expected a header map, found "x""#);
        assert_eq!(refusal("copy 0 a"), r#"command "copy 0 a": expected a header map, found the end"#);
    }
}
