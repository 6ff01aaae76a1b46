//! Choices: the places of the language where values of different shapes may stand.
//! Each form is told apart by its shape alone, never by trying one after the other.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::error::Code;
use crate::file::at::At;
use crate::file::read::{Named, Read, Reader};
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::file::{AdminListen, Filter, Use};
use crate::report::Spot;
use crate::route::Method;
use crate::scalar::{Name, Word};

/// `off`, or where the admin endpoints are.
#[derive(Debug, Clone)]
pub(crate) enum Admin {
    Off,
    Listen(AdminListen),
}

/// The only word that may stand in place of a mapping of admin endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    Off,
}

impl Word for Off {
    const WORDS: &'static [(&'static str, Off)] = &[("off", Off::Off)];
    const EXPECTED: &'static str = "\"off\" or a mapping with the key \"listen\"";
}

impl Read for Admin {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Admin> {
        match node.kind {
            Kind::Map(_) => AdminListen::read(node, reader).map(Admin::Listen),
            _ => At::<Off>::read(node, reader).map(|_| Admin::Off),
        }
    }
}

impl Write for Admin {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Admin::Off => Some("off".into()),
            Admin::Listen(listen) => listen.write(view),
        }
    }
}

/// Whether changes of the file are followed; they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Off,
}

impl Word for Watch {
    const WORDS: &'static [(&'static str, Watch)] = &[("off", Watch::Off)];
    const LATER: &'static [&'static str] = &["on"];
    const EXPECTED: &'static str = "\"off\"";
}

/// The top-level `filters`: named ones, or the chain of the only listener.
#[derive(Debug, Clone)]
pub(crate) enum Filters {
    Named(Named<Name, Filter>),
    Chain(Spot, Vec<Entry>),
}

impl Read for Filters {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Filters> {
        match node.kind {
            Kind::List(_) => Vec::read(node, reader).map(|chain| Filters::Chain(node.spot, chain)),
            Kind::Map(_) => Named::read(node, reader).map(Filters::Named),
            _ => reader.wrong_type(node, "a mapping of names or a list of filters"),
        }
    }
}

impl Write for Filters {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Filters::Named(named) => named.write(view),
            Filters::Chain(_, chain) => chain.write(view),
        }
    }
}

/// One step of a chain.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Name(At<Name>),
    Use(Use),
    Filter(Box<Filter>),
}

impl Read for Entry {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Entry> {
        let Kind::Map(entries) = &node.kind else {
            return match node.kind {
                Kind::Text(_) => At::read(node, reader).map(Entry::Name),
                _ => reader.wrong_type(node, "the name of a filter, or a mapping with \"use\" or \"wasm\""),
            };
        };
        let key = |word| entries.iter().find(|(key, _)| key.text == word).map(|(key, _)| key);
        match (key("use"), key("wasm")) {
            (Some(_), Some(wasm)) => {
                let message = "\"use\" and \"wasm\" exclude one another; name a filter, or write one";
                reader.refuse(Code::Conflict, wasm.spot, message)
            }
            (Some(_), None) => Use::read(node, reader).map(Entry::Use),
            (None, None) => {
                let message = "a step of a chain is the name of a filter, or has the key \"use\" or \"wasm\"";
                reader.refuse(Code::MissingKey, node.spot, message)
            }
            (None, Some(_)) => Filter::read(node, reader).map(|filter| Entry::Filter(Box::new(filter))),
        }
    }
}

impl Write for Entry {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Entry::Name(name) => name.write(view),
            Entry::Use(named) => named.write(view),
            Entry::Filter(filter) => filter.write(view),
        }
    }
}

/// Methods: one of them, or a list.
#[derive(Debug, Clone)]
pub(crate) struct Methods(pub(crate) Vec<At<Method>>);

impl Read for Methods {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Methods> {
        match node.kind {
            Kind::List(_) => Vec::read(node, reader).map(Methods),
            _ => At::read(node, reader).map(|method| Methods(vec![method])),
        }
    }
}

impl Write for Methods {
    fn write(&self, view: View) -> Option<Value> {
        self.0.write(view)
    }
}

/// The schema of a choice is that of any of its forms.
macro_rules! any_of {
    ($($choice:ident: $($form:ty),+;)*) => {$(
        impl JsonSchema for $choice {
            fn schema_name() -> Cow<'static, str> {
                stringify!($choice).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let forms = [$(generator.subschema_for::<$form>()),+];
                json_schema!({ "anyOf": forms })
            }
        }
    )*};
}

any_of! {
    Admin: At<Off>, AdminListen;
    Filters: Named<Name, Filter>, Vec<Entry>;
    Entry: At<Name>, Use, Filter;
    Methods: At<Method>, Vec<At<Method>>;
}
