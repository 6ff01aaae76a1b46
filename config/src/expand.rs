//! Short forms to the one long form: listeners in a list, filters named, defaults spelled.
//! Whether names lead somewhere is decided in `check`; expanding twice changes nothing.

mod chain;
mod cluster;
mod dns;
mod emit;
mod filter;
mod http;
mod intercept;
mod quota;
mod tls;
mod write;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::error::Code;
use crate::file::action::{HeaderEdits, Redirect, Respond, Rewrite};
use crate::file::at::At;
use crate::file::choice::{Admin, Cache, Entry, Filters, ProxyHeaders, To, Watch};
use crate::file::read::Named;
use crate::file::{self, Cluster, File, Filter, Match};
use crate::interception::Direction;
use crate::limits::{Age, Limits, Rate};
use crate::listener::{Balance, TcpTarget};
use crate::report::{Report, Spot};
use crate::route::{self, Moved, Upgrade};
use crate::scalar::{Name, Scalar};
use crate::telemetry::{LogFormat, LogTarget};
use crate::unit::ByteSize;
use chain::Chains;

pub(crate) use emit::yaml;

/// A configuration in its long form; what could not be read is absent.
#[derive(Debug)]
pub(crate) struct Long {
    pub(crate) workers: Option<At<NonZeroUsize>>,
    /// Absent when nothing was written, which is more forgiving than the same address written.
    pub(crate) admin: Option<Admin>,
    /// With every key present.
    pub(crate) limits: file::Limits,
    /// With every key present but the servers, which need not be.
    pub(crate) dns: file::dns::Dns,
    pub(crate) listeners: Vec<Listener>,
    /// Those the user named, then those that chains brought, in order of appearance.
    pub(crate) filters: Named<Name, Filter>,
    pub(crate) clusters: Named<Name, Cluster>,
    pub(crate) telemetry: Option<file::Telemetry>,
    pub(crate) watch: Option<At<Watch>>,
    /// Absent when nothing was written: then a folder of the system will do, or none.
    pub(crate) cache: Option<Cache>,
    pub(crate) node: Option<file::Node>,
}

/// A listener whose chain has names alone.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Option<At<Name>>,
    pub(crate) address: At<SocketAddr>,
    pub(crate) tls: Option<file::ListenerTls>,
    pub(crate) balance: At<Balance>,
    pub(crate) intercept: Option<file::intercept::Interception>,
    pub(crate) direction: Option<At<Direction>>,
    pub(crate) proxy_protocol: Option<ProxyHeaders>,
    pub(crate) limits: Option<file::ListenerLimits>,
    pub(crate) http: Option<file::http::Http>,
    pub(crate) headers: Option<HeaderEdits>,
    /// Empty beside `tcp`, as the routes are.
    pub(crate) chain: Vec<At<Name>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) tcp: Option<Tcp>,
}

/// Where connections go as they are, with a chain of names alone.
#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) to: At<TcpTarget>,
    pub(crate) chain: Vec<At<Name>>,
}

/// A route whose chain has names alone.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Option<At<Name>>,
    pub(crate) matcher: Option<Match>,
    /// One of this, `respond` and `redirect`.
    pub(crate) to: Option<To>,
    pub(crate) respond: Option<Respond>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) headers: Option<HeaderEdits>,
    pub(crate) timeout: At<Duration>,
    pub(crate) retry: Option<file::cluster::Retry>,
    pub(crate) idle_timeout: Option<At<Duration>>,
    pub(crate) request_timeout: Option<At<Duration>>,
    pub(crate) stream: Option<At<bool>>,
    pub(crate) upgrade: Option<Vec<At<Upgrade>>>,
    pub(crate) chain: Vec<At<Name>>,
}

/// Rewrites what was said to its long form; keys that exclude one another are reported.
pub(crate) fn expand(said: File, report: &mut Report<'_>) -> Long {
    let (named, chain) = match said.filters {
        Some(Filters::Named(named)) => (named, None),
        Some(Filters::Chain(spot, chain)) => (Named::EMPTY, Some((spot, chain))),
        None => (Named::EMPTY, None),
    };
    let short = Short { spot: said.spot, listen: said.listen, routes: said.routes, chain };
    let listeners = match said.listeners {
        Some(listeners) => {
            short.refuse_beside_listeners(report);
            listeners.0
        }
        None => short.listener(report).into_iter().collect(),
    };
    let mut chains = Chains::new(named);
    let listeners = listeners.into_iter().map(|said| listener(said, &mut chains)).collect();
    Long {
        workers: said.workers,
        admin: said.admin,
        limits: limits(said.limits, said.spot),
        listeners,
        filters: chains.into_filters(),
        clusters: cluster::filled(said.clusters, said.dns.as_ref()),
        dns: dns::global(said.dns, said.spot),
        telemetry: said.telemetry.map(telemetry),
        watch: or(said.watch, Watch::default(), said.spot),
        cache: said.cache,
        node: said.node,
    }
}

/// The short form of one listener, at the top level.
struct Short {
    spot: Spot,
    listen: Option<At<SocketAddr>>,
    routes: Option<Vec<file::Route>>,
    chain: Option<(Spot, Vec<Entry>)>,
}

impl Short {
    fn listener(self, report: &mut Report<'_>) -> Option<file::Listener> {
        // A key that is there but could not be read has its own fault already.
        if !report.is_empty() && (self.listen.is_none() || self.routes.is_none()) {
            return None;
        }
        let Some(listen) = self.listen else {
            let message = "nothing to listen on; write \"listen: 127.0.0.1:8000\", or \"listeners\"";
            report.fault(Code::MissingKey, self.spot, message);
            return None;
        };
        let Some(routes) = self.routes else {
            let message = "a listener needs the key \"routes\"";
            report.fault(Code::MissingKey, listen.spot, message);
            return None;
        };
        let filters = self.chain.map(|(_, chain)| chain);
        let spot = self.spot;
        let routes = Some(routes);
        let (name, tls, balance, proxy_protocol, limits, http, headers, tcp) = Default::default();
        let (intercept, direction) = Default::default();
        Some(file::Listener {
            spot,
            name,
            listen,
            tls,
            balance,
            intercept,
            direction,
            proxy_protocol,
            filters,
            limits,
            http,
            headers,
            routes,
            tcp,
        })
    }

    fn refuse_beside_listeners(&self, report: &mut Report<'_>) {
        let listen = self.listen.as_ref().map(|listen| ("listen", listen.spot));
        let first = |routes: &Vec<file::Route>| routes.first().map_or(self.spot, |route| route.spot);
        let routes = self.routes.as_ref().map(|routes| ("routes", first(routes)));
        let chain = self.chain.as_ref().map(|(spot, _)| ("filters", *spot));
        for (what, spot) in [listen, routes, chain].into_iter().flatten() {
            let message = format!("{what:?} stands beside \"listeners\"; move it into one of them");
            report.fault(Code::Conflict, spot, message);
        }
    }
}

fn listener(said: file::Listener, chains: &mut Chains) -> Listener {
    Listener {
        name: said.name,
        balance: said.balance.unwrap_or_else(|| At::new(Balance::default(), said.spot)),
        address: said.listen,
        tls: said.tls.map(|tls| tls::of_listener(tls, said.tcp.is_some())),
        intercept: said.intercept.map(intercept::filled),
        direction: said.direction,
        proxy_protocol: said.proxy_protocol,
        limits: said.limits,
        http: said.http.map(http::filled),
        headers: said.headers,
        chain: chains.names(said.filters),
        routes: said.routes.into_iter().flatten().map(|said| route(said, chains)).collect(),
        tcp: said.tcp.map(|said| Tcp { to: said.to, chain: chains.names(said.filters) }),
    }
}

fn route(said: file::Route, chains: &mut Chains) -> Route {
    Route {
        name: said.name,
        matcher: said.matcher,
        to: said.to,
        respond: said.respond,
        redirect: said.redirect.map(|said| Redirect { status: or(said.status, Moved::DEFAULT, said.spot), ..said }),
        rewrite: said.rewrite,
        headers: said.headers,
        timeout: said.timeout.unwrap_or_else(|| At::new(route::Route::TIMEOUT, said.spot)),
        retry: said.retry.map(cluster::retry),
        idle_timeout: said.idle_timeout,
        request_timeout: said.request_timeout,
        stream: said.stream,
        upgrade: said.upgrade,
        chain: chains.names(said.filters),
    }
}

/// The limits said, and the defaults for the others.
fn limits(said: Option<file::Limits>, spot: Spot) -> file::Limits {
    let said = said.unwrap_or_else(|| file::Limits { spot, ..Default::default() });
    let default = Limits::default();
    file::Limits {
        spot: said.spot,
        headers: or(said.headers, NonZeroUsize::new(default.headers), spot),
        header_bytes: or(said.header_bytes, default.header_bytes, spot),
        header_timeout: or(said.header_timeout, default.header_timeout, spot),
        idle_timeout: or(said.idle_timeout, default.idle_timeout, spot),
        request_timeout: or(said.request_timeout, default.request_timeout, spot),
        body_rate: or(said.body_rate, Rate(default.body_rate), spot),
        body_grace: or(said.body_grace, default.body_grace, spot),
        stream_idle_timeout: or(said.stream_idle_timeout, default.stream_idle_timeout, spot),
        write_timeout: or(said.write_timeout, default.write_timeout, spot),
        drain_timeout: or(said.drain_timeout, default.drain_timeout, spot),
        connections: or(said.connections, NonZeroUsize::new(default.connections), spot),
        connect_timeout: or(said.connect_timeout, default.connect_timeout, spot),
        pool_timeout: or(said.pool_timeout, default.pool_timeout, spot),
        upstream_idle_timeout: or(said.upstream_idle_timeout, default.upstream_idle_timeout, spot),
        upstream_connections: or(said.upstream_connections, NonZeroUsize::new(default.upstream_connections), spot),
        pending: or(said.pending, NonZeroUsize::new(default.pending), spot),
        streams: or(said.streams, NonZeroU32::new(default.streams), spot),
        buffer: or(said.buffer, default.buffer, spot),
        retire_timeout: or(said.retire_timeout, default.retire_timeout, spot),
        upgrade_age: or(said.upgrade_age, Age(default.upgrade_age), spot),
        memory: or(said.memory, default.memory, spot),
        compile_time: or(said.compile_time, default.compile_time, spot),
        compile_memory: or(said.compile_memory, ByteSize::new(default.compile_memory), spot),
    }
}

/// What was said, else the default.
fn or<T: Scalar>(said: Option<At<T>>, default: impl Into<Option<T>>, spot: Spot) -> Option<At<T>> {
    said.or_else(|| default.into().map(|value| At::new(value, spot)))
}

fn telemetry(said: file::Telemetry) -> file::Telemetry {
    let log = |log: file::AccessLog| file::AccessLog {
        spot: log.spot,
        format: or(log.format, LogFormat::default(), log.spot),
        to: or(log.to, LogTarget::default(), log.spot),
        properties: Some(log.properties.unwrap_or_default()),
    };
    file::Telemetry { spot: said.spot, access_log: said.access_log.map(log) }
}
