//! Data: what a guest is given as it was written, without a meaning in this language.
//! People are never shown it, because keys and passwords live there.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::file::at::At;
use crate::file::read::{Read, Reader};
use crate::file::reference::{REDACTED, escape};
use crate::file::write::{View, Write};
use crate::file::yaml::{Key, Kind, Node};
use crate::scalar::Scalar;

/// A configuration for a guest: any value, its keys in the order written.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    value: Value,
    written: Value,
}

impl Data {
    /// What the guest reads: the bytes of a text, of anything else its JSON.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.value {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        }
    }
}

impl Read for Data {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Data> {
        match &node.kind {
            Kind::Null => Some(Data::literal(Value::Null)),
            Kind::Bool(value) => Some(Data::literal((*value).into())),
            Kind::Number(number) => Some(Data::literal(number.clone().into())),
            Kind::Text(text) => Data::of_text(text, node, reader),
            Kind::List(items) => {
                // Every item is read, so that all their faults are reported.
                let items = items.iter().filter_map(|item| Data::read(item, reader));
                let (value, written) = items.map(|item| (item.value, item.written)).unzip();
                Some(Data { value: Value::Array(value), written: Value::Array(written) })
            }
            Kind::Map(entries) => Some(Data::of_map(entries, reader)),
        }
    }
}

impl Data {
    fn literal(value: Value) -> Data {
        Data { written: value.clone(), value }
    }

    fn of_text(text: &str, node: &Node, reader: &mut Reader<'_, '_>) -> Option<Data> {
        let resolved = reader.resolve(text, node.spot)?;
        let template = resolved.template.as_ref().and_then(|template| template.view(View::Written));
        let written = template.map_or_else(|| escape(&resolved.value), str::to_owned);
        Some(Data { value: resolved.value.into(), written: written.into() })
    }

    fn of_map(entries: &[(Key, Node)], reader: &mut Reader<'_, '_>) -> Data {
        let (mut value, mut written) = (Map::new(), Map::new());
        for (key, node) in entries {
            if let Some(data) = Data::read(node, reader) {
                value.insert(key.text.clone(), data.value);
                written.insert(key.text.clone(), data.written);
            }
        }
        Data { value: Value::Object(value), written: Value::Object(written) }
    }
}

impl Write for Data {
    fn write(&self, view: View) -> Option<Value> {
        Some(match view {
            View::Written => self.written.clone(),
            View::Redacted => REDACTED.into(),
            View::Resolved => self.value.clone(),
        })
    }
}

impl JsonSchema for Data {
    fn schema_name() -> Cow<'static, str> {
        "Data".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// Data that is a mapping; people are shown its keys alone.
#[derive(Debug, Clone)]
pub(crate) struct Metadata(Data);

impl Metadata {
    /// The entries, in the order written.
    pub(crate) fn entries(&self) -> Map<String, Value> {
        self.0.value.as_object().cloned().unwrap_or_default()
    }
}

impl Read for Metadata {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Metadata> {
        let entries = reader.entries(node, "a mapping")?;
        Some(Metadata(Data::of_map(entries, reader)))
    }
}

impl Write for Metadata {
    fn write(&self, view: View) -> Option<Value> {
        match view {
            View::Redacted => Some(self.entries().into_iter().map(|(key, _)| (key, Value::from(REDACTED))).collect()),
            view => self.0.write(view),
        }
    }
}

impl JsonSchema for Metadata {
    fn schema_name() -> Cow<'static, str> {
        "Metadata".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// A scalar that people are never shown.
#[derive(Debug, Clone)]
pub(crate) struct Hidden<T>(pub(crate) At<T>);

impl<T: Scalar> Read for Hidden<T> {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Hidden<T>> {
        At::read(node, reader).map(Hidden)
    }
}

impl<T: Scalar> Write for Hidden<T> {
    fn write(&self, view: View) -> Option<Value> {
        match view {
            View::Redacted => Some(REDACTED.into()),
            view => self.0.write(view),
        }
    }
}

impl<T: Scalar> JsonSchema for Hidden<T> {
    fn schema_name() -> Cow<'static, str> {
        At::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        At::<T>::json_schema(generator)
    }
}
