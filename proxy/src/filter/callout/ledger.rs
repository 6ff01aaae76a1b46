//! What is counted about callouts: each once, when it ends or is refused.

use std::sync::Arc;
use std::time::Instant;

use tollgate_abi::{CalloutFailure, CalloutRefusal};

use crate::telemetry::metrics::{CalloutKind, CalloutOutcome, CalloutSeries, PluginSeries};

/// A callout under way. Dropped without a word, it was cancelled.
pub struct Ledger {
    plugin: Arc<PluginSeries>,
    callouts: Arc<CalloutSeries>,
    kind: CalloutKind,
    began: Instant,
    outcome: CalloutOutcome,
}

impl Ledger {
    /// A callout begins.
    pub fn open(plugin: Arc<PluginSeries>, callouts: Arc<CalloutSeries>, kind: CalloutKind) -> Self {
        plugin.callouts_active.add(1);
        Self { plugin, callouts, kind, began: Instant::now(), outcome: CalloutOutcome::Cancelled }
    }

    /// It ended so.
    pub fn close(mut self, outcome: CalloutOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.plugin.callouts_active.add(-1);
        self.plugin.callout_duration.observe(self.began.elapsed());
        self.callouts.ended(self.kind, self.outcome).inc();
    }
}

/// How a callout ended that was sent.
pub fn outcome<T>(outcome: &Result<T, CalloutFailure>) -> CalloutOutcome {
    match outcome {
        Ok(_) => CalloutOutcome::Ok,
        Err(CalloutFailure::Timeout) => CalloutOutcome::Timeout,
        Err(CalloutFailure::Connect) => CalloutOutcome::Connect,
        Err(CalloutFailure::Reset) => CalloutOutcome::Reset,
        Err(CalloutFailure::Overflow) => CalloutOutcome::Overflow,
        Err(CalloutFailure::Protocol) => CalloutOutcome::Protocol,
        Err(CalloutFailure::TooLarge) => CalloutOutcome::TooLarge,
    }
}

/// A callout was refused: of `hostcall`, among the callouts to no cluster. A look-up is no callout.
pub fn refused(nowhere: &CalloutSeries, hostcall: &str, why: &CalloutRefusal) {
    let kind = match hostcall {
        "proxy_http_call" => CalloutKind::Http,
        "proxy_grpc_call" | "proxy_grpc_stream" => CalloutKind::Grpc,
        _ => return,
    };
    let outcome = match why {
        CalloutRefusal::UnknownUpstream { .. } => CalloutOutcome::UnknownUpstream,
        CalloutRefusal::Overflow(_) => CalloutOutcome::Overflow,
        CalloutRefusal::Invalid(_) | CalloutRefusal::Unsupported => CalloutOutcome::Invalid,
    };
    nowhere.ended(kind, outcome).inc();
}
