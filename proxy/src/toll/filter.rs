//! A filter that is measured: its module, and what a configuration says of it or would by default.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tollgate_abi::{AbiVersion, PluginSettings};
use tollgate_config::{Budget, Isolation, Limits, Plugin, Quota};

use crate::exchange::kept::PropertyQuota;
use crate::filter::digest::Digest;
use crate::filter::manners::Manners;
use crate::filter::modules::bounds;
use crate::telemetry::log::LineQuota;

/// See the module.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(super) name: String,
    pub(super) module: Bytes,
    pub(super) abi: Option<AbiVersion>,
    pub(super) manners: Manners,
    pub(super) isolation: Isolation,
    /// What compiling it may take: time, and bytes of memory.
    pub(super) compiling: (Duration, u64),
    /// Most series of metrics.
    pub(super) metric_series: usize,
    /// What it may log.
    pub(super) lines: LineQuota,
    settings: PluginSettings,
}

impl Filter {
    /// One with this configuration, and everything else as it is where a configuration says nothing.
    pub fn new(name: String, module: Bytes, config: Vec<u8>) -> Self {
        let quota = Quota::default();
        let bounds = bounds::limits(Budget::default(), &quota);
        let settings = PluginSettings {
            name: name.clone(),
            vm_id: name.clone(),
            config,
            limits: bounds,
            ..PluginSettings::default()
        };
        let manners = Manners {
            pause_timeout: Plugin::PAUSE_TIMEOUT,
            header_pause: Default::default(),
            empty_body: Default::default(),
            properties: PropertyQuota { count: quota.properties, bytes: size(quota.property) },
        };
        let limits = Limits::default();
        Self {
            name,
            module,
            abi: None,
            manners,
            isolation: Isolation::default(),
            compiling: (limits.compile_time, limits.compile_memory),
            metric_series: quota.metric_series,
            lines: bounds::lines(&quota),
            settings,
        }
    }

    /// One with everything that a configuration with these limits says of a plugin.
    pub fn of(plugin: &Plugin, module: Bytes, limits: &Limits) -> Self {
        Self {
            name: plugin.name.clone(),
            module,
            abi: plugin.abi.map(bounds::abi_version),
            manners: Manners::new(plugin),
            isolation: plugin.isolation,
            compiling: (limits.compile_time, limits.compile_memory),
            metric_series: plugin.quota.metric_series,
            lines: bounds::lines(&plugin.quota),
            settings: bounds::settings(plugin),
        }
    }

    /// Another module in its place, with nothing of its settings but how exchanges are treated.
    pub(super) fn twin(&self, module: Bytes) -> Self {
        let Self { manners, isolation, compiling, .. } = *self;
        Self { manners, isolation, compiling, ..Self::new("noop".to_owned(), module, Vec::new()) }
    }

    /// What each VM is started with: data and queues that no other VM has.
    pub(super) fn settings(&self) -> Arc<PluginSettings> {
        let own = &self.settings;
        let shared_data = Arc::new(own.shared_data.emptied());
        Arc::new(PluginSettings { shared_data, queues: Arc::default(), ..own.clone() })
    }

    /// What tells its configuration from another.
    pub(super) fn config_digest(&self) -> Digest {
        let PluginSettings { root_id, vm_config, config, env, limits, guest_errors, .. } = &self.settings;
        let Self { manners, abi, isolation, lines, metric_series, .. } = self;
        let rest = format!("{root_id:?} {env:?} {limits:?} {guest_errors:?} {manners:?} {abi:?}");
        let rest = format!("{rest} {isolation:?} {lines:?} {metric_series}");
        Digest::of(&[&rest.into_bytes()[..], vm_config, b"\0", config].concat())
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
