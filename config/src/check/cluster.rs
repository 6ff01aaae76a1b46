//! What a cluster's own keys mean.

use std::time::Duration;

use crate::cluster::retry::{RetryWord, Switch};
use crate::cluster::status::{Class, Statuses};
use crate::cluster::{Cluster, Endpoint, HashKey, Health, Outliers, Pick, Probe, Protocol, Retry, RetryOn};
use crate::dns::Dns;
use crate::error::Code;
use crate::file::at::At;
use crate::file::cluster::{self as said, Condition, Host, StatusMatch};
use crate::file::{self};
use crate::limits::Limits;
use crate::proxy_protocol::ProxyProtocol;
use crate::ratio::Ratio;
use crate::report::Report;

use super::dns;

/// A cluster of these endpoints that says nothing of itself.
pub(super) fn plain(name: String, endpoints: Vec<Endpoint>, (limits, dns): (Limits, &Dns)) -> Cluster {
    Cluster {
        name,
        endpoints,
        protocol: Default::default(),
        tls: None,
        original: None,
        mark: None,
        proxy_protocol: None,
        pick: Pick::default(),
        dns: dns.clone(),
        health: None,
        outliers: None,
        panic: Ratio::of_percent(50),
        slow_start: None,
        retry: None,
        requests: None,
        retries: None,
        connect_timeout: limits.connect_timeout,
        pool_timeout: limits.pool_timeout,
        upstream_idle_timeout: limits.upstream_idle_timeout,
        upstream_connections: limits.upstream_connections,
        pending: limits.pending,
    }
}

/// A cluster as it is written.
pub(super) fn cluster(
    name: &str,
    said: &file::Cluster,
    (limits, names): (Limits, &Dns),
    report: &mut Report<'_>,
) -> Cluster {
    let plain = plain(name.to_owned(), said.hosts.0.iter().map(endpoint).collect(), (limits, names));
    let own = said.limits.as_ref();
    let count = |key: fn(&said::ClusterLimits) -> &Option<At<std::num::NonZeroUsize>>| {
        own.and_then(|own| key(own).as_ref()).map(|count| count.value.get())
    };
    let wait = |key: fn(&said::ClusterLimits) -> &Option<At<Duration>>| {
        own.and_then(|own| key(own).as_ref()).map(|wait| wait.value)
    };
    Cluster {
        protocol: said.protocol.as_ref().map(|protocol| protocol.value).unwrap_or_default(),
        proxy_protocol: proxy_protocol(said, report),
        pick: said.balance.as_ref().map(pick).unwrap_or_default(),
        dns: said.dns.as_ref().map_or_else(|| names.clone(), |said| dns::dns(said, report)),
        health: health(said, report),
        outliers: said.outliers.as_ref().and_then(|said| outliers(name, said, report)),
        panic: said.panic.as_ref().map_or(plain.panic, |panic| panic.value),
        slow_start: said.slow_start.as_ref().and_then(|said| said.value.0),
        retry: said.retry.as_ref().map(|said| retry(&format!("cluster {name:?}"), said, report)),
        mark: said.mark.as_ref().map(|mark| mark.value.0),
        requests: count(|own| &own.requests),
        retries: count(|own| &own.retries),
        connect_timeout: wait(|own| &own.connect_timeout).unwrap_or(plain.connect_timeout),
        pool_timeout: wait(|own| &own.pool_timeout).unwrap_or(plain.pool_timeout),
        upstream_idle_timeout: wait(|own| &own.idle_timeout).unwrap_or(plain.upstream_idle_timeout),
        upstream_connections: count(|own| &own.connections).unwrap_or(plain.upstream_connections),
        pending: count(|own| &own.pending).unwrap_or(plain.pending),
        ..plain
    }
}

/// The header that connections begin with; they must not be shared by clients.
fn proxy_protocol(said: &file::Cluster, report: &mut Report<'_>) -> Option<ProxyProtocol> {
    let version = said.proxy_protocol.as_ref()?;
    if said.protocol.as_ref().is_some_and(|protocol| protocol.value == Protocol::H2) {
        let message = "a connection of \"protocol: h2\" is shared by clients, and \"proxy_protocol\" says whose it is; \
                       leave one of them out";
        report.fault(Code::Conflict, version.spot, message);
    }
    Some(version.value)
}

fn endpoint(said: &Host) -> Endpoint {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match said {
        Host::Plain(host) => host.value.clone(),
        Host::Weighed(entry) => Endpoint {
            weight: entry.weight.as_ref().map_or(1, |weight| small(weight.value.0)),
            priority: entry.priority.as_ref().map_or(0, |priority| small(priority.value.0)),
            ..entry.host.value.clone()
        },
    }
}

fn pick(said: &said::Balance) -> Pick {
    match said {
        said::Balance::Word(word) => word.value.into(),
        said::Balance::Hashed(hashed) => {
            let ring = hashed.ring_hash.as_ref().map(|said| Pick::RingHash(key(said)));
            let table = hashed.maglev.as_ref().map(|said| Pick::Maglev(key(said)));
            ring.or(table).unwrap_or_default()
        }
    }
}

fn key(said: &said::Hash) -> HashKey {
    let header = said.header.as_ref().map(|name| HashKey::Header(name.value.0.clone()));
    let cookie = said
        .cookie
        .as_ref()
        .map(|said| HashKey::Cookie { name: said.name.value.0.clone(), ttl: said.ttl.as_ref().map(|ttl| ttl.value) });
    header.or(cookie).unwrap_or(HashKey::Source)
}

/// `None` where nothing is asked; where that is no question, it was reported.
fn health(said: &file::Cluster, report: &mut Report<'_>) -> Option<Health> {
    let is_http2 = said.protocol.as_ref().is_some_and(|protocol| protocol.value == Protocol::H2);
    let (tls, said) = (said.tls.is_some(), said.health.as_ref()?);
    if let Some(grpc) = said.grpc.as_ref().filter(|_| tls && !is_http2) {
        let message = "\"grpc\" is asked over HTTP/2, which a cluster with \"tls\" agrees on only with \"protocol: h2\"; \
                       write that, or ask with \"http\"";
        report.fault(Code::Conflict, grpc.spot, message);
    }
    let http = said.http.as_ref().map(|path| Probe::Http {
        path: path.value.0.clone(),
        statuses: said.statuses.as_ref().map(|said| statuses(&said.0)).unwrap_or_else(good),
    });
    let grpc = said.grpc.as_ref().map(|service| Probe::Grpc(service.value.clone()));
    let wait = |said: &Option<At<Duration>>, usual| said.as_ref().map_or(usual, |wait| wait.value);
    Some(Health {
        probe: http.or(grpc).or(said.tcp.map(|_| Probe::Tcp))?,
        interval: wait(&said.interval, Health::INTERVAL),
        timeout: wait(&said.timeout, Health::TIMEOUT),
        healthy: said.healthy.as_ref().map_or(Health::HEALTHY, |count| count.value.0),
        unhealthy: said.unhealthy.as_ref().map_or(Health::UNHEALTHY, |count| count.value.0),
        jitter: said.jitter.as_ref().map_or(Health::JITTER, |jitter| jitter.value),
        initial: said.initial.as_ref().map(|initial| initial.value).unwrap_or_default(),
    })
}

fn good() -> Statuses {
    let mut statuses = Statuses::default();
    statuses.add_class(Class::Success);
    statuses
}

fn statuses(said: &[StatusMatch]) -> Statuses {
    let mut statuses = Statuses::default();
    for said in said {
        match said {
            StatusMatch::One(status) => statuses.add(status.value),
            StatusMatch::Class(class) => statuses.add_class(class.value),
        }
    }
    statuses
}

fn outliers(name: &str, said: &said::Outliers, report: &mut Report<'_>) -> Option<Outliers> {
    let said::Outliers::Eject(said) = said else { return None };
    let default = Outliers::default();
    let outliers = Outliers {
        failures: said.failures.as_ref().map_or(default.failures, |count| count.value.0),
        base: said.base.as_ref().map_or(default.base, |wait| wait.value),
        max: said.max.as_ref().map_or(default.max, |wait| wait.value),
        max_ejected: said.max_ejected.as_ref().map_or(default.max_ejected, |part| part.value.0),
    };
    if outliers.base > outliers.max {
        let message = format!("cluster {name:?}: \"base\" is longer than \"max\"; write the longer one as \"max\"");
        report.fault(Code::Conflict, said.spot, message);
    }
    Some(outliers)
}

/// What `whose` it is says of repeating requests.
pub(super) fn retry(whose: &str, said: &said::Retry, report: &mut Report<'_>) -> Retry {
    let on = on(said.on.as_ref().map_or(&[], |said| &said.0));
    if on.timeout && said.try_timeout.is_none() {
        let message = format!("{whose}: \"timeout\" needs the key \"try_timeout\" beside \"on\"");
        report.fault(Code::MissingKey, said.spot, message);
    }
    Retry {
        on,
        tries: said.tries.as_ref().map_or(Retry::TRIES, |count| count.value.0),
        try_timeout: said.try_timeout.as_ref().map(|wait| wait.value),
        non_idempotent: said.non_idempotent.as_ref().is_some_and(|said| said.value == Switch::On),
        replay: said.replay.as_ref().map_or(Retry::REPLAY, |size| crate::ByteSize::new(size.value.0)),
        budget: said.budget.as_ref().map_or(Retry::BUDGET, |part| part.value.0),
        backoff: said.backoff.as_ref().map_or(Retry::BACKOFF, |wait| wait.value.0),
    }
}

fn on(said: &[Condition]) -> RetryOn {
    let mut on = RetryOn::default();
    for said in said {
        match said {
            Condition::Status(status) => on.statuses.add(status.value),
            Condition::Word(word) => match word.value {
                RetryWord::Connect => on.connect = true,
                RetryWord::RefusedStream => on.refused_stream = true,
                RetryWord::Reset => on.reset = true,
                RetryWord::Timeout => on.timeout = true,
                RetryWord::ServerError => on.statuses.add_class(Class::ServerError),
                grpc => on.grpc.extend(grpc.grpc()),
            },
        }
    }
    on
}
