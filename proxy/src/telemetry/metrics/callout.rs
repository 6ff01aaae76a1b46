//! The cells of what filters ask of clusters, and the words for how that ends.
//!
//! It counts what has ended; what is under way is in [`super::PluginSeries::callouts_active`].

use super::cell::Counter;

/// What a callout speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalloutKind {
    /// One HTTP request.
    Http,
    /// A gRPC call or stream.
    Grpc,
}

impl CalloutKind {
    /// How many kinds there are.
    pub const COUNT: usize = 2;

    /// Every kind, in the order of the page.
    pub const ALL: [CalloutKind; CalloutKind::COUNT] = [CalloutKind::Http, CalloutKind::Grpc];

    /// The value of the label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            CalloutKind::Http => "http",
            CalloutKind::Grpc => "grpc",
        }
    }
}

/// How a callout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalloutOutcome {
    /// The answer was complete, whatever its status.
    Ok,
    /// No complete answer within its time.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer was complete.
    Reset,
    /// Too many callouts, connections or waiting exchanges.
    Overflow,
    /// What came was not what the cluster is to speak.
    Protocol,
    /// The answer was longer than it may be.
    TooLarge,
    /// The filter may not call that cluster, or there is none.
    UnknownUpstream,
    /// What the filter asked for is no request.
    Invalid,
    /// The filter or the end of its VM gave it up.
    Cancelled,
}

impl CalloutOutcome {
    /// How many outcomes there are.
    pub const COUNT: usize = 10;

    /// Every outcome, in the order of the page.
    pub const ALL: [CalloutOutcome; CalloutOutcome::COUNT] = [
        CalloutOutcome::Ok,
        CalloutOutcome::Timeout,
        CalloutOutcome::Connect,
        CalloutOutcome::Reset,
        CalloutOutcome::Overflow,
        CalloutOutcome::Protocol,
        CalloutOutcome::TooLarge,
        CalloutOutcome::UnknownUpstream,
        CalloutOutcome::Invalid,
        CalloutOutcome::Cancelled,
    ];

    /// The value of the label `outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            CalloutOutcome::Ok => "ok",
            CalloutOutcome::Timeout => "timeout",
            CalloutOutcome::Connect => "connect",
            CalloutOutcome::Reset => "reset",
            CalloutOutcome::Overflow => "overflow",
            CalloutOutcome::Protocol => "protocol",
            CalloutOutcome::TooLarge => "too_large",
            CalloutOutcome::UnknownUpstream => "unknown_upstream",
            CalloutOutcome::Invalid => "invalid",
            CalloutOutcome::Cancelled => "cancelled",
        }
    }
}

/// Callouts of one plugin to one cluster on one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CalloutSeries {
    counts: [[Counter; CalloutOutcome::COUNT]; CalloutKind::COUNT],
}

impl CalloutSeries {
    /// Callouts of that kind that ended so; counted up where one ends, once.
    pub fn ended(&self, kind: CalloutKind, outcome: CalloutOutcome) -> &Counter {
        &self.counts[kind as usize][outcome as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_outcome_has_a_counter_of_its_own() {
        let series = CalloutSeries::default();
        let pairs = || CalloutKind::ALL.into_iter().flat_map(|kind| CalloutOutcome::ALL.map(|outcome| (kind, outcome)));

        for (at, (kind, outcome)) in (1..).zip(pairs()) {
            series.ended(kind, outcome).add(at);
        }

        for (at, (kind, outcome)) in (1..).zip(pairs()) {
            assert_eq!(series.ended(kind, outcome).get(), at, "{} {}", kind.as_str(), outcome.as_str());
        }
    }
}
