//! A hostcall as data: which one, with what, and what of its results is the answer.
//! Slots for results are part of the arguments, as in the ABI, and know what they hold.

use super::bytes::{shown, shown_pairs};
use super::refusal::Cause;
use crate::imports::imports;

/// One hostcall to make.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hostcall {
    /// Its name among the imports.
    pub name: &'static str,
    /// In the order of the ABI.
    pub args: Vec<Arg>,
    /// What the caller wants to hear.
    pub answer: Answer,
}

/// One argument; bytes and the outputs `Bytes` and `Pairs` are two words of the ABI, all others one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// A word; as `u32`, a negative one wraps.
    Number(i64),
    /// Pointer and length of these.
    Bytes(Vec<u8>),
    /// The number of the body that the running callback is about.
    Body,
    /// How long that body is.
    BodySize,
    /// What the hostcall before this one returned.
    Handle,
    /// A place for a result.
    Out(Out),
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Out {
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// Pointer and length of bytes in memory that the guest's allocator gave.
    Bytes,
    /// The same, of a serialised map.
    Pairs,
}

/// Which results make the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// All of them.
    Results,
    /// The one at this place.
    Result(usize),
    /// The status, whatever it is, then all of them.
    Raw,
}

/// What came of a hostcall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As the host returned it.
    pub status: u32,
    /// One for each `Arg::Out`; none unless the status is 0.
    pub results: Vec<Value>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of `Out::U32` and `Out::U64`.
    Number(u64),
    /// Of `Out::Bytes`.
    Bytes(Vec<u8>),
    /// Of `Out::Pairs`, as on the wire.
    Pairs(Vec<u8>),
}

impl Hostcall {
    /// A call whose answer is all it returns.
    pub fn new(name: &'static str, args: impl Into<Vec<Arg>>) -> Self {
        Self { name, args: args.into(), answer: Answer::Results }
    }

    pub(super) fn answering(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }

    /// A call by name, refused unless the arguments are as many words as the ABI has.
    pub(super) fn raw(name: &str, args: Vec<Arg>) -> Result<Self, Cause> {
        let known = IMPORTS.iter().find(|(known, _)| *known == name);
        let (name, takes) = known.ok_or_else(|| Cause::Bad("the full name of a hostcall", name.to_owned()))?;
        let given = args.iter().map(Arg::words).sum();
        if *takes != given {
            return Err(Cause::Arity(*takes, given));
        }
        Ok(Self { name, args, answer: Answer::Raw })
    }
}

impl Arg {
    /// A word without a sign.
    pub fn number(n: u32) -> Self {
        Self::Number(n.into())
    }

    pub(super) fn words(&self) -> usize {
        match self {
            Self::Bytes(_) | Self::Out(Out::Bytes | Out::Pairs) => 2,
            _ => 1,
        }
    }
}

impl Outcome {
    /// The answer in words, as the crate's page promises it.
    pub fn answer(&self, wanted: Answer) -> String {
        let results = || self.results.iter().map(Value::to_string);
        match wanted {
            Answer::Raw => [self.status.to_string()].into_iter().chain(results()).collect::<Vec<_>>().join(" "),
            _ if self.status != 0 => format!("status {}", self.status),
            Answer::Result(at) => results().nth(at).unwrap_or_default(),
            Answer::Results if self.results.is_empty() => "ok".to_owned(),
            Answer::Results => results().collect::<Vec<_>>().join(" "),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Bytes(bytes) => f.write_str(&shown(bytes)),
            Self::Pairs(wire) => f.write_str(&shown_pairs(wire)),
        }
    }
}

macro_rules! arities {
    ($($name:ident($($word:ty),*);)*) => {
        /// Every hostcall and how many words it takes.
        pub(super) const IMPORTS: &[(&str, usize)] = &[$((stringify!($name), <[&str]>::len(&[$(stringify!($word)),*]))),*];
    };
}

imports!(arities);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn outcome(status: u32, results: impl Into<Vec<Value>>) -> Outcome {
        Outcome { status, results: results.into() }
    }

    #[test]
    fn an_answer_is_the_results_or_ok_or_the_status() {
        let both = outcome(0, [Value::Bytes(b"v".to_vec()), Value::Number(7)]);

        assert_eq!(both.answer(Answer::Results), "v 7");
        assert_eq!(both.answer(Answer::Result(1)), "7");
        assert_eq!(outcome(0, []).answer(Answer::Results), "ok");
        assert_eq!(outcome(2, []).answer(Answer::Results), "status 2");
        assert_eq!(outcome(1, []).answer(Answer::Result(0)), "status 1");
    }

    #[test]
    fn a_raw_answer_always_starts_with_the_status() {
        assert_eq!(outcome(0, []).answer(Answer::Raw), "0");
        assert_eq!(outcome(6, []).answer(Answer::Raw), "6");
        assert_eq!(outcome(0, [Value::Number(3)]).answer(Answer::Raw), "0 3");
    }
}
