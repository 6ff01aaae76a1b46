//! Writing values back: the long form as a JSON value, in the order the keys are declared.
//! How that value becomes text is not decided here.

use serde_json::{Map, Value};

/// For whom a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// For the file: references as they were written.
    Written,
    /// For people: no result of a reference, no filter configuration.
    Redacted,
    /// For comparing: what it comes to.
    Resolved,
}

/// A part of the language that can be written back.
pub(crate) trait Write {
    /// The value, or `None` for what is not written at all.
    fn write(&self, view: View) -> Option<Value>;
}

impl<T: Write> Write for Option<T> {
    fn write(&self, view: View) -> Option<Value> {
        self.as_ref()?.write(view)
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, view: View) -> Option<Value> {
        Some(self.iter().filter_map(|item| item.write(view)).collect())
    }
}

/// A mapping of those parts that are written.
pub(crate) fn object<'k>(parts: impl IntoIterator<Item = (&'k str, Option<Value>)>) -> Value {
    let written = parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(written.collect::<Map<_, _>>())
}
