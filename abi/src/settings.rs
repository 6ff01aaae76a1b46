//! What the operator says about one plugin, shared by all of its VMs and never changed.

use std::sync::Arc;

use crate::limits::{Limits, QueueLimits};
use crate::shared_data::SharedData;
use crate::shared_queue::SharedQueues;

/// What a hostcall answers when the host refuses a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuestErrors {
    /// OK without effect, and `Host::refused` tells the embedder. SDKs abort the whole VM on any other answer.
    #[default]
    Lenient,
    /// The error code that the specification names.
    Strict,
}

/// One plugin: a module's configuration and bounds.
#[derive(Clone, Debug, Default)]
pub struct PluginSettings {
    /// Name of the plugin; property `plugin_name`.
    pub name: String,
    /// Which root context of the module to use; property `plugin_root_id`.
    pub root_id: String,
    /// Whose shared data it sees; property `plugin_vm_id`.
    pub vm_id: String,
    /// Buffer 6, and the size that `proxy_on_vm_start` gets.
    pub vm_config: Vec<u8>,
    /// Buffer 7, and the size that `proxy_on_configure` gets.
    pub config: Vec<u8>,
    /// Environment variables that WASI shows; nothing of the host's own environment is.
    pub env: Vec<(String, String)>,
    /// What each VM may use.
    pub limits: Limits,
    /// What refused changes answer.
    pub guest_errors: GuestErrors,
    /// The data of `vm_id`.
    pub shared_data: Arc<SharedData>,
    /// The queues of the process.
    pub queues: Arc<SharedQueues>,
    /// What the queues of `vm_id` may hold.
    pub queue_limits: QueueLimits,
}
