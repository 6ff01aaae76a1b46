//! The one table of metric families: name, kind, help with its unit, labels.
//!
//! It holds no numbers. A family that is not here does not exist, except those that guests define
//! (`tollgate_guest_<name>` with the label `filter` and those of the guest).

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution over buckets.
    Histogram,
}

/// One family of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The full name, with prefix and unit.
    pub name: &'static str,
    /// What is counted, and in which unit.
    pub help: &'static str,
    /// What the numbers mean.
    pub kind: FamilyKind,
    /// Label names, in the order of the values.
    pub labels: &'static [&'static str],
}

/// Declares every family once: a constant to write samples with, and its row in [`FAMILIES`].
macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, help: $help, kind: FamilyKind::$kind, labels: &[$($label),*] };)*

        /// Every family of the page, apart from those that guests define.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    HTTP_REQUESTS = Counter "tollgate_http_requests_total" ["listener", "route", "cluster", "class"]
        "Exchanges that ended, by class of the status the client got.";
    HTTP_DURATION = Histogram "tollgate_http_request_duration_seconds" ["listener", "route", "cluster"]
        "From the first byte of the request to the last of the answer, in seconds.";
    HTTP_ACTIVE = Gauge "tollgate_http_active_requests" ["listener", "route", "cluster"]
        "Exchanges under way.";
    HTTP_BODY_BYTES = Counter "tollgate_http_body_bytes_total" ["listener", "route", "cluster", "direction"]
        "Body bytes, and those behind an upgrade, by direction: from clients (request) or to them (response).";
    HTTP_UPGRADES = Counter "tollgate_http_upgrades_total" ["listener", "route", "cluster"]
        "Exchanges that changed their connection to another protocol or became a tunnel; shown from the first one on.";
    HTTP_UPGRADED = Gauge "tollgate_http_upgraded_active" ["listener", "route", "cluster"]
        "Connections that changed to another protocol, and tunnels, under way.";

    CONNECTIONS = Counter "tollgate_connections_total" ["listener"]
        "Client connections accepted.";
    CONNECTIONS_ACTIVE = Gauge "tollgate_connections_active" ["listener"]
        "Client connections open.";
    CONNECTIONS_REFUSED = Counter "tollgate_connections_refused_total" ["listener"]
        "Client connections closed at once because the limit was reached.";
    CONNECTION_ERRORS = Counter "tollgate_connection_errors_total" ["listener"]
        "Client connections ended because what came was not HTTP, broke a limit or took too long.";
    CONNECTION_FLOODS = Counter "tollgate_connection_floods_total" ["listener"]
        "Client connections ended because of a flood of HTTP/2 frames, errors among them.";

    OVERLOAD = Counter "tollgate_overload_actions_total" ["listener", "action"]
        "What was done for want of memory: requests refused (shed), idle connections closed, waits before new ones (paused).";

    TLS_HANDSHAKES = Counter "tollgate_tls_handshakes_total" ["listener", "session"]
        "TLS handshakes with clients that succeeded, by session: new or resumed.";
    TLS_FAILURES = Counter "tollgate_tls_handshake_failures_total" ["listener", "reason"]
        "TLS handshakes with clients that failed, by reason.";
    TLS_NOT_AFTER = Gauge "tollgate_tls_certificate_not_after_timestamp_seconds" ["kind", "owner", "name"]
        "When a certificate that is shown expires, in seconds since the Unix epoch, by whose it is: listener or cluster.";
    TLS_RELOADS = Counter "tollgate_tls_reloads_total" ["outcome"]
        "Files of TLS that were read again because they changed, by outcome: success or refused.";

    TCP_CONNECTIONS = Counter "tollgate_listener_tcp_connections_total" ["listener"]
        "Client connections that were passed on as bytes.";
    TCP_ACTIVE = Gauge "tollgate_listener_tcp_connections_active" ["listener"]
        "Client connections that are being passed on as bytes.";
    TCP_BYTES = Counter "tollgate_listener_tcp_bytes_total" ["listener", "direction"]
        "Bytes passed on, by direction: from clients (in) or to them (out).";

    UPSTREAM_RESPONSES = Counter "tollgate_upstream_responses_total" ["cluster", "class"]
        "Answers of upstreams, by class of their status.";
    UPSTREAM_FAILURES = Counter "tollgate_upstream_failures_total" ["cluster", "reason"]
        "Attempts at upstreams that brought no answer, by reason.";
    UPSTREAM_DURATION = Histogram "tollgate_upstream_duration_seconds" ["cluster"]
        "From sending a request to the head of the upstream's answer, in seconds.";
    UPSTREAM_CONNECTIONS = Counter "tollgate_upstream_connections_total" ["cluster"]
        "Connections made to upstreams.";
    UPSTREAM_CONNECTIONS_ACTIVE = Gauge "tollgate_upstream_connections_active" ["cluster"]
        "Connections to upstreams that are open, busy or idle.";
    UPSTREAM_RETRIES = Counter "tollgate_upstream_retries_total" ["cluster", "reason"]
        "Attempts at upstreams after the first, by what the one before came to.";
    UPSTREAM_RETRIES_REFUSED = Counter "tollgate_upstream_retries_refused_total" ["cluster"]
        "Attempts at upstreams that were not made because too many were under way.";
    UPSTREAM_HOST_HEALTHY = Gauge "tollgate_upstream_host_healthy" ["cluster", "endpoint"]
        "1 while the endpoint is worth a request, 0 while it fails its health checks or is ejected.";
    UPSTREAM_FLOODS = Counter "tollgate_upstream_floods_total" ["cluster"]
        "Connections to upstreams ended because of a flood of HTTP/2 frames.";

    FILTER_CALLS = Counter "tollgate_filter_calls_total" ["filter", "track", "phase"]
        "Calls into filters, by callback.";
    FILTER_DURATION = Histogram "tollgate_filter_duration_seconds" ["filter", "track", "phase"]
        "Time spent in one call of a filter, by callback, in seconds.";
    FILTER_FAILURES = Counter "tollgate_filter_failures_total" ["filter", "track", "kind"]
        "Calls of filters that failed, by kind.";
    FILTER_REFUSALS = Counter "tollgate_filter_refusals_total" ["filter", "track"]
        "Hostcalls answered OK without effect, because what they asked for is not allowed.";
    FILTER_LOCAL_REPLIES = Counter "tollgate_filter_local_replies_total" ["filter", "track", "class"]
        "Answers that filters gave in place of the upstream, by class of their status.";
    FILTER_ON_ERROR = Counter "tollgate_filter_on_error_total" ["filter", "track", "policy"]
        "Exchanges that met a failed filter, by what was done: deny or skip.";
    FILTER_INSTANCES = Gauge "tollgate_filter_instances" ["filter", "track"]
        "VMs alive.";
    FILTER_MEMORY = Gauge "tollgate_filter_memory_bytes" ["filter", "track"]
        "Linear memory of all VMs, in bytes.";
    FILTER_MODULE = Gauge "tollgate_filter_module_info" ["filter", "track", "digest", "abi", "source"]
        "Always 1; the labels name the module that serves.";
    FILTER_GENERATION = Gauge "tollgate_filter_generation" ["filter", "track"]
        "Number of the generation that serves.";
    FILTER_CPU = Counter "tollgate_filter_cpu_seconds_total" ["filter", "track"]
        "Time that filters spent in all their calls, in seconds of a worker.";
    FILTER_EXCHANGES = Counter "tollgate_filter_exchanges_total" ["filter", "track"]
        "Exchanges and connections that a filter saw.";
    FILTER_SHED = Counter "tollgate_filter_shed_total" ["filter", "track"]
        "Exchanges that met a filter which had used its share of a worker while others waited.";
    FILTER_RECYCLED = Counter "tollgate_filter_recycled_total" ["filter", "track"]
        "VMs that were replaced because of their memory.";
    FILTER_LOG_DROPPED = Counter "tollgate_filter_log_lines_dropped_total" ["filter", "track"]
        "Log lines of filters over their budget.";
    FILTER_QUOTA = Counter "tollgate_filter_quota_exceeded_total" ["filter", "track", "quota"]
        "Times a filter asked for more than it may have, by quota.";
    FILTER_CALLOUTS = Counter "tollgate_filter_callouts_total" ["filter", "cluster", "kind", "outcome"]
        "Callouts of filters that ended, by cluster (none: refused before there was one), kind and outcome.";
    FILTER_CALLOUTS_ACTIVE = Gauge "tollgate_filter_callouts_active" ["filter", "track"]
        "Callouts of filters under way.";
    FILTER_CALLOUT_DURATION = Histogram "tollgate_filter_callout_duration_seconds" ["filter", "track"]
        "From the start of a callout that was sent to its end, in seconds.";
    METRICS_DROPPED = Counter "tollgate_metrics_dropped_total" ["filter", "track"]
        "Metrics that filters defined over their cap, or whose names are too long or have unreadable labels.";

    ACCESS_LOG_DROPPED = Counter "tollgate_access_log_lines_dropped_total" []
        "Access log lines lost because the writer was behind or could not write.";
    RELOADS = Counter "tollgate_config_reloads_total" ["outcome"]
        "Reloads of the configuration, by outcome: success or refused.";
    RELOAD_SUCCESS = Gauge "tollgate_config_last_reload_successful" []
        "1 when the last reload of the configuration was taken over, 0 when it was refused.";
    RELOAD_TIME = Gauge "tollgate_config_last_reload_success_timestamp_seconds" []
        "When the configuration in force was taken over, in seconds since the Unix epoch.";
    WORKERS = Gauge "tollgate_workers" []
        "Worker threads.";
    WORKER_STUCK = Gauge "tollgate_worker_stuck" ["worker"]
        "1 while the worker has not looked after its timeouts for 2 seconds, otherwise 0.";
    PANICS = Counter "tollgate_panics_total" ["where"]
        "Bugs of the proxy that ended one task of it, by thread: worker, control or helper.";
    BUILD = Gauge "tollgate_build_info" ["version"]
        "Always 1; the label names the version.";

    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" []
        "Resident memory, in bytes.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "CPU time spent in user space and the kernel, in seconds.";
    PROCESS_FDS = Gauge "process_open_fds" []
        "Open file descriptors.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since the Unix epoch.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_few_and_say_their_unit() {
        let names: HashSet<_> = FAMILIES.iter().map(|family| family.name).collect();

        assert_eq!(names.len(), FAMILIES.len());
        assert!(names.len() <= 60);
        for family in FAMILIES {
            let counter = family.kind == FamilyKind::Counter;
            assert_eq!(family.name.ends_with("_total"), counter, "{}", family.name);
            let histogram = family.kind == FamilyKind::Histogram;
            assert!(!histogram || family.name.ends_with("_seconds"), "{}", family.name);
        }
    }
}
