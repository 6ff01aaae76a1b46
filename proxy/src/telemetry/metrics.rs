//! The numbers of the process: one registry, one series per labelled thing and worker, one text page for a scrape.
//!
//! Counting takes no lock and shares no cache line between workers. Series are made when a snapshot is taken up, never
//! per exchange; a series leaves the page when its last holder drops it.

mod callout;
mod cell;
mod families;
mod guest;
mod heartbeat;
mod process;
mod render;
mod series;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

pub use self::callout::{CalloutKind, CalloutOutcome, CalloutSeries};
pub use self::cell::{
    BUCKETS, CALLBACK_SCALE, Counter, EXCHANGE_SCALE, GUEST_SCALE, Gauge, Histogram, Scale, SharedCounter,
};
pub use self::families::{FAMILIES, Family, FamilyKind};
use self::guest::GuestTable;
pub use self::guest::{DEFAULT_SERIES, GuestMetrics, Undefined};
use self::heartbeat::Heartbeats;
pub use self::heartbeat::{Pulse, STUCK};
pub use self::process::resident_bytes;
pub use self::series::{
    AccessLogSeries, CLASSES, ClusterSeries, EndpointSeries, FAILURES, ListenerSeries, Measure, PAUSED, PHASES,
    PluginSeries, ReloadSeries, RetryCause, RouteSeries, TcpSeries, TlsReloadSeries, TlsSeries, Track, UpstreamFailure,
    class_index, failure_index, phase_index,
};
use crate::pressure::Memory;

/// Everything the process counts.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    heartbeats: Heartbeats,
    started: SystemTime,
    access_log: Arc<AccessLogSeries>,
    reloads: ReloadSeries,
    tls_reloads: TlsReloadSeries,
    /// Guards a copy of a few numbers; the control thread alone has them changed.
    memory: Mutex<Memory>,
    /// Guards which series exist, not their values; held while a snapshot is taken up and while a scrape lists them.
    tables: Mutex<Tables>,
}

/// What serves a plugin: the labels of `tollgate_filter_module_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Name of the plugin.
    pub plugin: String,
    /// Which of its generations.
    pub track: Track,
    /// SHA-256 of the module's bytes, in hex.
    pub digest: String,
    /// ABI version, as "0.2.1".
    pub abi: String,
    /// Where the bytes came from.
    pub source: String,
    /// Number of the generation that serves.
    pub generation: u64,
}

/// A certificate that is shown: the labels of `tollgate_tls_certificate_not_after_timestamp_seconds`, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// `listener` or `cluster`.
    pub kind: &'static str,
    /// The name of that.
    pub owner: String,
    /// The first name that it is shown for.
    pub name: String,
    /// When it ends to be good.
    pub not_after: SystemTime,
}

impl CertificateInfo {
    fn labels(&self) -> [&str; 3] {
        [self.kind, &self.owner, &self.name]
    }
}

impl Registry {
    /// An empty registry for `workers` workers, numbered from zero.
    pub fn new(workers: usize) -> Arc<Registry> {
        let started = SystemTime::now();
        Arc::new(Registry {
            workers,
            heartbeats: Heartbeats::new(workers),
            started,
            access_log: Arc::default(),
            reloads: ReloadSeries::new(started),
            tls_reloads: TlsReloadSeries::default(),
            memory: Mutex::default(),
            tables: Mutex::default(),
        })
    }

    /// A worker comes round at `now`; see [`Pulse`].
    pub fn beat(&self, worker: usize, now: Instant) {
        self.heartbeats.beat(worker, now);
    }

    /// A worker has ended in order: it will not come round again.
    pub fn end_beat(&self, worker: usize) {
        self.heartbeats.end(worker);
    }

    /// How each worker is, in their order.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.heartbeats.pulses(Instant::now())
    }

    /// The memory of the process was looked at.
    pub fn set_memory(&self, memory: Memory) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    /// What the memory of the process was when it was last looked at.
    pub fn memory(&self) -> Memory {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker number under which the control thread keeps series of its own, such as those of starting VMs.
    pub fn control(&self) -> usize {
        self.workers
    }

    /// The series of a route on one worker; the same one while anybody holds it.
    pub fn route(&self, worker: usize, listener: &str, route: &str, cluster: &str) -> Arc<RouteSeries> {
        let key = [listener, route, cluster].map(str::to_owned);
        self.lock().routes.series(key, worker, |_| RouteSeries::new())
    }

    /// The series of a listener on one worker; the same one while anybody holds it.
    pub fn listener(&self, worker: usize, listener: &str) -> Arc<ListenerSeries> {
        self.lock().listeners.series(listener.to_owned(), worker, |_| ListenerSeries::default())
    }

    /// The series of a cluster on one worker; the same one while anybody holds it.
    pub fn cluster(&self, worker: usize, cluster: &str) -> Arc<ClusterSeries> {
        self.lock().clusters.series(cluster.to_owned(), worker, |_| ClusterSeries::new())
    }

    /// The series of an endpoint; the same one while anybody holds it.
    pub fn endpoint(&self, cluster: &str, endpoint: &str) -> Arc<EndpointSeries> {
        let key = [cluster, endpoint].map(str::to_owned);
        self.lock().endpoints.series(key, self.control(), |_| EndpointSeries::default())
    }

    /// The series of a listener's bytes on one worker; the same one while anybody holds it.
    pub fn tcp(&self, worker: usize, listener: &str) -> Arc<TcpSeries> {
        self.lock().tcp.series(listener.to_owned(), worker, |_| TcpSeries::default())
    }

    /// The series of a plugin on one worker; the same one while anybody holds it.
    ///
    /// Its guests may define `guest_series` metrics, over all workers; what was asked for last holds.
    pub fn plugin(&self, worker: usize, (plugin, track): (&str, Track), guest_series: usize) -> Arc<PluginSeries> {
        let series = self.lock().plugins.series((plugin.to_owned(), track), worker, |sibling| {
            let shared = sibling.map(|series: &PluginSeries| Arc::clone(series.custom.table()));
            let table = shared.unwrap_or_else(|| Arc::new(GuestTable::new(guest_series)));
            PluginSeries::new(GuestMetrics::new(table))
        });
        series.custom.table().limit(guest_series);
        series
    }

    /// The series of a plugin's callouts to a cluster on one worker; the same one while anybody holds it. The cluster is one
    /// of the configuration, or `none` for callouts that were refused before there was one.
    pub fn callouts(&self, worker: usize, plugin: &str, cluster: &str) -> Arc<CalloutSeries> {
        let key = [plugin, cluster].map(str::to_owned);
        self.lock().callouts.series(key, worker, |_| CalloutSeries::default())
    }

    /// The series of the access log.
    pub fn access_log(&self) -> Arc<AccessLogSeries> {
        Arc::clone(&self.access_log)
    }

    /// The series of reloads.
    pub fn reloads(&self) -> &ReloadSeries {
        &self.reloads
    }

    /// The series of files of TLS.
    pub fn tls_reloads(&self) -> &TlsReloadSeries {
        &self.tls_reloads
    }

    /// Names the certificates that are shown, in place of those named before. Of equal names the first to expire counts.
    pub fn set_certificates(&self, certificates: impl Iterator<Item = CertificateInfo>) {
        let mut known: Vec<CertificateInfo> = Vec::new();
        for info in certificates {
            match known.iter_mut().find(|known| known.labels() == info.labels()) {
                Some(known) => known.not_after = known.not_after.min(info.not_after),
                None => known.push(info),
            }
        }
        self.lock().certificates = known;
    }

    /// Names the modules that serve, in place of those named before.
    pub fn set_modules(&self, modules: impl Iterator<Item = ModuleInfo>) {
        self.lock().modules = modules.map(|info| ((info.plugin.clone(), info.track), info)).collect();
    }

    /// What each worker counts about a plugin, by number; the control side's own comes last.
    pub fn plugin_by_worker(&self, plugin: &str, track: Track) -> Vec<(usize, Arc<PluginSeries>)> {
        let tables = self.lock();
        let row = tables.plugins.0.get(&(plugin.to_owned(), track));
        row.into_iter().flatten().filter_map(|(worker, series)| Some((*worker, series.upgrade()?))).collect()
    }

    /// What the guests of a plugin counted themselves begins at nothing again.
    pub fn reset_guest(&self, plugin: &str, track: Track) {
        if let Some((_, series)) = self.plugin_by_worker(plugin, track).first() {
            series.custom.table().reset();
        }
    }

    /// The page of a scrape: Prometheus text format 0.0.4, summed over workers, sorted by family.
    pub fn render(&self) -> String {
        render::page(self)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Tables {
    /// By listener, route and cluster.
    routes: Table<[String; 3], RouteSeries>,
    listeners: Table<String, ListenerSeries>,
    clusters: Table<String, ClusterSeries>,
    /// By cluster and address.
    endpoints: Table<[String; 2], EndpointSeries>,
    tcp: Table<String, TcpSeries>,
    plugins: Table<(String, Track), PluginSeries>,
    /// By plugin and cluster.
    callouts: Table<[String; 2], CalloutSeries>,
    modules: BTreeMap<(String, Track), ModuleInfo>,
    certificates: Vec<CertificateInfo>,
}

/// The series of one labelled thing, one for each worker.
type Row<K, S> = (K, Vec<Arc<S>>);

/// Series by labels and worker; holds none of them alive.
#[derive(Debug)]
struct Table<K, S>(BTreeMap<K, BTreeMap<usize, Weak<S>>>);

impl<K, S> Default for Table<K, S> {
    fn default() -> Table<K, S> {
        Table(BTreeMap::new())
    }
}

impl<K: Ord + Clone, S> Table<K, S> {
    /// The living series, or a new one made with a sight of a sibling on another worker.
    fn series(&mut self, key: K, worker: usize, make: impl FnOnce(Option<&S>) -> S) -> Arc<S> {
        let row = self.0.entry(key).or_default();
        if let Some(series) = row.get(&worker).and_then(Weak::upgrade) {
            return series;
        }
        let sibling = row.values().find_map(Weak::upgrade);
        let series = Arc::new(make(sibling.as_deref()));
        row.insert(worker, Arc::downgrade(&series));
        series
    }

    /// Every living series, one row per labels; forgets the rest.
    fn living(&mut self) -> Vec<Row<K, S>> {
        let mut rows = Vec::new();
        self.0.retain(|key, row| {
            row.retain(|_, series| series.strong_count() > 0);
            let series: Vec<_> = row.values().filter_map(Weak::upgrade).collect();
            if !series.is_empty() {
                rows.push((key.clone(), series));
            }
            !row.is_empty()
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_twice_gives_the_same_series() {
        let registry = Registry::new(1);

        let first = registry.cluster(0, "app");
        let second = registry.cluster(0, "app");

        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn each_worker_writes_to_its_own_cache_lines() {
        let registry = Registry::new(2);

        let one = registry.listener(0, "edge");
        let two = registry.listener(1, "edge");

        assert!(!Arc::ptr_eq(&one, &two));
        assert!(Arc::as_ptr(&one).addr().is_multiple_of(128) && size_of::<ListenerSeries>().is_multiple_of(128));
    }

    #[test]
    fn a_series_nobody_holds_is_forgotten() {
        let registry = Registry::new(1);
        let series = registry.cluster(0, "gone");
        assert!(registry.render().contains("gone"));

        drop(series);

        assert!(!registry.render().contains("gone"));
        assert!(registry.lock().clusters.0.is_empty());
    }
}
