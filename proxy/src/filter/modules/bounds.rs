//! The bounds of plugins, out of what the configuration says of them.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_abi::{
    AbiVersion, CalloutLimits, GuestErrors, Limits, PluginSettings, QueueLimits, SharedData, SharedDataLimits,
};
use tollgate_config as config;

use crate::telemetry::log::LineQuota;

/// What the plugins of each `vm_id` may have, each bound the largest of theirs.
pub(super) fn widest(plugins: &[config::Plugin]) -> HashMap<&str, config::Quota> {
    let mut quotas: HashMap<&str, config::Quota> = HashMap::new();
    for plugin in plugins {
        let widest = quotas.entry(&plugin.vm_id).or_insert(plugin.quota);
        let own = &plugin.quota;
        widest.shared_data_keys = widest.shared_data_keys.max(own.shared_data_keys);
        widest.shared_data_value = widest.shared_data_value.max(own.shared_data_value);
        widest.shared_data = widest.shared_data.max(own.shared_data);
        widest.queues = widest.queues.max(own.queues);
        widest.queue_messages = widest.queue_messages.max(own.queue_messages);
        widest.queue_bytes = widest.queue_bytes.max(own.queue_bytes);
    }
    quotas
}

pub(super) fn wider(one: &SharedDataLimits, other: &SharedDataLimits) -> SharedDataLimits {
    SharedDataLimits {
        keys: one.keys.max(other.keys),
        value: one.value.max(other.value),
        total: one.total.max(other.total),
    }
}

pub(super) fn shared(quota: &config::Quota) -> (SharedDataLimits, QueueLimits) {
    let data = SharedDataLimits {
        keys: quota.shared_data_keys,
        value: size(quota.shared_data_value),
        total: size(quota.shared_data),
    };
    let queues = QueueLimits { queues: quota.queues, messages: quota.queue_messages, bytes: size(quota.queue_bytes) };
    (data, queues)
}

/// What the configuration says of a plugin, with data and queues that nobody shares.
pub fn settings(plugin: &config::Plugin) -> PluginSettings {
    let (data, queue_limits) = shared(&plugin.quota);
    PluginSettings {
        name: plugin.name.clone(),
        root_id: plugin.root_id.clone(),
        vm_id: plugin.vm_id.clone(),
        vm_config: plugin.vm_config.clone(),
        config: plugin.config.clone(),
        env: plugin.env.clone(),
        limits: limits(plugin.budget, &plugin.quota),
        guest_errors: match plugin.guest_errors {
            config::GuestErrors::Lenient => GuestErrors::Lenient,
            config::GuestErrors::Strict => GuestErrors::Strict,
        },
        shared_data: Arc::new(SharedData::new(data)),
        queues: Arc::default(),
        queue_limits,
    }
}

/// The bounds of each VM.
pub fn limits(budget: config::Budget, quota: &config::Quota) -> Limits {
    Limits {
        memory: size(budget.memory),
        callback: budget.time,
        start: budget.start,
        callouts: CalloutLimits {
            per_callback: quota.callouts_per_callback,
            per_stream: quota.callouts_per_stream,
            in_flight: quota.callouts,
            timeout: quota.callout_timeout,
        },
        timers: quota.timers,
        ..Limits::default()
    }
}

/// What its VMs may log.
pub fn lines(quota: &config::Quota) -> LineQuota {
    LineQuota { per_second: quota.log_lines, burst: quota.log_burst, bytes: size(quota.log_line) }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The version that the configuration names.
pub fn abi_version(version: config::AbiVersion) -> AbiVersion {
    match version {
        config::AbiVersion::V0_1_0 => AbiVersion::V0_1_0,
        config::AbiVersion::V0_2_0 => AbiVersion::V0_2_0,
        config::AbiVersion::V0_2_1 => AbiVersion::V0_2_1,
    }
}
