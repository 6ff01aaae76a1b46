//! Clusters with the defaults of what they say spelled; hosts that are like any other as their address alone.

use crate::bound::{Count, Size, Wait};
use crate::cluster::balance::PickWord;
use crate::cluster::retry::Switch;
use crate::cluster::status::Class;
use crate::cluster::{Health, Initial, Outliers, Protocol, Retry};
use crate::file::at::At;
use crate::file::cluster::{Balance, Condition, Host, HostEntry, StatusMatch};
use crate::file::read::{Named, SomeOf};
use crate::file::{self, Cluster};
use crate::limits::Age;
use crate::ratio::{Part, Ratio};
use crate::scalar::Name;

use super::{dns, or, tls};

/// [`crate::Cluster::panic`] when none is written.
const PANIC: Ratio = Ratio::of_percent(50);

/// Every cluster with its defaults, of which `names` has those for looking names up.
pub(super) fn filled(said: Option<Named<Name, Cluster>>, names: Option<&file::dns::Dns>) -> Named<Name, Cluster> {
    let entries = said.unwrap_or(Named::EMPTY).entries.into_iter();
    Named { entries: entries.map(|(name, said)| (name, said.map(|said| cluster(said, names)))).collect() }
}

fn cluster(said: Cluster, names: Option<&file::dns::Dns>) -> Cluster {
    let spot = said.spot;
    Cluster {
        hosts: SomeOf(said.hosts.0.into_iter().map(host).collect()),
        tls: said.tls.map(tls::of_cluster),
        protocol: or(said.protocol, Protocol::default(), spot),
        balance: said.balance.or_else(|| Some(Balance::Word(At::new(PickWord::default(), spot)))),
        dns: Some(dns::of_cluster(said.dns, names, spot)),
        health: said.health.map(health),
        outliers: said.outliers.map(outliers),
        panic: or(said.panic, PANIC, spot),
        slow_start: or(said.slow_start, Age(None), spot),
        retry: said.retry.map(retry),
        ..said
    }
}

fn host(said: Host) -> Host {
    let Host::Weighed(HostEntry { spot, host, weight, priority }) = said else { return said };
    let is = |said: &Option<_>, usual| said.as_ref().is_none_or(|said: &usize| *said == usual);
    if is(&weight.as_ref().map(|weight| weight.value.0), 1) && is(&priority.as_ref().map(|said| said.value.0), 0) {
        return Host::Plain(host);
    }
    let (weight, priority) = (or(weight, Count(1), spot), or(priority, Count(0), spot));
    Host::Weighed(HostEntry { spot, host, weight, priority })
}

fn health(said: file::cluster::Health) -> file::cluster::Health {
    let spot = said.spot;
    let good = || SomeOf(vec![StatusMatch::Class(At::new(Class::Success, spot))]);
    file::cluster::Health {
        statuses: said.statuses.or_else(|| said.http.is_some().then(good)),
        interval: or(said.interval, Health::INTERVAL, spot),
        timeout: or(said.timeout, Health::TIMEOUT, spot),
        healthy: or(said.healthy, Count(Health::HEALTHY), spot),
        unhealthy: or(said.unhealthy, Count(Health::UNHEALTHY), spot),
        jitter: or(said.jitter, Health::JITTER, spot),
        initial: or(said.initial, Initial::default(), spot),
        ..said
    }
}

fn outliers(said: file::cluster::Outliers) -> file::cluster::Outliers {
    let file::cluster::Outliers::Eject(said) = said else { return said };
    let (spot, default) = (said.spot, Outliers::default());
    file::cluster::Outliers::Eject(file::cluster::Ejection {
        spot,
        failures: or(said.failures, Count(default.failures), spot),
        base: or(said.base, default.base, spot),
        max: or(said.max, default.max, spot),
        max_ejected: or(said.max_ejected, Part(default.max_ejected), spot),
    })
}

/// Also those of routes.
pub(super) fn retry(said: file::cluster::Retry) -> file::cluster::Retry {
    let spot = said.spot;
    let on = || SomeOf(Retry::ON.map(|word| Condition::Word(At::new(word, spot))).into());
    file::cluster::Retry {
        on: said.on.or_else(|| Some(on())),
        tries: or(said.tries, Count(Retry::TRIES), spot),
        non_idempotent: or(said.non_idempotent, Switch::default(), spot),
        replay: or(said.replay, Size(Retry::REPLAY.bytes()), spot),
        budget: or(said.budget, Part(Retry::BUDGET), spot),
        backoff: or(said.backoff, Wait(Retry::BACKOFF), spot),
        ..said
    }
}
