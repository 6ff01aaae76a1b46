//! The page of a scrape: sums series over workers and writes Prometheus text.
//!
//! It reads cells and changes none. Families without a series are left out, as the format asks.

mod guests;
mod page;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tollgate_abi::{CallbackKind, Quota};

use super::callout::{CalloutKind, CalloutOutcome, CalloutSeries};
use super::cell::{Counter, Gauge, Histogram};
use super::families;
use super::process::Process;
use super::series::{
    CLASSES, ClusterSeries, FAILURES, ListenerSeries, Measure, PluginSeries, RetryCause, RouteSeries, TcpSeries,
    UpstreamFailure, phase_index,
};
use super::{ModuleInfo, Registry};
use crate::telemetry::panics::Place;
use crate::tls::failure::ClientFailure;
use page::Page;

/// Everything the registry knows at this moment.
pub(super) fn page(registry: &Registry) -> String {
    let mut tables = registry.lock();
    let routes = tables.routes.living();
    let listeners = tables.listeners.living();
    let clusters = tables.clusters.living();
    let endpoints = tables.endpoints.living();
    let tcp = tables.tcp.living();
    let plugins = tables.plugins.living();
    let callouts = tables.callouts.living();
    let modules: Vec<ModuleInfo> = tables.modules.values().cloned().collect();
    let certificates = tables.certificates.clone();
    drop(tables);

    let mut page = Page::default();
    for ([listener, route, cluster], series) in &routes {
        add_route(&mut page, [listener, route, cluster], series);
    }
    for (listener, series) in &listeners {
        add_listener(&mut page, listener, series);
    }
    for (cluster, series) in &clusters {
        add_cluster(&mut page, cluster, series);
    }
    for ([cluster, endpoint], series) in &endpoints {
        let healthy = level(series, |series| &series.healthy);
        page.gauge(&families::UPSTREAM_HOST_HEALTHY, &[cluster, endpoint], healthy);
    }
    for (listener, series) in &tcp {
        add_tcp(&mut page, listener, series);
    }
    for ((plugin, track), series) in &plugins {
        add_plugin(&mut page, (plugin, track.as_str()), series);
    }
    for ([plugin, cluster], series) in &callouts {
        add_callouts(&mut page, plugin, cluster, series);
    }
    for module in &modules {
        add_module(&mut page, module);
    }
    for certificate in &certificates {
        let labels = [certificate.kind, &certificate.owner, &certificate.name];
        let until = certificate.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.gauge(&families::TLS_NOT_AFTER, &labels, until.as_secs_f64());
    }
    add_process(&mut page, registry);
    guests::add(&mut page, &plugins);
    page.into_text()
}

fn add_route(page: &mut Page, labels: [&str; 3], series: &[Arc<RouteSeries>]) {
    let [listener, route, cluster] = labels;
    for (at, class) in CLASSES.into_iter().enumerate() {
        let labels = [listener, route, cluster, class];
        page.counter(&families::HTTP_REQUESTS, &labels, total(series, |series| &series.requests[at]));
    }
    page.histogram(&families::HTTP_DURATION, &labels, spread(series, |series| &series.duration));
    page.gauge(&families::HTTP_ACTIVE, &labels, level(series, |series| &series.active));
    let mut bytes = |direction, count| {
        page.counter(&families::HTTP_BODY_BYTES, &[listener, route, cluster, direction], count);
    };
    bytes("request", total(series, |series| &series.request_bytes));
    bytes("response", total(series, |series| &series.response_bytes));
    let upgrades = total(series, |series| &series.upgrades);
    if upgrades > 0.0 {
        page.counter(&families::HTTP_UPGRADES, &labels, upgrades);
        page.gauge(&families::HTTP_UPGRADED, &labels, level(series, |series| &series.upgraded));
    }
}

fn add_listener(page: &mut Page, listener: &str, series: &[Arc<ListenerSeries>]) {
    let labels = [listener];
    page.counter(&families::CONNECTIONS, &labels, total(series, |series| &series.connections));
    page.gauge(&families::CONNECTIONS_ACTIVE, &labels, level(series, |series| &series.active));
    page.counter(&families::CONNECTIONS_REFUSED, &labels, total(series, |series| &series.refused));
    page.counter(&families::CONNECTION_ERRORS, &labels, total(series, |series| &series.protocol_errors));
    page.counter(&families::CONNECTION_FLOODS, &labels, total(series, |series| &series.floods));
    for measure in Measure::ALL {
        let count = total(series, |series| &series.overload[measure.index()]);
        page.counter(&families::OVERLOAD, &[listener, measure.as_str()], count);
    }
    let handshakes = [0, 1].map(|at| total(series, |series| &series.tls.handshakes[at]));
    let failures = ClientFailure::ALL.map(|why| (why, total(series, |series| &series.tls.failures[why.index()])));
    if handshakes.iter().chain(failures.iter().map(|(_, count)| count)).all(|count| *count == 0.0) {
        return;
    }
    for (session, count) in ["new", "resumed"].into_iter().zip(handshakes) {
        page.counter(&families::TLS_HANDSHAKES, &[listener, session], count);
    }
    for (why, count) in failures {
        page.counter(&families::TLS_FAILURES, &[listener, why.as_str()], count);
    }
}

fn add_tcp(page: &mut Page, listener: &str, series: &[Arc<TcpSeries>]) {
    page.counter(&families::TCP_CONNECTIONS, &[listener], total(series, |series| &series.connections));
    page.gauge(&families::TCP_ACTIVE, &[listener], level(series, |series| &series.active));
    page.counter(&families::TCP_BYTES, &[listener, "in"], total(series, |series| &series.bytes_in));
    page.counter(&families::TCP_BYTES, &[listener, "out"], total(series, |series| &series.bytes_out));
}

fn add_cluster(page: &mut Page, cluster: &str, series: &[Arc<ClusterSeries>]) {
    for (at, class) in CLASSES.into_iter().enumerate() {
        page.counter(&families::UPSTREAM_RESPONSES, &[cluster, class], total(series, |series| &series.responses[at]));
    }
    for failure in UpstreamFailure::ALL {
        let count = total(series, |series| &series.failures[failure.index()]);
        page.counter(&families::UPSTREAM_FAILURES, &[cluster, failure.as_str()], count);
    }
    let labels = [cluster];
    page.histogram(&families::UPSTREAM_DURATION, &labels, spread(series, |series| &series.duration));
    page.counter(&families::UPSTREAM_CONNECTIONS, &labels, total(series, |series| &series.connections));
    page.gauge(&families::UPSTREAM_CONNECTIONS_ACTIVE, &labels, level(series, |series| &series.connections_active));
    for cause in RetryCause::ALL {
        let count = total(series, |series| &series.retries[cause.index()]);
        page.counter(&families::UPSTREAM_RETRIES, &[cluster, cause.as_str()], count);
    }
    page.counter(&families::UPSTREAM_RETRIES_REFUSED, &labels, total(series, |series| &series.retries_refused));
    page.counter(&families::UPSTREAM_FLOODS, &labels, total(series, |series| &series.floods));
}

fn add_plugin(page: &mut Page, (plugin, track): (&str, &str), series: &[Arc<PluginSeries>]) {
    add_phases(page, (plugin, track), series);
    for (at, kind) in FAILURES.into_iter().enumerate() {
        page.counter(&families::FILTER_FAILURES, &[plugin, track, kind], total(series, |series| &series.failures[at]));
    }
    for (at, class) in CLASSES.into_iter().enumerate() {
        let count = total(series, |series| &series.local_replies[at]);
        page.counter(&families::FILTER_LOCAL_REPLIES, &[plugin, track, class], count);
    }
    page.counter(&families::FILTER_ON_ERROR, &[plugin, track, "deny"], total(series, |series| &series.denied));
    page.counter(&families::FILTER_ON_ERROR, &[plugin, track, "skip"], total(series, |series| &series.skipped));
    let labels = [plugin, track];
    page.counter(&families::FILTER_REFUSALS, &labels, total(series, |series| &series.refusals));
    page.gauge(&families::FILTER_INSTANCES, &labels, level(series, |series| &series.vms));
    page.gauge(&families::FILTER_MEMORY, &labels, level(series, |series| &series.memory_bytes));
    page.counter(&families::FILTER_EXCHANGES, &labels, total(series, |series| &series.exchanges));
    page.counter(&families::FILTER_SHED, &labels, total(series, |series| &series.shed));
    page.counter(&families::FILTER_RECYCLED, &labels, total(series, |series| &series.recycled));
    page.counter(&families::FILTER_LOG_DROPPED, &labels, total(series, |series| &series.log_lines_dropped));
    for (at, quota) in Quota::ALL.into_iter().enumerate() {
        let count = total(series, |series| &series.quota_exceeded[at]);
        page.counter(&families::FILTER_QUOTA, &[plugin, track, quota.as_str()], count);
    }
    page.gauge(&families::FILTER_CALLOUTS_ACTIVE, &labels, level(series, |series| &series.callouts_active));
    let callouts = spread(series, |series| &series.callout_duration);
    if callouts.count() > 0 {
        page.histogram(&families::FILTER_CALLOUT_DURATION, &labels, callouts);
    }
}

/// Callbacks that were called. Most modules have few, and each of the others would be nineteen lines.
fn add_phases(page: &mut Page, (plugin, track): (&str, &str), series: &[Arc<PluginSeries>]) {
    let mut spent = 0.0;
    for phase in CallbackKind::ALL {
        let (at, labels) = (phase_index(phase), [plugin, track, phase.as_str()]);
        let spread = spread(series, |series| &series.duration[at]);
        spent += spread.sum();
        if spread.count() > 0 {
            page.counter(&families::FILTER_CALLS, &labels, total(series, |series| &series.calls[at]));
            page.histogram(&families::FILTER_DURATION, &labels, spread);
        }
    }
    page.counter(&families::FILTER_CPU, &[plugin, track], spent);
}

/// Every outcome of the kinds that this filter has used with this cluster.
fn add_callouts(page: &mut Page, plugin: &str, cluster: &str, series: &[Arc<CalloutSeries>]) {
    for kind in CalloutKind::ALL {
        let counts = CalloutOutcome::ALL.map(|outcome| (outcome, total(series, |series| series.ended(kind, outcome))));
        if counts.iter().all(|(_, count)| *count == 0.0) {
            continue;
        }
        for (outcome, count) in counts {
            page.counter(&families::FILTER_CALLOUTS, &[plugin, cluster, kind.as_str(), outcome.as_str()], count);
        }
    }
}

fn add_module(page: &mut Page, module: &ModuleInfo) {
    let (plugin, track) = (module.plugin.as_str(), module.track.as_str());
    page.gauge(&families::FILTER_MODULE, &[plugin, track, &module.digest, &module.abi, &module.source], 1.0);
    page.gauge(&families::FILTER_GENERATION, &[plugin, track], module.generation as f64);
}

fn add_process(page: &mut Page, registry: &Registry) {
    page.counter(&families::ACCESS_LOG_DROPPED, &[], registry.access_log.dropped.get() as f64);
    for (outcome, count) in ["success", "refused"].into_iter().zip(registry.reloads.outcomes()) {
        page.counter(&families::RELOADS, &[outcome], count as f64);
    }
    page.gauge(&families::RELOAD_SUCCESS, &[], f64::from(u8::from(registry.reloads.is_good())));
    page.gauge(&families::RELOAD_TIME, &[], registry.reloads.since().as_secs_f64());
    for (outcome, count) in ["success", "refused"].into_iter().zip(registry.tls_reloads.outcomes()) {
        page.counter(&families::TLS_RELOADS, &[outcome], count as f64);
    }
    page.gauge(&families::WORKERS, &[], registry.workers as f64);
    for (worker, pulse) in registry.pulses().into_iter().enumerate() {
        let stuck = if pulse.is_stuck() { 1.0 } else { 0.0 };
        page.gauge(&families::WORKER_STUCK, &[&worker.to_string()], stuck);
    }
    for place in Place::ALL {
        page.counter(&families::PANICS, &[place.as_str()], place.panics() as f64);
    }
    page.gauge(&families::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    let started = registry.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(&families::PROCESS_START, &[], started.as_secs_f64());

    let process = Process::look();
    if let Some(bytes) = process.resident_bytes {
        page.gauge(&families::PROCESS_MEMORY, &[], bytes as f64);
    }
    if let Some(seconds) = process.cpu_seconds {
        page.counter(&families::PROCESS_CPU, &[], seconds);
    }
    if let Some(fds) = process.open_fds {
        page.gauge(&families::PROCESS_FDS, &[], fds as f64);
    }
}

/// One counter, summed over workers.
fn total<S>(series: &[Arc<S>], counter: impl Fn(&S) -> &Counter) -> f64 {
    let sum = series.iter().fold(0_u64, |sum, series| sum.wrapping_add(counter(series).get()));
    sum as f64
}

/// One gauge, summed over workers.
fn level<S>(series: &[Arc<S>], gauge: impl Fn(&S) -> &Gauge) -> f64 {
    let sum = series.iter().fold(0_i64, |sum, series| sum.wrapping_add(gauge(series).get()));
    sum as f64
}

/// One histogram, summed over workers.
fn spread<S>(series: &[Arc<S>], histogram: impl Fn(&S) -> &Histogram) -> super::cell::Distribution {
    super::cell::Distribution::of(series.iter().map(|series| histogram(series)))
}

#[cfg(test)]
mod tests;
