//! What may be said about a cluster beside its hosts: how one is picked, how many requests it gets, and when it gets them.
//! What the keys come to is decided in `expand` and `check`.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::bound::{Count, Size, Wait};
use crate::cluster::balance::PickWord;
use crate::cluster::retry::{RetryWord, Switch};
use crate::cluster::status::{Class, Status};
use crate::cluster::{CookieName, Endpoint, Initial};
use crate::file::at::At;
use crate::file::choice::any_of;
use crate::file::read::{Read, Reader, SomeOf, mapping};
use crate::file::rule;
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::ratio::{Part, Ratio};
use crate::route::{HeaderName, Probed};
use crate::scalar::Word;

mapping! {
    /// A host with its part of the requests.
    HostEntry, "a host" {
        /// The host with its port.
        "host" => host: At<Endpoint>,
        /// How many requests it gets, compared with its neighbours; 1 unless written.
        "weight" => weight: Option<At<Count<1, 1000>>>,
        /// The lower the number the sooner it is used: others only while too few of these are healthy. 0 unless written.
        "priority" => priority: Option<At<Count<0, 15>>>,
    }
    later []
}

mapping! {
    /// An endpoint for each client, found by hashing.
    #[schemars(extend("oneOf" = [{ "required": ["ring_hash"] }, { "required": ["maglev"] }]))]
    Hashed, "balance" {
        /// By a place on a ring.
        "ring_hash" => ring_hash: Option<Hash>,
        /// By a place in a table that is filled evenly.
        "maglev" => maglev: Option<Hash>,
    }
    later []
    rule rule::of_balance
}

mapping! {
    /// What of a request is hashed.
    #[schemars(extend("oneOf" = [{ "required": ["header"] }, { "required": ["cookie"] }, { "required": ["source"] }]))]
    Hash, "what is hashed" {
        /// The value of a header.
        "header" => header: Option<At<HeaderName>>,
        /// The value of a cookie.
        "cookie" => cookie: Option<Cookie>,
        /// The address of the client.
        "source" => source: Option<Flag>,
    }
    later []
    rule rule::of_hash
}

mapping! {
    /// A cookie that keeps a client with its endpoint.
    Cookie, "a cookie" {
        /// Its name.
        "name" => name: At<CookieName>,
        /// How long clients keep the one that the proxy gives to those who lack it; it gives none unless this is written.
        "ttl" => ttl: Option<At<Duration>>,
    }
    later []
}

mapping! {
    /// Bounds of one cluster, in place of the global ones.
    ClusterLimits, "the limits of a cluster" {
        /// The most connections to one endpoint.
        "connections" => connections: Option<At<NonZeroUsize>>,
        /// The most exchanges that wait for a connection to one endpoint.
        "pending" => pending: Option<At<NonZeroUsize>>,
        /// The most requests under way in the whole cluster.
        "requests" => requests: Option<At<NonZeroUsize>>,
        /// The most repetitions under way, in place of a part of the requests under way.
        "retries" => retries: Option<At<NonZeroUsize>>,
        /// How long an unused connection is kept.
        "idle_timeout" => idle_timeout: Option<At<Duration>>,
        /// The longest wait for a new connection.
        "connect_timeout" => connect_timeout: Option<At<Duration>>,
        /// The longest wait for one of the connections, when there may be no more of them.
        "pool_timeout" => pool_timeout: Option<At<Duration>>,
    }
    later []
}

mapping! {
    /// What the proxy asks every endpoint by itself.
    #[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }, { "required": ["grpc"] }]))]
    Health, "health" {
        /// A path to GET.
        "http" => http: Option<At<Probed>>,
        /// Whether it takes a connection.
        "tcp" => tcp: Option<Flag>,
        /// A service to ask `grpc.health.v1.Health` for; the empty one is the whole server.
        "grpc" => grpc: Option<At<String>>,
        /// The statuses that are good, for `http`; 2xx unless written.
        "statuses" => statuses: Option<SomeOf<StatusMatch>>,
        /// From the end of one question to the next.
        "interval" => interval: Option<At<Duration>>,
        /// The longest wait for an answer.
        "timeout" => timeout: Option<At<Duration>>,
        /// Good answers in a row that bring an endpoint back.
        "healthy" => healthy: Option<At<Count<1, 100>>>,
        /// Bad answers in a row that take it out.
        "unhealthy" => unhealthy: Option<At<Count<1, 100>>>,
        /// By how much an interval may be longer.
        "jitter" => jitter: Option<At<Ratio>>,
        /// What an endpoint counts as until its first answer, which alone decides. `unhealthy` holds requests back at the start
        /// only with `panic: 0%`: else there are too few that are healthy, and all get some.
        "initial" => initial: Option<At<Initial>>,
    }
    later []
    rule rule::of_health
}

mapping! {
    /// When an endpoint that fails clients is left alone for a while.
    Ejection, "outliers" {
        /// Failures in a row: no connection, a broken one, no answer in time, a status of 5xx.
        "failures" => failures: Option<At<Count<1, 1000>>>,
        /// How long the first time; as many times longer as it was ejected before.
        "base" => base: Option<At<Duration>>,
        /// How long at the most.
        "max" => max: Option<At<Duration>>,
        /// The part of the cluster that may be ejected at a time; never all of it.
        "max_ejected" => max_ejected: Option<At<Part>>,
    }
    later []
}

mapping! {
    /// After what a request is sent once more, how often, and at what cost.
    Retry, "retry" {
        /// After what; `[connect, refused-stream]` unless written.
        "on" => on: Option<SomeOf<Condition>>,
        /// The most attempts, the first one included.
        "tries" => tries: Option<At<Count<1, 10>>>,
        /// The longest wait for the head of the answer to one attempt.
        "try_timeout" => try_timeout: Option<At<Duration>>,
        /// Whether a request whose repetition may do harm is sent again after a byte of it was sent.
        "non_idempotent" => non_idempotent: Option<At<Switch>>,
        /// The most bytes of a body that are kept to be sent again.
        "replay" => replay: Option<At<Size<{ 16 << 20 }>>>,
        /// The part of the requests under way that may be repetitions; a few are always allowed.
        "budget" => budget: Option<At<Part>>,
        /// The wait before the first repetition, on the average.
        "backoff" => backoff: Option<At<Wait<10>>>,
    }
    later []
}

/// A host, with or without more to say about it.
#[derive(Debug, Clone)]
pub(crate) enum Host {
    Plain(At<Endpoint>),
    Weighed(HostEntry),
}

impl Read for Host {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Host> {
        match node.kind {
            Kind::Map(_) => HostEntry::read(node, reader).map(Host::Weighed),
            _ => At::read(node, reader).map(Host::Plain),
        }
    }
}

impl Write for Host {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Host::Plain(host) => host.write(view),
            Host::Weighed(entry) => entry.write(view),
        }
    }
}

/// A way of picking by its name, or with what it hashes.
#[derive(Debug, Clone)]
pub(crate) enum Balance {
    Word(At<PickWord>),
    Hashed(Box<Hashed>),
}

impl Read for Balance {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Balance> {
        match node.kind {
            Kind::Map(_) => Hashed::read(node, reader).map(|hashed| Balance::Hashed(Box::new(hashed))),
            _ => At::read(node, reader).map(Balance::Word),
        }
    }
}

impl Write for Balance {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Balance::Word(word) => word.write(view),
            Balance::Hashed(hashed) => hashed.write(view),
        }
    }
}

/// `off`, or when an endpoint is left alone.
#[derive(Debug, Clone)]
pub(crate) enum Outliers {
    Off(At<NoOutliers>),
    Eject(Ejection),
}

/// The only word that may stand in place of a mapping of outliers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoOutliers {
    Off,
}

impl Word for NoOutliers {
    const WORDS: &'static [(&'static str, NoOutliers)] = &[("off", NoOutliers::Off)];
    const EXPECTED: &'static str = "\"off\" or a mapping with keys such as \"failures\"";
}

impl Read for Outliers {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Outliers> {
        match node.kind {
            Kind::Map(_) => Ejection::read(node, reader).map(Outliers::Eject),
            _ => At::read(node, reader).map(Outliers::Off),
        }
    }
}

impl Write for Outliers {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Outliers::Off(word) => word.write(view),
            Outliers::Eject(ejection) => ejection.write(view),
        }
    }
}

/// One status, or a class of them.
#[derive(Debug, Clone)]
pub(crate) enum StatusMatch {
    One(At<Status>),
    Class(At<Class>),
}

impl Read for StatusMatch {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<StatusMatch> {
        match node.kind {
            Kind::Number(_) => At::read(node, reader).map(StatusMatch::One),
            _ => At::read(node, reader).map(StatusMatch::Class),
        }
    }
}

impl Write for StatusMatch {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            StatusMatch::One(status) => status.write(view),
            StatusMatch::Class(class) => class.write(view),
        }
    }
}

/// What a request is repeated after.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Status(At<Status>),
    Word(At<RetryWord>),
}

impl Read for Condition {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Condition> {
        match node.kind {
            Kind::Number(_) => At::read(node, reader).map(Condition::Status),
            _ => At::read(node, reader).map(Condition::Word),
        }
    }
}

impl Write for Condition {
    fn write(&self, view: View) -> Option<Value> {
        match self {
            Condition::Status(status) => status.write(view),
            Condition::Word(word) => word.write(view),
        }
    }
}

/// A key that is `true` or not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag;

impl Read for Flag {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<Flag> {
        match node.kind {
            Kind::Bool(true) => Some(Flag),
            _ => reader.wrong_type(node, "true"),
        }
    }
}

impl Write for Flag {
    fn write(&self, _: View) -> Option<Value> {
        Some(true.into())
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // One form of a choice, so that an absent one is another form and not another value.
        json_schema!({ "anyOf": [{ "enum": [true] }] })
    }
}

any_of! {
    Host: At<Endpoint>, HostEntry;
    Balance: At<PickWord>, Hashed;
    Outliers: At<NoOutliers>, Ejection;
    StatusMatch: At<Status>, At<Class>;
    Condition: At<Status>, At<RetryWord>;
}
