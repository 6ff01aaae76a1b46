//! Scalars as they were said: a value with its place and, where it has references, its template.
//! What a scalar may be is known to its type alone.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::error::Code;
use crate::file::read::{Read, Reader};
use crate::file::reference::{Template, escape};
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::report::Spot;
use crate::scalar::{Bare, Scalar};

/// A scalar with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) spot: Spot,
    template: Option<Box<Template>>,
}

impl<T: Scalar> At<T> {
    /// A value that nobody wrote, placed where what it follows from is.
    pub(crate) fn new(value: T, spot: Spot) -> At<T> {
        At { value, spot, template: None }
    }

    /// The value as people may see it.
    pub(crate) fn shown(&self) -> String {
        self.text(View::Redacted)
    }

    /// A value at the place of this one that is written as this one, then `between`, then `other`.
    pub(crate) fn joined<U: Scalar>(&self, between: &str, other: &At<U>, value: T) -> At<T> {
        let text = |view| format!("{}{between}{}", self.text(view), other.text(view));
        let refers = self.template.is_some() || other.template.is_some();
        let template = refers.then(|| Box::new(Template::new(text(View::Written), text(View::Redacted))));
        At { value, spot: self.spot, template }
    }

    fn text(&self, view: View) -> String {
        match self.write(view) {
            Some(Value::String(text)) => text,
            other => other.unwrap_or_default().to_string(),
        }
    }

    fn of_text(text: &str, node: &Node, reader: &mut Reader<'_, '_>) -> Option<At<T>> {
        let resolved = reader.resolve(text, node.spot)?;
        let literal = resolved.template.is_none();
        if literal && matches!(T::BARE, Bare::Taken) {
            return reader.wrong_type(node, T::EXPECTED);
        }
        match T::parse(&resolved.value) {
            Ok(value) => Some(At { value, spot: node.spot, template: resolved.template }),
            Err(unfit) => reader.refuse(unfit.code, node.spot, format!("{:?} {}", resolved.shown(), unfit.reason)),
        }
    }

    /// A number or a boolean where text belongs, which quotes may turn it into.
    fn refuse_unquoted(word: &str, node: &Node, reader: &mut Reader<'_, '_>) -> Option<At<T>> {
        match T::parse(word) {
            Ok(_) => {
                let (expected, found) = (T::EXPECTED, node.described());
                let message = format!("expected {expected}, found {found}; in quotes it is text");
                reader.refuse(Code::WrongType, node.spot, message)
            }
            Err(_) => reader.wrong_type(node, T::EXPECTED),
        }
    }

    fn of_bool(word: &str, node: &Node, reader: &mut Reader<'_, '_>) -> Option<At<T>> {
        match (T::BARE, T::parse(word)) {
            (Bare::Taken, Ok(value)) => Some(At::new(value, node.spot)),
            _ => At::refuse_unquoted(word, node, reader),
        }
    }

    fn of_number(number: &str, node: &Node, reader: &mut Reader<'_, '_>) -> Option<At<T>> {
        match T::BARE {
            Bare::Refused => At::refuse_unquoted(number, node, reader),
            Bare::Lacks(units) => {
                let examples: Vec<String> = units.iter().map(|unit| format!("{number}{unit}")).collect();
                let message = format!("{number} needs a unit, as in {}", examples.join(" or "));
                reader.refuse(Code::MissingUnit, node.spot, message)
            }
            Bare::Taken | Bare::Text => match T::parse(number) {
                Ok(value) => Some(At::new(value, node.spot)),
                Err(unfit) => reader.refuse(unfit.code, node.spot, format!("{number} {}", unfit.reason)),
            },
        }
    }
}

impl<T: Scalar> Read for At<T> {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<At<T>> {
        match &node.kind {
            Kind::Text(text) => At::of_text(text, node, reader),
            Kind::Number(number) => At::of_number(&number.to_string(), node, reader),
            Kind::Bool(word) => At::of_bool(&word.to_string(), node, reader),
            _ => reader.wrong_type(node, T::EXPECTED),
        }
    }
}

impl<T: Scalar> Write for At<T> {
    fn write(&self, view: View) -> Option<Value> {
        if let Some(text) = self.template.as_ref().and_then(|template| template.view(view)) {
            return Some(text.into());
        }
        Some(match self.value.spell() {
            Value::String(text) if view != View::Resolved => escape(&text).into(),
            other => other,
        })
    }
}

impl<T: Scalar> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let schema = T::schema();
        let any_text = schema.get("type").is_some_and(|kind| kind == "string") && schema.get("pattern").is_none();
        if any_text {
            return schema;
        }
        json_schema!({ "anyOf": [schema, { "type": "string", "pattern": r"\$\{(env|file):" }] })
    }
}
