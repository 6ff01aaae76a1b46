//! A filter that is measured: its module, and what a configuration says of it or would by default.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_abi::{AbiVersion, PluginSettings};
use tollgate_config::{Budget, Plugin, Quota};

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
        let limits = bounds::limits(Budget::default(), &quota);
        let settings =
            PluginSettings { name: name.clone(), vm_id: name.clone(), config, limits, ..PluginSettings::default() };
        let manners = Manners {
            pause_timeout: Plugin::PAUSE_TIMEOUT,
            header_pause: Default::default(),
            empty_body: Default::default(),
            properties: PropertyQuota { count: quota.properties, bytes: size(quota.property) },
        };
        Self::made((name, module, None), manners, quota, settings)
    }

    /// One with everything that a configuration says of a plugin.
    pub fn of(plugin: &Plugin, module: Bytes) -> Self {
        let named = (plugin.name.clone(), module, plugin.abi.map(bounds::abi_version));
        Self::made(named, Manners::new(plugin), plugin.quota, bounds::settings(plugin))
    }

    fn made(
        (name, module, abi): (String, Bytes, Option<AbiVersion>),
        manners: Manners,
        quota: Quota,
        settings: PluginSettings,
    ) -> Self {
        Self { name, module, abi, manners, metric_series: quota.metric_series, lines: bounds::lines(&quota), settings }
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
        let rest = format!("{root_id:?} {env:?} {limits:?} {guest_errors:?} {:?} {:?}", self.manners, self.abi);
        Digest::of(&[&rest.into_bytes()[..], vm_config, b"\0", config].concat())
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
