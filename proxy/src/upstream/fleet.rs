//! The endpoints of a cluster as the whole process knows them: addresses, and which of them are worth a request.
//!
//! Written on the control side (`keeper`), read by workers, who look at one number before they pick. Connections and what
//! is under way are each worker's own and not known here.

pub mod keeper;
pub mod member;
mod names;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tollgate_config::{self as config, Pick};

use crate::telemetry::metrics::Registry;
use crate::upstream::balance::table::Table;
use crate::upstream::fleet::member::{Member, Vitals, now};

/// The most addresses of one name.
const ADDRESSES: usize = 64;
/// Reports of workers that wait to be read; one that finds no room is about what others have told already.
const REPORTS: usize = 64;

/// See the module. It is the same one as long as the cluster's definition is.
#[derive(Debug)]
pub struct Fleet {
    /// The definition.
    pub config: config::Cluster,
    registry: Arc<Registry>,
    workers: usize,
    roster: ArcSwap<Roster>,
    /// Grows with every change of the roster and of what is known of its members.
    version: AtomicU64,
    /// The same for whoever waits for one.
    changed: watch::Sender<()>,
    /// Names with their addresses. Taken on the control side alone.
    names: Mutex<HashMap<String, Answer>>,
    reports: mpsc::Sender<SocketAddr>,
    /// Taken by the keeper.
    reported: Mutex<Option<mpsc::Receiver<SocketAddr>>>,
    /// The keeper, to be ended with the cluster.
    keeper: Mutex<Option<AbortHandle>>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
struct Answer {
    addresses: Vec<IpAddr>,
    /// Since when nothing is told of it; `None` while the last look-up found it.
    lost: Option<Instant>,
}

impl Answer {
    /// What is known after one more look-up, at this `moment`: where it found nothing, what was known `before` is kept for
    /// as long as `keep` says, from the first look-up on that found nothing.
    fn after(found: Option<Vec<IpAddr>>, before: Option<&Self>, moment: Instant, keep: Duration) -> Self {
        if let Some(addresses) = found {
            return Self { addresses, lost: None };
        }
        let since = before.and_then(|before| before.lost).unwrap_or(moment);
        let kept = before.filter(|_| moment.saturating_duration_since(since) < keep);
        Self { addresses: kept.map(|kept| kept.addresses.clone()).unwrap_or_default(), lost: Some(since) }
    }
}

/// The endpoints at one time, every address one.
#[derive(Debug, Default)]
pub struct Roster {
    /// In the order written, addresses of a name in numerical order.
    pub members: Vec<Arc<Member>>,
    /// Where hashes lead, for clusters that hash.
    pub table: Option<Table>,
    /// True once every name was looked up, found or not.
    pub settled: bool,
    /// True once it was settled, whatever names came since: endpoints that come from then on are new among others.
    begun: bool,
}

impl Fleet {
    /// A cluster of which nobody looks after the endpoints yet. What `before`, the cluster of that name, knows of names and
    /// endpoints that are in both is kept.
    pub fn new(config: &config::Cluster, workers: usize, registry: &Arc<Registry>, before: Option<&Self>) -> Arc<Self> {
        let (reports, reported) = mpsc::channel(REPORTS);
        let named = |name: &str| config.endpoints.iter().any(|endpoint| endpoint.host == name);
        let mut names = before.map(|before| locked(&before.names).clone()).unwrap_or_default();
        names.retain(|name, _| named(name));
        let fleet = Self {
            config: config.clone(),
            registry: Arc::clone(registry),
            workers,
            roster: ArcSwap::from_pointee(before.map(|before| before.roster().inherited()).unwrap_or_default()),
            version: AtomicU64::new(0),
            changed: watch::channel(()).0,
            names: Mutex::new(names),
            reports,
            reported: Mutex::new(Some(reported)),
            keeper: Mutex::new(None),
        };
        fleet.gather();
        fleet.forgive();
        Arc::new(fleet)
    }

    /// The endpoints.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// Differs from an earlier answer when the roster, or what is known of its members, does.
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// Told of every change.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// An endpoint failed often enough in a row to be left alone.
    pub fn report(&self, address: SocketAddr) {
        // A full queue is about the same endpoints.
        let _ = self.reports.try_send(address);
    }

    /// Something of a member changed.
    fn touch(&self) {
        self.version.fetch_add(1, Release);
        self.changed.send_replace(());
    }

    /// True when somebody has to look after its endpoints.
    fn is_kept(&self) -> bool {
        self.config.health.is_some() || self.config.outliers.is_some() || self.names().next().is_some()
    }

    /// The names among its hosts, each once.
    fn names(&self) -> impl Iterator<Item = &str> {
        let hosts = || self.config.endpoints.iter().map(|endpoint| endpoint.host.as_str());
        let is_first = move |place: usize, host: &str| hosts().position(|known| known == host) == Some(place);
        let named = hosts().enumerate().filter(|(_, host)| host.parse::<IpAddr>().is_err());
        named.filter(move |(place, host)| is_first(*place, host)).map(|(_, host)| host)
    }

    /// What a name is at this moment; no answer leaves what there was for as long as that may be kept.
    fn resolved(&self, name: &str, found: Option<Vec<IpAddr>>) {
        let mut names = locked(&self.names);
        let known = names.get(name);
        let answer = Answer::after(found.map(in_order), known, Instant::now(), self.config.dns.keep);
        let is_news = known.is_none_or(|known| known.addresses != answer.addresses);
        names.insert(name.to_owned(), answer);
        drop(names);
        if is_news {
            self.gather();
        }
    }

    /// What is not asked for does not count: a definition may have lost its questions.
    fn forgive(&self) {
        for member in &self.roster().members {
            if self.config.health.is_none() {
                member.vitals.set_healthy(true);
            }
            if self.config.outliers.is_none() {
                member.vitals.set_ejected(false);
            }
        }
    }

    /// Makes the roster of what is known of names. Members that stay are the same; those that come while the cluster
    /// begins, or where there is no other, start as they will go on.
    fn gather(&self) {
        let (before, names) = (self.roster(), locked(&self.names));
        let mut vitals: HashMap<SocketAddr, Arc<Vitals>> = HashMap::new();
        let is_first = !before.begun || before.members.is_empty();
        let mut members = Vec::new();
        for endpoint in &self.config.endpoints {
            for ip in addresses(&endpoint.host, &names) {
                let address = SocketAddr::new(ip, endpoint.port);
                let known = before.members.iter().find(|member| member.address == address);
                let vitals = vitals.entry(address).or_insert_with(|| match known {
                    Some(known) => Arc::clone(&known.vitals),
                    None => Arc::new(self.fresh(address, is_first)),
                });
                members.push(Arc::new(Member::new(endpoint, address, vitals)));
            }
        }
        let settled = self.names().all(|name| names.contains_key(name));
        drop(names);
        let (table, begun) = (table(&self.config.pick, &members), before.begun || settled);
        self.roster.store(Arc::new(Roster { members, table, settled, begun }));
        self.touch();
    }

    fn fresh(&self, address: SocketAddr, first: bool) -> Vitals {
        let series = self.registry.endpoint(&self.config.name, &address.to_string());
        let vitals = Vitals::new(self.workers, series, if first { 0 } else { now() });
        if self.config.health.as_ref().is_some_and(|health| health.initial == config::Initial::Unhealthy) {
            vitals.set_healthy(false);
        }
        vitals
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Fleet {
    /// Nobody looks after its endpoints any more; what is under way goes on.
    pub fn retire(&self) {
        if let Some(keeper) = locked(&self.keeper).take() {
            keeper.abort();
        }
    }
}

impl Roster {
    /// The same members, for a cluster that takes the place of theirs.
    fn inherited(&self) -> Self {
        Self { members: self.members.clone(), table: None, settled: self.settled, begun: self.begun }
    }
}

fn addresses(host: &str, names: &HashMap<String, Answer>) -> Vec<IpAddr> {
    match host.parse() {
        Ok(address) => vec![address],
        Err(_) => names.get(host).map(|answer| answer.addresses.clone()).unwrap_or_default(),
    }
}

/// Each once, in numerical order, so that the same answer in another order changes nothing.
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    addresses
}

fn table(pick: &Pick, members: &[Arc<Member>]) -> Option<Table> {
    let names: Vec<String> = members.iter().map(|member| member.address.to_string()).collect();
    let named: Vec<_> = names.iter().zip(members).map(|(name, member)| (name.as_str(), member.weight)).collect();
    match pick {
        Pick::RingHash(_) => Some(Table::ring(&named)),
        Pick::Maglev(_) => Some(Table::maglev(&named)),
        Pick::RoundRobin | Pick::LeastRequest | Pick::Random => None,
    }
}

/// What a panic left behind is whole: nothing is changed in more than one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every cluster of a configuration: those whose definition did not change are the same as before, and those that are gone
/// or changed are no longer looked after.
pub fn succeed(
    before: &[Arc<Fleet>],
    clusters: &[config::Cluster],
    (workers, registry): (usize, &Arc<Registry>),
) -> Vec<Arc<Fleet>> {
    let fleet = |wanted: &config::Cluster| {
        let known = before.iter().find(|known| known.config.name == wanted.name);
        match known {
            Some(known) if known.config == *wanted => Arc::clone(known),
            known => Fleet::new(wanted, workers, registry, known.map(|known| &**known)),
        }
    };
    clusters.iter().map(fleet).collect()
}

#[cfg(test)]
mod tests;
