//! Choices: the places of the language where values of different shapes may stand.
//! Each form is told apart by its shape alone, never by trying one after the other.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::bound::Count;
use crate::error::Code;
use crate::file::action::Test;
use crate::file::at::At;
use crate::file::intercept::{Intercept, Interception};
use crate::file::read::{Named, Read, Reader};
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::file::{AdminListen, CacheDir, Filter, Policies, ProxySenders, Use, Wasm};
use crate::filter::{ModuleRef, Policy};
use crate::interception;
use crate::report::Spot;
use crate::route::{Method, TargetName};
use crate::scalar::{Name, Word};

/// `off`, or where the admin endpoints are.
#[derive(Debug, Clone)]
pub(crate) enum Admin {
    Off,
    Listen(AdminListen),
}

/// The only word that may stand in place of a mapping of admin endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAdmin {
    Off,
}

impl Word for NoAdmin {
    const WORDS: &'static [(&'static str, NoAdmin)] = &[("off", NoAdmin::Off)];
    const EXPECTED: &'static str = "\"off\" or a mapping with the key \"listen\"";
}

impl Read for Admin {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Admin> {
        match node.kind {
            Kind::Map(_) => AdminListen::read(node, reader).map(Admin::Listen),
            _ => At::<NoAdmin>::read(node, reader).map(|_| Admin::Off),
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

/// `off`, or where compiled modules are kept.
#[derive(Debug, Clone)]
pub(crate) enum Cache {
    Off,
    Dir(CacheDir),
}

/// The only word that may stand in place of a mapping of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCache {
    Off,
}

impl Word for NoCache {
    const WORDS: &'static [(&'static str, NoCache)] = &[("off", NoCache::Off)];
    const EXPECTED: &'static str = "\"off\" or a mapping with the key \"dir\"";
}

impl Read for Cache {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Cache> {
        match node.kind {
            Kind::Map(_) => CacheDir::read(node, reader).map(Cache::Dir),
            _ => At::<NoCache>::read(node, reader).map(|_| Cache::Off),
        }
    }
}

impl Write for Cache {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Cache::Off => Some("off".into()),
            Cache::Dir(dir) => dir.write(view),
        }
    }
}

/// Whether connections begin with a header of the PROXY protocol, or whose do.
#[derive(Debug, Clone)]
pub(crate) enum ProxyHeaders {
    Switch(At<ProxySwitch>),
    From(ProxySenders),
}

/// The words that may stand in place of a mapping of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxySwitch {
    On,
    Off,
}

impl Word for ProxySwitch {
    const WORDS: &'static [(&'static str, ProxySwitch)] = &[("on", ProxySwitch::On), ("off", ProxySwitch::Off)];
    const EXPECTED: &'static str = "\"on\", \"off\" or a mapping with the key \"from\"";
}

impl Read for ProxyHeaders {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<ProxyHeaders> {
        match node.kind {
            Kind::Map(_) => ProxySenders::read(node, reader).map(ProxyHeaders::From),
            _ => At::read(node, reader).map(ProxyHeaders::Switch),
        }
    }
}

impl Write for ProxyHeaders {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            ProxyHeaders::Switch(switch) => switch.write(view),
            ProxyHeaders::From(senders) => senders.write(view),
        }
    }
}

/// Whether changes of files are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Watch {
    #[default]
    On,
    Off,
}

impl Word for Watch {
    const WORDS: &'static [(&'static str, Watch)] = &[("on", Watch::On), ("off", Watch::Off)];
    const EXPECTED: &'static str = "\"on\" or \"off\"";
}

/// A module alone, or with how its successor is tried.
#[derive(Debug, Clone)]
pub(crate) enum Module {
    Alone(At<ModuleRef>),
    Tried(Box<Wasm>),
}

impl Module {
    /// The module that serves.
    pub(crate) fn stable(&self) -> &At<ModuleRef> {
        match self {
            Module::Alone(module) => module,
            Module::Tried(wasm) => &wasm.stable,
        }
    }
}

impl Read for Module {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Module> {
        match node.kind {
            Kind::Map(_) => Wasm::read(node, reader).map(|wasm| Module::Tried(Box::new(wasm))),
            _ => At::read(node, reader).map(Module::Alone),
        }
    }
}

impl Write for Module {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Module::Alone(module) => module.write(view),
            Module::Tried(wasm) => wasm.write(view),
        }
    }
}

/// One policy for every failure of a call, or policies by what went wrong.
#[derive(Debug, Clone)]
pub(crate) enum OnError {
    All(At<Policy>),
    Each(Policies),
}

impl Read for OnError {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<OnError> {
        match node.kind {
            Kind::Map(_) => Policies::read(node, reader).map(OnError::Each),
            _ => At::read(node, reader).map(OnError::All),
        }
    }
}

impl Write for OnError {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            OnError::All(policy) => policy.write(view),
            OnError::Each(policies) => policies.write(view),
        }
    }
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

/// A target, or several with their weights: how many exchanges each gets, compared with the others.
#[derive(Debug, Clone)]
pub(crate) enum To {
    One(At<TargetName>),
    Split(Spot, Named<TargetName, At<Count<0, 1_000_000>>>),
}

impl Read for To {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<To> {
        match node.kind {
            Kind::Map(_) => Named::read(node, reader).map(|named| To::Split(node.spot, named)),
            _ => At::read(node, reader).map(To::One),
        }
    }
}

impl Write for To {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            To::One(target) => target.write(view),
            To::Split(_, named) => named.write(view),
        }
    }
}

/// A value that must be equal, or a mapping of what else may be asked of it.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Equal(At<String>),
    Test(Test),
}

impl Read for Condition {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Condition> {
        match node.kind {
            Kind::Map(_) => Test::read(node, reader).map(Condition::Test),
            _ => At::read(node, reader).map(Condition::Equal),
        }
    }
}

impl Write for Condition {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Condition::Equal(value) => value.write(view),
            Condition::Test(test) => test.write(view),
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
pub(in crate::file) use any_of;

any_of! {
    Admin: At<NoAdmin>, AdminListen;
    Cache: At<NoCache>, CacheDir;
    ProxyHeaders: At<ProxySwitch>, ProxySenders;
    Module: At<ModuleRef>, Wasm;
    OnError: At<Policy>, Policies;
    Filters: Named<Name, Filter>, Vec<Entry>;
    Entry: At<Name>, Use, Filter;
    Intercept: At<interception::Intercept>, Interception;
    Methods: At<Method>, Vec<At<Method>>;
    To: At<TargetName>, Named<TargetName, At<Count<0, 1_000_000>>>;
    Condition: At<String>, Test;
}
