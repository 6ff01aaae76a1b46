//! What was said: every key of the language, with what it takes. Only this file and those below
//! it know the file format; what the keys come to is decided in `expand` and `check`.

pub(crate) mod action;
pub(crate) mod at;
pub(crate) mod choice;
pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod dns;
mod filter;
pub(crate) mod http;
pub(crate) mod intercept;
mod plain;
pub(crate) mod read;
mod reference;
mod rule;
mod schema;
mod tls;
pub(crate) mod write;
pub(crate) mod yaml;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use regex::Regex;

use crate::cache::Folder;
use crate::cluster::Protocol;
use crate::forwarding::Network;
use crate::interception::{Direction, Mark};
use crate::limits::{Age, MemoryLimit, Rate};
use crate::listener::{Balance, TcpTarget};
use crate::proxy_protocol::ProxyProtocol;
use crate::ratio::Ratio;
use crate::report::Report;
use crate::route::{ExactPath, HeaderName, HostMatch, Prefix, Upgrade};
use crate::scalar::Name;
use crate::telemetry::{LogFormat, LogTarget};
use crate::unit::ByteSize;
use action::{HeaderEdits, Redirect, Respond, Rewrite};
use at::At;
use choice::{Admin, Cache, Condition, Entry, Filters, Methods, ProxyHeaders, To, Watch};
use data::{Hidden, Metadata};
use http::Http;
use intercept::Intercept;
use read::{Named, Read, Reader, SomeOf, Written, mapping};
use reference::Surroundings;

pub(crate) use filter::{Allow, Budget, Expect, Filter, Policies, Quota, Request, SelfTest, Use, Wasm};
pub(crate) use plain::is_text;
pub(crate) use schema::schema;
pub(crate) use tls::{Certificate, ClusterTls, ListenerTls, PemPath};

/// Reads a text as a configuration; what is wrong with it is reported.
pub(crate) fn read(report: &mut Report<'_>, origin: &Path) -> Option<File> {
    let tree = yaml::tree(report)?;
    let folder = origin.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { report, surroundings: Surroundings::of_process(folder) };
    File::read(&tree, &mut reader)
}

mapping! {
    /// A Tollgate configuration. `listen`, `routes` and a list of `filters` are the short form of
    /// one listener.
    File, "a configuration" {
        /// Worker threads; one per core unless written.
        "workers" => workers: Option<At<NonZeroUsize>>,
        /// The admin endpoints, or `off`; at 127.0.0.1:9901 unless written.
        "admin" => admin: Option<Admin>,
        /// Bounds for the whole process.
        "limits" => limits: Option<Limits>,
        /// How names are looked up, unless a cluster says it for itself.
        "dns" => dns: Option<dns::Dns>,
        /// The address of the only listener.
        "listen" => listen: Option<At<SocketAddr>>,
        /// The routes of the only listener.
        "routes" => routes: Option<Vec<Route>>,
        /// Several listeners.
        "listeners" => listeners: Option<SomeOf<Listener>>,
        /// Named filters; or, as a list, the chain of the only listener.
        "filters" => filters: Option<Filters>,
        /// Named clusters.
        "clusters" => clusters: Option<Named<Name, Cluster>>,
        /// What is recorded besides metrics.
        "telemetry" => telemetry: Option<Telemetry>,
        /// Whether changes of this file and of modules are followed.
        "watch" => watch: Option<At<Watch>>,
        /// Where compiled modules are kept, or `off`; a folder of the system unless written.
        "cache" => cache: Option<Cache>,
        /// What filters read about the proxy they run in.
        "node" => node: Option<Node>,
    }
    later ["control_plane"]
}

mapping! {
    /// What filters read about the proxy they run in.
    Node, "node" {
        /// The name of this proxy.
        "id" => id: Option<At<String>>,
        /// The name of the group of proxies it belongs to.
        "cluster" => cluster: Option<At<String>>,
        /// Anything else.
        "metadata" => metadata: Option<Metadata>,
    }
    later []
}

mapping! {
    /// The admin endpoints.
    AdminListen, "admin" {
        /// The address; beyond loopback only with a token.
        "listen" => listen: At<SocketAddr>,
        /// What a client has to say to change anything, 16 bytes at least; best as `${file:…}` or `${env:…}`.
        "token" => token: Option<Written<Hidden<String>>>,
    }
    later ["metrics"]
}

mapping! {
    /// Where compiled modules are kept.
    CacheDir, "cache" {
        /// The path of a folder.
        "dir" => dir: At<Folder>,
    }
    later []
}

mapping! {
    /// Bounds for the whole process; some may be narrowed by a listener.
    #[derive(Default)]
    Limits, "limits" {
        /// The most header fields of a head.
        "headers" => headers: Option<At<NonZeroUsize>>,
        /// The most bytes of a head.
        "header_bytes" => header_bytes: Option<At<ByteSize>>,
        /// The longest wait for the head of a request.
        "header_timeout" => header_timeout: Option<At<Duration>>,
        /// How long a client's connection may stay without a request.
        "idle_timeout" => idle_timeout: Option<At<Duration>>,
        /// The longest wait for the end of a request once its head came.
        "request_timeout" => request_timeout: Option<At<Duration>>,
        /// The least bytes a second that a client sends of a body that is waited for, or `off`.
        "body_rate" => body_rate: Option<At<Rate>>,
        /// How long a client may be slow at first, and over how long its rate is averaged.
        "body_grace" => body_grace: Option<At<Duration>>,
        /// How long an exchange, or a connection that is passed on, may stay without a byte.
        "stream_idle_timeout" => stream_idle_timeout: Option<At<Duration>>,
        /// How long a write to a client may take nothing.
        "write_timeout" => write_timeout: Option<At<Duration>>,
        /// How long exchanges may go on after the proxy was told to stop.
        "drain_timeout" => drain_timeout: Option<At<Duration>>,
        /// The most connections of clients to all listeners together, which get no more than 80 % of the descriptors.
        "connections" => connections: Option<At<NonZeroUsize>>,
        /// The longest wait for a new connection to an endpoint.
        "connect_timeout" => connect_timeout: Option<At<Duration>>,
        /// The longest wait of an exchange for one of the connections to an endpoint, when it may have no more of them.
        "pool_timeout" => pool_timeout: Option<At<Duration>>,
        /// How long an unused connection to an endpoint is kept.
        "upstream_idle_timeout" => upstream_idle_timeout: Option<At<Duration>>,
        /// The most connections to one endpoint.
        "upstream_connections" => upstream_connections: Option<At<NonZeroUsize>>,
        /// The most exchanges that wait for a connection to one endpoint.
        "pending" => pending: Option<At<NonZeroUsize>>,
        /// The most concurrent exchanges on one HTTP/2 connection.
        "streams" => streams: Option<At<NonZeroU32>>,
        /// The most bytes of a body that filters may hold back.
        "buffer" => buffer: Option<At<ByteSize>>,
        /// How long exchanges may go on in a filter that was replaced.
        "retire_timeout" => retire_timeout: Option<At<Duration>>,
        /// How long an upgraded connection may go on in such a filter, or `off`.
        "upgrade_age" => upgrade_age: Option<At<Age>>,
        /// The most memory of the process before it refuses requests: a size, a share of what its control group allows, or `off`.
        "memory" => memory: Option<At<MemoryLimit>>,
        /// The most time that compiling one module may take.
        "compile_time" => compile_time: Option<At<Duration>>,
        /// The most memory that compiling one module may take.
        "compile_memory" => compile_memory: Option<At<ByteSize>>,
    }
    later []
}

mapping! {
    /// Bounds of one listener, in place of the global ones.
    ListenerLimits, "the limits of a listener" {
        /// The most header fields of a head.
        "headers" => headers: Option<At<NonZeroUsize>>,
        /// The most bytes of a head.
        "header_bytes" => header_bytes: Option<At<ByteSize>>,
        /// The longest wait for the head of a request.
        "header_timeout" => header_timeout: Option<At<Duration>>,
        /// How long a client's connection may stay without a request.
        "idle_timeout" => idle_timeout: Option<At<Duration>>,
        /// The longest wait for the end of a request once its head came.
        "request_timeout" => request_timeout: Option<At<Duration>>,
        /// The least bytes a second that a client sends of a body that is waited for, or `off`.
        "body_rate" => body_rate: Option<At<Rate>>,
        /// How long a client may be slow at first, and over how long its rate is averaged.
        "body_grace" => body_grace: Option<At<Duration>>,
        /// How long an exchange, or a connection that is passed on, may stay without a byte.
        "stream_idle_timeout" => stream_idle_timeout: Option<At<Duration>>,
        /// How long a write to a client may take nothing.
        "write_timeout" => write_timeout: Option<At<Duration>>,
        /// The most connections of clients to this listener, which count among those of all listeners, too.
        "connections" => connections: Option<At<NonZeroUsize>>,
        /// The most concurrent exchanges on one HTTP/2 connection.
        "streams" => streams: Option<At<NonZeroU32>>,
        /// The most bytes of a body that filters may hold back.
        "buffer" => buffer: Option<At<ByteSize>>,
    }
    later []
}

mapping! {
    /// An address to accept connections on.
    #[schemars(extend("oneOf" = [{ "required": ["routes"] }, { "required": ["tcp"] }]))]
    Listener, "a listener" {
        /// What metrics call it; its address unless written.
        "name" => name: Option<At<Name>>,
        /// The address.
        "listen" => listen: At<SocketAddr>,
        /// TLS, and with which certificates.
        "tls" => tls: Option<ListenerTls>,
        /// How connections are spread over the workers.
        "balance" => balance: Option<At<Balance>>,
        /// How connections get here that were meant for other addresses.
        "intercept" => intercept: Option<Intercept>,
        /// Which way its connections go, seen from the application beside the proxy.
        "direction" => direction: Option<At<Direction>>,
        /// Whether connections begin with a header of the PROXY protocol, `on` or `off`, or whose connections do.
        "proxy_protocol" => proxy_protocol: Option<ProxyHeaders>,
        /// The filters that run before those of a route.
        "filters" => filters: Option<Vec<Entry>>,
        /// Bounds in place of the global ones.
        "limits" => limits: Option<ListenerLimits>,
        /// How requests are marked on their way.
        "http" => http: Option<Http>,
        /// Headers that are changed in every exchange.
        "headers" => headers: Option<HeaderEdits>,
        /// Where its exchanges go.
        "routes" => routes: Option<Vec<Route>>,
        /// Where its connections go as they are, in place of routes.
        "tcp" => tcp: Option<Tcp>,
    }
    later []
    rule rule::of_listener
}

mapping! {
    /// Whose connections begin with a header of the PROXY protocol; nobody else is let in.
    ProxySenders, "proxy_protocol" {
        /// Proxies that are believed about their clients.
        "from" => from: SomeOf<At<Network>>,
    }
    later []
}

mapping! {
    /// Where connections go whose bytes are passed on as they come.
    Tcp, "tcp" {
        /// Where they go: a URL such as `tcp://10.0.0.1:5432`, the name of a cluster, or `original`.
        "to" => to: At<TcpTarget>,
        /// The filters that see the bytes.
        "filters" => filters: Option<Vec<Entry>>,
    }
    later []
}

mapping! {
    /// A match with a target and filters.
    #[schemars(extend("oneOf" = [{ "required": ["to"] }, { "required": ["respond"] }, { "required": ["redirect"] }]))]
    Route, "a route" {
        /// What metrics call it; `LISTENER/INDEX` unless written.
        "name" => name: Option<At<Name>>,
        /// The exchanges it is for; every one unless written.
        "match" => matcher: Option<Match>,
        /// Where they go: a URL, the name of a cluster, `original` or `echo`; or several of them with their weights.
        "to" => to: Option<To>,
        /// The answer that they get in place of a target's.
        "respond" => respond: Option<Respond>,
        /// Where clients are sent to in place of an answer.
        "redirect" => redirect: Option<Redirect>,
        /// What the target is asked for instead.
        "rewrite" => rewrite: Option<Rewrite>,
        /// Headers that are changed, after those that the listener changes.
        "headers" => headers: Option<HeaderEdits>,
        /// The longest wait for the head of the response.
        "timeout" => timeout: Option<At<Duration>>,
        /// After what its requests are sent once more, in place of what the cluster says.
        "retry" => retry: Option<cluster::Retry>,
        /// How long its exchanges may stay without a byte; as `stream_idle_timeout` says unless written.
        "idle_timeout" => idle_timeout: Option<At<Duration>>,
        /// The longest wait for the end of a request once its head came, in place of the limit of that name.
        "request_timeout" => request_timeout: Option<At<Duration>>,
        /// Whether requests may take as long, and come as slowly, as they like.
        "stream" => stream: Option<At<bool>>,
        /// Protocols that a client may change its connection to, such as `websocket`. With `connect` the method CONNECT makes
        /// a tunnel to an endpoint of the target, whatever host it names; a match without path and query alone can have it.
        "upgrade" => upgrade: Option<Vec<At<Upgrade>>>,
        /// The filters that run after those of the listener.
        "filters" => filters: Option<Vec<Entry>>,
    }
    later []
    rule rule::of_route
}

mapping! {
    /// What a request must be like; every part has to agree.
    Match, "a match" {
        /// A host, or `*.` and a domain.
        "host" => host: Option<At<HostMatch>>,
        /// A path and everything below it.
        "path" => path: Option<At<Prefix>>,
        /// A path alone.
        "exact" => exact: Option<At<ExactPath>>,
        /// An expression that is found in the path.
        "regex" => regex: Option<At<Regex>>,
        /// One of these methods.
        "method" => method: Option<Methods>,
        /// Headers with their values, or with conditions.
        "headers" => headers: Option<Named<HeaderName, Condition>>,
        /// Query parameters with their values, or with conditions; what is escaped in a query is compared unescaped.
        "query" => query: Option<Named<String, Condition>>,
    }
    later []
}

mapping! {
    /// A set of endpoints that answer alike.
    Cluster, "a cluster" {
        /// Hosts with their ports.
        "hosts" => hosts: SomeOf<cluster::Host>,
        /// What is spoken with them.
        "protocol" => protocol: Option<At<Protocol>>,
        /// TLS, and what is believed of endpoints; `{}` believes the CAs of the system.
        "tls" => tls: Option<ClusterTls>,
        /// The mark of the sockets that connect to them.
        "mark" => mark: Option<At<Mark>>,
        /// The version of the PROXY protocol in which it hears, for each connection, whose it is.
        "proxy_protocol" => proxy_protocol: Option<At<ProxyProtocol>>,
        /// How one is picked.
        "balance" => balance: Option<cluster::Balance>,
        /// How the names of hosts are looked up, where that is not as everywhere.
        "dns" => dns: Option<dns::Dns>,
        /// Bounds in place of the global ones.
        "limits" => limits: Option<cluster::ClusterLimits>,
        /// What the proxy asks every endpoint by itself; nothing unless written.
        "health" => health: Option<cluster::Health>,
        /// When an endpoint that fails clients is left alone for a while; never unless written.
        "outliers" => outliers: Option<cluster::Outliers>,
        /// Where fewer than this part of the endpoints is worth a request, all of them get some.
        "panic" => panic: Option<At<Ratio>>,
        /// How long an endpoint that comes, or comes back, gets fewer requests than its weight says, or `off`.
        "slow_start" => slow_start: Option<At<Age>>,
        /// After what requests are sent once more, for routes that do not say it themselves.
        "retry" => retry: Option<cluster::Retry>,
    }
    later []
}

mapping! {
    /// What is recorded besides metrics.
    Telemetry, "telemetry" {
        /// One line per exchange.
        "access_log" => access_log: Option<AccessLog>,
    }
    later ["traces"]
}

mapping! {
    /// One line per exchange.
    AccessLog, "an access log" {
        /// How a line is written.
        "format" => format: Option<At<LogFormat>>,
        /// `stdout`, or the path of a file.
        "to" => to: Option<At<LogTarget>>,
        /// The properties set by filters that a line shows.
        "properties" => properties: Option<Vec<At<Name>>>,
    }
    later []
}

#[cfg(test)]
mod tests;
