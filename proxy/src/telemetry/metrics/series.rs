//! The cells of one labelled thing on one worker: a route, a listener, a cluster, a plugin.
//!
//! Each series is its own allocation on its own cache lines and has one writer: the worker it was made for. Names of
//! families are not known here; `families` has them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate_abi::{CallbackKind, Cause, Quota};

use super::cell::{CALLBACK_SCALE, Counter, EXCHANGE_SCALE, Gauge, Histogram, SharedCounter};
use super::guest::GuestMetrics;
use crate::tls::failure::ClientFailure;

/// Classes of an answer, as label values; `none` is an exchange that ended without an answer.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The place of a status in [`CLASSES`].
pub fn class_index(status: Option<u16>) -> usize {
    match status {
        Some(100..=199) => 0,
        Some(200..=299) => 1,
        Some(300..=399) => 2,
        Some(400..=499) => 3,
        Some(500..=599) => 4,
        _ => 5,
    }
}

/// Why an attempt at an upstream came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection could be made.
    Connect,
    /// No answer within its time.
    Timeout,
    /// The connection broke before the answer was complete.
    Reset,
    /// What came was not HTTP.
    Protocol,
    /// Too many connections or waiting exchanges.
    Overflow,
    /// None of the connections was free in time.
    Busy,
    /// An endpoint took the connection, and TLS came to nothing.
    Tls,
    /// A connection was meant for this proxy itself.
    Loop,
    /// A connection was meant for an address that takes permission.
    Forbidden,
}

impl UpstreamFailure {
    /// How many reasons there are.
    pub const COUNT: usize = 9;

    /// Every reason, each at its [`UpstreamFailure::index`].
    pub const ALL: [UpstreamFailure; UpstreamFailure::COUNT] = [
        UpstreamFailure::Connect,
        UpstreamFailure::Timeout,
        UpstreamFailure::Reset,
        UpstreamFailure::Protocol,
        UpstreamFailure::Overflow,
        UpstreamFailure::Busy,
        UpstreamFailure::Tls,
        UpstreamFailure::Loop,
        UpstreamFailure::Forbidden,
    ];

    /// The place in [`ClusterSeries::failures`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamFailure::Connect => "connect",
            UpstreamFailure::Timeout => "timeout",
            UpstreamFailure::Reset => "reset",
            UpstreamFailure::Protocol => "protocol",
            UpstreamFailure::Overflow => "overflow",
            UpstreamFailure::Busy => "pool_timeout",
            UpstreamFailure::Tls => "tls",
            UpstreamFailure::Loop => "loop",
            UpstreamFailure::Forbidden => "forbidden",
        }
    }
}

/// After what a request was sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// No connection could be made.
    Connect,
    /// The endpoint did not look at it.
    RefusedStream,
    /// The connection broke before any answer.
    Reset,
    /// No answer within the time of one attempt.
    Timeout,
    /// The status of the answer.
    Status,
    /// The status of gRPC in the answer.
    Grpc,
}

impl RetryCause {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// Every one, each at its [`RetryCause::index`].
    pub const ALL: [RetryCause; RetryCause::COUNT] = [
        RetryCause::Connect,
        RetryCause::RefusedStream,
        RetryCause::Reset,
        RetryCause::Timeout,
        RetryCause::Status,
        RetryCause::Grpc,
    ];

    /// The place in [`ClusterSeries::retries`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            RetryCause::Connect => "connect",
            RetryCause::RefusedStream => "refused_stream",
            RetryCause::Reset => "reset",
            RetryCause::Timeout => "timeout",
            RetryCause::Status => "status",
            RetryCause::Grpc => "grpc",
        }
    }
}

/// How many callbacks are told apart: the label `phase` is the callback's short name.
pub const PHASES: usize = CallbackKind::ALL.len();

/// The place of a callback in the tables of a plugin.
pub fn phase_index(callback: CallbackKind) -> usize {
    callback as usize
}

/// Values of the label `kind` of filter failures, each at its [`failure_index`]; the last one at [`PAUSED`].
pub const FAILURES: [&str; 8] = ["trap", "deadline", "memory", "exit", "refused", "host", "poisoned", "paused"];

/// The place in [`FAILURES`] of a filter that held an exchange for too long; its VM lives.
pub const PAUSED: usize = 7;

/// The place of a cause in [`FAILURES`].
pub fn failure_index(cause: &Cause) -> usize {
    match cause {
        Cause::Trap => 0,
        Cause::Deadline => 1,
        Cause::Memory => 2,
        Cause::Exit(_) => 3,
        Cause::Refused => 4,
        Cause::Host => 5,
        Cause::Poisoned => 6,
    }
}

/// Which of a plugin's generations counts: the label `track`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// The one that serves.
    Stable,
    /// The one that is tried beside it.
    Canary,
}

impl Track {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Track::Stable => "stable",
            Track::Canary => "canary",
        }
    }
}

/// Exchanges of one route on one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct RouteSeries {
    /// Exchanges that ended, by [`class_index`] of the status the client got.
    pub requests: [Counter; CLASSES.len()],
    /// From the request's first byte to the answer's last.
    pub duration: Histogram,
    /// Exchanges under way.
    pub active: Gauge,
    /// Body bytes that clients sent.
    pub request_bytes: Counter,
    /// Body bytes that clients were sent.
    pub response_bytes: Counter,
    /// Exchanges that changed their connection to another protocol.
    pub upgrades: Counter,
    /// Those of them under way.
    pub upgraded: Gauge,
}

impl RouteSeries {
    pub(super) fn new() -> RouteSeries {
        RouteSeries {
            requests: Default::default(),
            duration: Histogram::new(&EXCHANGE_SCALE),
            active: Gauge::default(),
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            upgrades: Counter::default(),
            upgraded: Gauge::default(),
        }
    }
}

/// Connections of one listener on one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerSeries {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections open.
    pub active: Gauge,
    /// Connections closed at once because the limit was reached.
    pub refused: Counter,
    /// Connections ended because what came was not HTTP, broke a limit or took too long.
    pub protocol_errors: Counter,
    /// Connections ended because of a flood of frames.
    pub floods: Counter,
    /// What was done for want of memory, by [`Measure::index`].
    pub overload: [Counter; Measure::COUNT],
    /// Handshakes, where TLS is spoken.
    pub tls: TlsSeries,
}

/// What is done for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A request was refused, or a connection that would be passed on.
    Shed,
    /// An idle connection was closed.
    Closed,
    /// A worker began to let nobody in.
    Paused,
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Every one, each at its [`Measure::index`].
    pub const ALL: [Measure; Measure::COUNT] = [Measure::Shed, Measure::Closed, Measure::Paused];

    /// The place in [`ListenerSeries::overload`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The value of the label `action`.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Shed => "shed",
            Measure::Closed => "closed",
            Measure::Paused => "paused",
        }
    }
}

/// Handshakes with clients of one listener on one worker.
#[derive(Debug, Default)]
pub struct TlsSeries {
    /// Those in full, and those that went on with a session.
    pub handshakes: [Counter; 2],
    /// Those that failed, by [`ClientFailure::index`].
    pub failures: [Counter; ClientFailure::COUNT],
}

/// Attempts at one cluster by one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct ClusterSeries {
    /// Answers, by [`class_index`] of the status the upstream sent.
    pub responses: [Counter; CLASSES.len()],
    /// Attempts without an answer, by [`UpstreamFailure::index`].
    pub failures: [Counter; UpstreamFailure::COUNT],
    /// From sending the request to the head of the answer.
    pub duration: Histogram,
    /// Connections made.
    pub connections: Counter,
    /// Connections open, busy or idle.
    pub connections_active: Gauge,
    /// Attempts after the first, by [`RetryCause::index`].
    pub retries: [Counter; RetryCause::COUNT],
    /// Attempts that were not made because too many were under way.
    pub retries_refused: Counter,
    /// Connections ended because of a flood of frames.
    pub floods: Counter,
}

impl ClusterSeries {
    pub(super) fn new() -> ClusterSeries {
        ClusterSeries {
            responses: Default::default(),
            failures: Default::default(),
            duration: Histogram::new(&EXCHANGE_SCALE),
            connections: Counter::default(),
            connections_active: Gauge::default(),
            retries: Default::default(),
            retries_refused: Counter::default(),
            floods: Counter::default(),
        }
    }
}

/// One endpoint of a cluster, for the whole process; the control side writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointSeries {
    /// 1 while it is worth a request.
    pub healthy: Gauge,
}

/// Connections that one listener passes on as bytes, on one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TcpSeries {
    /// Connections begun.
    pub connections: Counter,
    /// Connections under way.
    pub active: Gauge,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
}

/// One plugin on one worker: about 5 KiB, of which a distribution for each callback is the most.
#[derive(Debug)]
#[repr(align(128))]
pub struct PluginSeries {
    /// Guest entries, by [`phase_index`].
    pub calls: [Counter; PHASES],
    /// Wall time of guest entries, by [`phase_index`].
    pub duration: [Histogram; PHASES],
    /// Failures, by [`failure_index`].
    pub failures: [Counter; FAILURES.len()],
    /// Hostcalls answered OK without effect, because what they asked for is not allowed.
    pub refusals: Counter,
    /// Answers given in place of the upstream, by [`class_index`].
    pub local_replies: [Counter; CLASSES.len()],
    /// VMs alive.
    pub vms: Gauge,
    /// Bytes of linear memory.
    pub memory_bytes: Gauge,
    /// Exchanges and connections that got a context.
    pub exchanges: Counter,
    /// Exchanges that came while the plugin had used its share of the worker.
    pub shed: Counter,
    /// VMs that were replaced because of their memory.
    pub recycled: Counter,
    /// Log lines over the budget.
    pub log_lines_dropped: Counter,
    /// Exchanges that went on without this plugin after it failed.
    pub skipped: Counter,
    /// Exchanges that were refused because this plugin failed.
    pub denied: Counter,
    /// Times the guest asked for more than it may have, in the order of [`Quota::ALL`].
    pub quota_exceeded: [Counter; Quota::ALL.len()],
    /// Callouts under way.
    pub callouts_active: Gauge,
    /// From the start of a callout that was sent to its end, however it ended.
    pub callout_duration: Histogram,
    /// Metrics the guest defined itself.
    pub custom: GuestMetrics,
}

impl PluginSeries {
    pub(super) fn new(custom: GuestMetrics) -> PluginSeries {
        PluginSeries {
            calls: std::array::from_fn(|_| Counter::default()),
            duration: std::array::from_fn(|_| Histogram::new(&CALLBACK_SCALE)),
            failures: Default::default(),
            refusals: Counter::default(),
            local_replies: Default::default(),
            vms: Gauge::default(),
            memory_bytes: Gauge::default(),
            exchanges: Counter::default(),
            shed: Counter::default(),
            recycled: Counter::default(),
            log_lines_dropped: Counter::default(),
            skipped: Counter::default(),
            denied: Counter::default(),
            quota_exceeded: Default::default(),
            callouts_active: Gauge::default(),
            callout_duration: Histogram::new(&EXCHANGE_SCALE),
            custom,
        }
    }

    /// The guest asked for more of this than it may have.
    pub fn over_quota(&self, quota: Quota) {
        self.quota_exceeded[quota as usize].inc();
    }
}

/// Reloads of the configuration; the control side alone writes here.
#[derive(Debug)]
pub struct ReloadSeries {
    /// Those that were taken over, and those that were refused.
    outcomes: [SharedCounter; 2],
    refused: AtomicBool,
    /// In milliseconds since the Unix epoch.
    taken_over: AtomicU64,
}

impl ReloadSeries {
    pub(super) fn new(now: SystemTime) -> ReloadSeries {
        let taken_over = AtomicU64::new(millis(now));
        ReloadSeries { outcomes: Default::default(), refused: AtomicBool::new(false), taken_over }
    }

    /// A reload ended.
    pub fn note(&self, taken_over: bool) {
        self.outcomes[usize::from(!taken_over)].inc();
        self.refused.store(!taken_over, Relaxed);
        if taken_over {
            self.taken_over.store(millis(SystemTime::now()), Relaxed);
        }
    }

    /// How many were taken over, and how many refused.
    pub(super) fn outcomes(&self) -> [u64; 2] {
        [self.outcomes[0].get(), self.outcomes[1].get()]
    }

    /// True when the last one was taken over, or there was none.
    pub(super) fn is_good(&self) -> bool {
        !self.refused.load(Relaxed)
    }

    /// Since when the configuration is in force.
    pub(super) fn since(&self) -> Duration {
        Duration::from_millis(self.taken_over.load(Relaxed))
    }
}

/// Certificates and what else TLS reads, taken over or refused after the start; the control side alone writes here.
#[derive(Debug, Default)]
pub struct TlsReloadSeries {
    taken_over: SharedCounter,
    refused: SharedCounter,
}

impl TlsReloadSeries {
    /// Files of a listener or a cluster were read again.
    pub fn note(&self, taken_over: bool) {
        if taken_over {
            self.taken_over.inc()
        } else {
            self.refused.inc()
        };
    }

    /// How many were taken over, and how many refused.
    pub(super) fn outcomes(&self) -> [u64; 2] {
        [self.taken_over.get(), self.refused.get()]
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The access log of the process; every worker writes here, and only when something goes wrong.
#[derive(Debug, Default)]
pub struct AccessLogSeries {
    /// Lines dropped because the writer was behind or the file could not be written.
    pub dropped: SharedCounter,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_status_falls_into_its_class_and_anything_else_into_none() {
        for (status, class) in
            [(Some(101), "1xx"), (Some(204), "2xx"), (Some(599), "5xx"), (Some(600), "none"), (None, "none")]
        {
            assert_eq!(CLASSES[class_index(status)], class);
        }
    }

    #[test]
    fn every_upstream_failure_is_at_its_index() {
        for (at, failure) in UpstreamFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), at);
        }
    }

    #[test]
    fn every_callback_has_a_place_and_a_name_of_its_own() {
        let places: HashSet<_> = CallbackKind::ALL.into_iter().map(phase_index).collect();
        let names: HashSet<_> = CallbackKind::ALL.into_iter().map(CallbackKind::as_str).collect();

        assert_eq!(places, (0..PHASES).collect());
        assert_eq!(names.len(), PHASES);
    }

    #[test]
    fn a_plugin_stays_within_six_kib() {
        assert!(size_of::<PluginSeries>() <= 6 * 1024, "{}", size_of::<PluginSeries>());
    }

    #[test]
    fn every_cause_is_labelled_by_its_own_word() {
        let causes =
            [Cause::Trap, Cause::Deadline, Cause::Memory, Cause::Exit(1), Cause::Refused, Cause::Host, Cause::Poisoned];

        for cause in causes {
            assert_eq!(FAILURES[failure_index(&cause)], cause.as_str());
        }
    }
}
