//! Why a command is refused; each message carries the command as it was written.

use std::fmt;

/// A command that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    command: String,
    cause: Cause,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its first word is not in the table.
    NoCommand,
    /// The header that brought it names no callback.
    NoCallback,
    /// A word is missing; this is what it would say.
    Missing(&'static str),
    /// This word is one too many.
    Extra(String),
    /// This word should have been the other thing.
    Bad(&'static str, String),
    /// The hostcall has so many words, not so many.
    Arity(usize, usize),
}

impl Refusal {
    pub(super) fn new(command: &str, cause: Cause) -> Self {
        Self { command: command.to_owned(), cause }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {:?}: {}", self.command, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("no such command"),
            Self::NoCallback => f.write_str("no such callback"),
            Self::Missing(what) => write!(f, "expected {what}, found the end"),
            Self::Extra(word) => write!(f, "{word:?} is one word too many"),
            Self::Bad(what, word) => write!(f, "expected {what}, found {word:?}"),
            Self::Arity(takes, given) => {
                write!(f, "the hostcall takes {takes} words, given {given}")
            }
        }
    }
}
