//! Quotas: how much a plugin may keep in the proxy and ask of it, and whom it may ask.
//! Keeping to them is the proxy's work.

use std::time::Duration;

use crate::cluster::ClusterId;
use crate::route::HostMatch;

/// What a plugin may reach; nothing unless written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allow {
    /// The clusters it may call, in the order written.
    pub calls: Vec<ClusterId>,
    /// The hosts it may resolve, in the order written.
    pub resolve: Vec<HostMatch>,
}

/// How much a plugin may keep and ask for. A count of 0 means none at all; sizes and rates are
/// never 0. Plugins of one `vm_id` share data and queues: there the largest of their quotas holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The most keys of shared data, for each `vm_id`.
    pub shared_data_keys: usize,
    /// The most bytes of one value of shared data.
    pub shared_data_value: u64,
    /// The most bytes of shared data, for each `vm_id`.
    pub shared_data: u64,
    /// The most queues, for each `vm_id`.
    pub queues: usize,
    /// The most messages in one queue.
    pub queue_messages: usize,
    /// The most bytes in all queues of one `vm_id`.
    pub queue_bytes: u64,
    /// The most series of its metrics.
    pub metric_series: usize,
    /// Lines it may log in a second, for each VM.
    pub log_lines: u32,
    /// Lines it may log at once, for each VM, before `log_lines` holds.
    pub log_burst: u32,
    /// The most bytes of one line, 64 KiB at most.
    pub log_line: u64,
    /// The most callouts that one callback may start.
    pub callouts_per_callback: usize,
    /// The most callouts that one exchange may start.
    pub callouts_per_stream: usize,
    /// The most callouts under way, for each VM.
    pub callouts: usize,
    /// The longest a callout may take, and how long one without a timeout may; 5 minutes at most.
    pub callout_timeout: Duration,
    /// The most bytes of the body that answers a callout.
    pub callout_body: u64,
    /// The most one-shot timers pending, for each VM.
    pub timers: usize,
    /// The most properties it may set on one exchange.
    pub properties: usize,
    /// The most bytes of one property that it sets.
    pub property: u64,
}

impl Quota {
    /// The keys whose value is above that of another quota.
    pub fn above(&self, other: &Quota) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("shared_data_keys", self.shared_data_keys > other.shared_data_keys),
            ("shared_data_value", self.shared_data_value > other.shared_data_value),
            ("shared_data", self.shared_data > other.shared_data),
            ("queues", self.queues > other.queues),
            ("queue_messages", self.queue_messages > other.queue_messages),
            ("queue_bytes", self.queue_bytes > other.queue_bytes),
            ("metric_series", self.metric_series > other.metric_series),
            ("log_lines", self.log_lines > other.log_lines),
            ("log_burst", self.log_burst > other.log_burst),
            ("log_line", self.log_line > other.log_line),
            ("callouts_per_callback", self.callouts_per_callback > other.callouts_per_callback),
            ("callouts_per_stream", self.callouts_per_stream > other.callouts_per_stream),
            ("callouts", self.callouts > other.callouts),
            ("callout_timeout", self.callout_timeout > other.callout_timeout),
            ("callout_body", self.callout_body > other.callout_body),
            ("timers", self.timers > other.timers),
            ("properties", self.properties > other.properties),
            ("property", self.property > other.property),
        ];
        keys.into_iter().filter(|(_, above)| *above).map(|(key, _)| key)
    }
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            shared_data_keys: 10_000,
            shared_data_value: 1 << 20,
            shared_data: 16 << 20,
            queues: 100,
            queue_messages: 1_000,
            queue_bytes: 16 << 20,
            metric_series: 1_000,
            log_lines: 100,
            log_burst: 500,
            log_line: 4 << 10,
            callouts_per_callback: 4,
            callouts_per_stream: 8,
            callouts: 100,
            callout_timeout: Duration::from_secs(5),
            callout_body: 1 << 20,
            timers: 1_000,
            properties: 64,
            property: 4 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    #[test]
    fn a_quota_is_above_another_by_the_keys_that_are_larger() {
        let default = Quota::default();
        let larger = Quota { queues: 101, property: (4 << 10) + 1, timers: 999, ..default };

        assert_eq!(larger.above(&default).collect::<Vec<_>>(), ["queues", "property"]);
        assert_eq!(default.above(&default).count(), 0);
    }

    #[test]
    fn every_key_of_the_language_is_compared() {
        let least = Quota {
            shared_data_keys: 0,
            shared_data_value: 0,
            shared_data: 0,
            queues: 0,
            queue_messages: 0,
            queue_bytes: 0,
            metric_series: 0,
            log_lines: 0,
            log_burst: 0,
            log_line: 0,
            callouts_per_callback: 0,
            callouts_per_stream: 0,
            callouts: 0,
            callout_timeout: Duration::ZERO,
            callout_body: 0,
            timers: 0,
            properties: 0,
            property: 0,
        };

        assert_eq!(Quota::default().above(&least).collect::<Vec<_>>(), file::Quota::KEYS);
    }
}
