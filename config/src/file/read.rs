//! Reading the tree: what every part of the language does, whatever its keys are.
//! A part that cannot be read reports why and leaves its neighbours to be read.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::error::Code;
use crate::file::at::At;
use crate::file::reference::{Resolved, Surroundings};
use crate::file::write::{View, Write, object};
use crate::file::yaml::{Key, Kind, Node};
use crate::report::{Report, Spot};
use crate::scalar::Scalar;
use crate::suggest;

/// A part of the language that can be read.
pub(crate) trait Read: Sized {
    /// The part, or `None` after reporting why not.
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Self>;
}

/// What reading needs besides the tree.
pub(crate) struct Reader<'r, 't> {
    pub(crate) report: &'r mut Report<'t>,
    pub(crate) surroundings: Surroundings,
}

impl Reader<'_, '_> {
    /// Reports a fault; `None` for the caller to return.
    pub(crate) fn refuse<T>(&mut self, code: Code, spot: Spot, message: impl Into<String>) -> Option<T> {
        self.report.fault(code, spot, message);
        None
    }

    /// Reports a value of a wrong type.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", node.described());
        self.refuse(Code::WrongType, node.spot, message)
    }

    /// Replaces the references of a text.
    pub(crate) fn resolve(&mut self, text: &str, spot: Spot) -> Option<Resolved> {
        match self.surroundings.resolve(text) {
            Ok(resolved) => Some(resolved),
            Err(why) => self.refuse(Code::BadReference, spot, why),
        }
    }

    /// The entries of a mapping.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [(Key, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            _ => self.wrong_type(node, expected),
        }
    }
}

/// A list that is not empty.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline, transparent)]
pub(crate) struct SomeOf<T>(#[schemars(length(min = 1))] pub(crate) Vec<T>);

impl<T: Read> Read for SomeOf<T> {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Self> {
        match &node.kind {
            Kind::List(items) if items.is_empty() => {
                let message = "this list is empty; it needs one item at least";
                reader.refuse(Code::BadValue, node.spot, message)
            }
            _ => Vec::read(node, reader).map(SomeOf),
        }
    }
}

impl<T: Write> Write for SomeOf<T> {
    fn write(&self, view: View) -> Option<Value> {
        self.0.write(view)
    }
}

/// A part that was written, whether it could be read or not.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline, transparent)]
pub(crate) struct Written<T>(#[schemars(with = "T")] pub(crate) Option<T>);

impl<T: Read> Read for Written<T> {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Self> {
        Some(Written(T::read(node, reader)))
    }
}

impl<T: Write> Write for Written<T> {
    fn write(&self, view: View) -> Option<Value> {
        self.0.write(view)
    }
}

impl<T: Read> Read for Vec<T> {
    /// The items that could be read; the others are reported.
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Vec<T>> {
        let Kind::List(items) = &node.kind else {
            return reader.wrong_type(node, "a list");
        };
        Some(items.iter().filter_map(|item| T::read(item, reader)).collect())
    }
}

/// Names with what they stand for, in the order written.
#[derive(Debug, Clone)]
pub(crate) struct Named<K, V> {
    /// A value that could not be read is absent, its name is kept.
    pub(crate) entries: Vec<(At<K>, Option<V>)>,
}

impl<K, V> Named<K, V> {
    /// No names.
    pub(crate) const EMPTY: Named<K, V> = Named { entries: Vec::new() };

    /// The entries that could be read.
    pub(crate) fn read_entries(&self) -> impl Iterator<Item = (&At<K>, &V)> {
        self.entries.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }
}

impl<K: Scalar, V: Read> Read for Named<K, V> {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Self> {
        let entries = reader.entries(node, "a mapping of names")?;
        let read = |(key, value): &(Key, Node)| {
            let value = V::read(value, reader);
            match K::parse(&key.text) {
                Ok(name) => Some((At::new(name, key.spot), value)),
                Err(unfit) => reader.refuse(unfit.code, key.spot, format!("{:?} {}", key.text, unfit.reason)),
            }
        };
        Some(Named { entries: entries.iter().filter_map(read).collect() })
    }
}

impl<K: Scalar, V: Write> Write for Named<K, V> {
    fn write(&self, view: View) -> Option<Value> {
        let named = self.read_entries().map(|(key, value)| (spelled(key), value.write(view)));
        let named: Vec<(String, Option<Value>)> = named.collect();
        Some(object(named.iter().map(|(key, value)| (key.as_str(), value.clone()))))
    }
}

/// A key as it is written; keys have no references.
fn spelled<K: Scalar>(key: &At<K>) -> String {
    match key.value.spell() {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

impl<K, V: JsonSchema> JsonSchema for Named<K, V> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", V::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// The entry of a mapping under a key it may have.
pub(crate) trait Field: Sized {
    /// The field, or `None` after reporting why it cannot be had.
    fn take(fields: &Fields<'_>, key: &str, reader: &mut Reader<'_, '_>) -> Option<Self>;
}

impl<T: Read> Field for Option<T> {
    fn take(fields: &Fields<'_>, key: &str, reader: &mut Reader<'_, '_>) -> Option<Option<T>> {
        let read = |node| T::read(node, reader);
        Some(fields.find(key).and_then(read))
    }
}

impl<T: Read> Field for T {
    fn take(fields: &Fields<'_>, key: &str, reader: &mut Reader<'_, '_>) -> Option<T> {
        match fields.find(key) {
            Some(node) => T::read(node, reader),
            // A key of a later version may stand for the one that is missing.
            None if fields.has_later => None,
            None => {
                let message = format!("{} needs the key {key:?}", fields.of);
                reader.refuse(Code::MissingKey, fields.spot, message)
            }
        }
    }
}

/// A mapping whose keys were all found to be known.
pub(crate) struct Fields<'n> {
    of: &'static str,
    spot: Spot,
    entries: &'n [(Key, Node)],
    has_later: bool,
}

impl<'n> Fields<'n> {
    /// The entries of a mapping; keys that are not known or not supported are reported.
    pub(crate) fn of(
        of: &'static str,
        keys: &[&str],
        later: &[&str],
        node: &'n Node,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Fields<'n>> {
        let entries = reader.entries(node, &format!("a mapping for {of}"))?;
        let mut has_later = false;
        for (key, _) in entries {
            let word = key.text.as_str();
            if later.contains(&word) {
                has_later = true;
                let message = format!("{word:?} is not supported in this version");
                reader.report.fault(Code::NotSupported, key.spot, message);
            } else if !keys.contains(&word) {
                let message = format!("unknown key {word:?} in {of}; {}", suggest::hint(word, "keys", keys));
                reader.report.fault(Code::UnknownKey, key.spot, message);
            }
        }
        Some(Fields { of, spot: node.spot, entries, has_later })
    }

    /// Reports the absence of all of these keys.
    pub(crate) fn need_one_of(&self, keys: &[&str], reader: &mut Reader<'_, '_>) {
        // A key of a later version may stand for the one that is missing.
        if self.has_later || keys.iter().any(|key| self.find(key).is_some()) {
            return;
        }
        let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        let message = format!("{} needs the key {}", self.of, keys.join(" or "));
        reader.report.fault(Code::MissingKey, self.spot, message);
    }

    /// Reports two keys that cannot stand in one mapping.
    pub(crate) fn exclude(&self, key: &str, other: &str, advice: &str, reader: &mut Reader<'_, '_>) {
        if let (Some(found), Some(beside)) = (self.key(key), self.key(other)) {
            let line = beside.spot.line;
            let message = format!("{key:?} stands beside {other:?}, see line {line}; {advice}");
            reader.report.fault(Code::Conflict, found.spot, message);
        }
    }

    /// Reports a key that means nothing without another.
    pub(crate) fn need_beside(&self, key: &str, other: &str, reader: &mut Reader<'_, '_>) {
        if let (Some(found), None) = (self.key(key), self.key(other)) {
            let message = format!("{key:?} needs the key {other:?} beside it");
            reader.report.fault(Code::MissingKey, found.spot, message);
        }
    }

    fn key(&self, key: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(found, _)| found.text == key).map(|(key, _)| key)
    }

    fn find(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }
}

/// Declares a mapping of the language: its keys, their types, and the keys of later versions.
///
/// One declaration gives the struct, its reader, its writer and its schema, so that these cannot
/// disagree. A field of type `Option` may be left out, any other must be written. A `rule` is a
/// function that looks at the keys together.
macro_rules! mapping {
    (
        $(#[$about:meta])*
        $name:ident, $of:literal {
            $( $(#[$doc:meta])* $key:literal => $field:ident: $type:ty, )*
        }
        later [ $($later:literal),* ]
        $(rule $rule:path)?
    ) => {
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$about])*
        pub(crate) struct $name {
            /// Where the mapping is.
            #[schemars(skip)]
            #[allow(dead_code, reason = "not every mapping has faults that concern the whole of it")]
            pub(crate) spot: $crate::report::Spot,
            $( $(#[$doc])* #[schemars(rename = $key)] pub(crate) $field: $type, )*
        }

        impl $name {
            pub(crate) const KEYS: &'static [&'static str] = &[$($key),*];
            pub(crate) const LATER: &'static [&'static str] = &[$($later),*];
        }

        impl $crate::file::read::Read for $name {
            fn read(
                node: &$crate::file::yaml::Node,
                reader: &mut $crate::file::read::Reader<'_, '_>,
            ) -> Option<Self> {
                use $crate::file::read::{Field, Fields};
                let fields = Fields::of($of, Self::KEYS, Self::LATER, node, reader)?;
                $( $rule(&fields, reader); )?
                // Every field is read before the first failure ends the reading.
                $( let $field = <$type as Field>::take(&fields, $key, reader); )*
                Some($name { spot: node.spot, $($field: $field?),* })
            }
        }

        impl $crate::file::write::Write for $name {
            fn write(&self, view: $crate::file::write::View) -> Option<serde_json::Value> {
                Some($crate::file::write::object([
                    $( ($key, $crate::file::write::Write::write(&self.$field, view)), )*
                ]))
            }
        }
    };
}
pub(crate) use mapping;
