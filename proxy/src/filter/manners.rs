//! How a plugin's exchanges are treated, as its configuration says: pauses, empty bodies, properties.

use std::time::Duration;

use tollgate_config::{EmptyBody, HeaderPause, Plugin};

use crate::exchange::kept::PropertyQuota;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The longest that the plugin may hold a half of an exchange.
    pub pause_timeout: Duration,
    /// What a pause in a callback for headers holds back.
    pub header_pause: HeaderPause,
    /// Whether a message without a body gets a callback for it.
    pub empty_body: EmptyBody,
    /// What the plugin may set on one exchange.
    pub properties: PropertyQuota,
}

impl Manners {
    /// What the configuration of a plugin says.
    pub fn new(plugin: &Plugin) -> Self {
        let quota = &plugin.quota;
        let bytes = usize::try_from(quota.property).unwrap_or(usize::MAX);
        Self {
            pause_timeout: plugin.pause_timeout,
            header_pause: plugin.header_pause,
            empty_body: plugin.empty_body,
            properties: PropertyQuota { count: quota.properties, bytes },
        }
    }
}
