//! Scalars: the types that are written as one word or one number.
//! Each is read from its text and spelled in one way; where the text stands is not known here.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::error::Code;

/// Why a piece of text is not what belongs at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) code: Code,
    /// What follows the quoted text in the message: `is not a port`.
    pub(crate) reason: String,
}

impl Unfit {
    /// The text means nothing here.
    pub(crate) fn value(reason: impl Into<String>) -> Unfit {
        Unfit { code: Code::BadValue, reason: reason.into() }
    }

    /// The text means something that this version does not have.
    pub(crate) fn not_supported() -> Unfit {
        Unfit { code: Code::NotSupported, reason: "is not supported in this version".into() }
    }
}

/// What a scalar type makes of an unquoted number.
pub(crate) enum Bare {
    /// It is no text, so it is refused.
    Refused,
    /// It is what the type is made of.
    Taken,
    /// It says the same as the text.
    Text,
    /// It lacks one of these units.
    Lacks(&'static [&'static str]),
}

/// A type that is written as one word, text or number.
pub(crate) trait Scalar: Sized {
    /// What a person would call it, after "expected".
    const EXPECTED: &'static str;
    /// What an unquoted number, or a truth, is.
    const BARE: Bare = Bare::Refused;

    /// The value that a text means.
    fn parse(text: &str) -> Result<Self, Unfit>;

    /// The one way to write the value.
    fn spell(&self) -> Value;

    /// The schema of what may be written; references are allowed for already.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Text that may be anything.
impl Scalar for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<String, Unfit> {
        Ok(text.to_owned())
    }

    fn spell(&self) -> Value {
        self.as_str().into()
    }
}

/// Whether something is so.
impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";
    const BARE: Bare = Bare::Taken;

    fn parse(text: &str) -> Result<bool, Unfit> {
        text.parse().map_err(|_| Unfit::value("is neither true nor false"))
    }

    fn spell(&self) -> Value {
        (*self).into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// A type with few values, each written as a word.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// The words with what they mean.
    const WORDS: &'static [(&'static str, Self)];
    /// The words of later versions.
    const LATER: &'static [&'static str] = &[];
    /// As [`Scalar::EXPECTED`].
    const EXPECTED: &'static str;
}

impl<T: Word> Scalar for T {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<T, Unfit> {
        if T::LATER.contains(&text) {
            return Err(Unfit::not_supported());
        }
        let found = T::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|&(_, value)| value).ok_or_else(|| Unfit::value(format!("is not known here; write {}", T::EXPECTED)))
    }

    fn spell(&self) -> Value {
        let found = T::WORDS.iter().find(|(_, value)| value == self);
        found.map(|&(word, _)| word.into()).unwrap_or_default()
    }

    fn schema() -> Schema {
        let words: Vec<&str> = T::WORDS.iter().map(|&(word, _)| word).collect();
        json_schema!({ "enum": words })
    }
}

/// Counts start at one: nothing in the language may be limited to none.
macro_rules! count {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            const EXPECTED: &'static str = "a whole number";
            const BARE: Bare = Bare::Taken;

            fn parse(text: &str) -> Result<$type, Unfit> {
                text.parse().map_err(|_| Unfit::value("is not a whole number from 1 up"))
            }

            fn spell(&self) -> Value {
                self.get().into()
            }

            fn schema() -> Schema {
                json_schema!({ "type": "integer", "minimum": 1 })
            }
        }
    )*};
}

count!(NonZeroU32, NonZeroUsize);

/// A name the user gives: of a listener, a route, a filter or a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(pub(crate) String);

impl Scalar for Name {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &str) -> Result<Name, Unfit> {
        let refused = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '"';
        if text.is_empty() || text.chars().any(refused) || text.contains("://") {
            return Err(Unfit::value("is not a name; use letters, digits and signs such as - _ . /"));
        }
        Ok(Name(text.to_owned()))
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}
