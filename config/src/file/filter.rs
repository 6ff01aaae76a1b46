//! What may be said about a filter: its module, its settings, and what it may spend, reach and keep.
//! What the keys come to is decided in `expand` and `check`.

use std::time::Duration;

use crate::bound::{Count, Size, Wait};
use crate::file::at::At;
use crate::file::data::{Data, Hidden};
use crate::file::read::{Named, mapping};
use crate::filter::{
    AbiVersion, EmptyBody, EnvName, GuestErrors, HeaderPause, Memory, ModulePath, Policy, Sha256, Share,
};
use crate::route::HostMatch;
use crate::scalar::Name;

mapping! {
    /// A module with the settings it runs with.
    Filter, "a filter" {
        /// The path of the module.
        "wasm" => wasm: At<ModulePath>,
        /// What the module's bytes must hash to.
        "sha256" => sha256: Option<At<Sha256>>,
        /// Which root context of the module this is.
        "root_id" => root_id: Option<At<String>>,
        /// Filters of equal `vm_id` share data and queues; the filter's name unless written.
        "vm_id" => vm_id: Option<At<String>>,
        /// What the filter reads as its configuration.
        "config" => config: Option<Data>,
        /// What the filter reads as the configuration of its VM.
        "vm_config" => vm_config: Option<Data>,
        /// The environment the filter sees.
        "env" => env: Option<Named<EnvName, Hidden>>,
        /// What happens to an exchange when the filter cannot do its work.
        "on_error" => on_error: Option<At<Policy>>,
        /// How hostcalls answer arguments that are wrong but harmless.
        "guest_errors" => guest_errors: Option<At<GuestErrors>>,
        /// What the filter may spend.
        "budget" => budget: Option<Budget>,
        /// The version of proxy-wasm of a module that has no marker of its own.
        "abi" => abi: Option<At<AbiVersion>>,
        /// The longest that the filter may hold an exchange paused.
        "pause_timeout" => pause_timeout: Option<At<Duration>>,
        /// What a pause in a callback for headers holds back.
        "header_pause" => header_pause: Option<At<HeaderPause>>,
        /// Whether a message without a body gets a callback for it.
        "empty_body" => empty_body: Option<At<EmptyBody>>,
        /// What the filter may reach; nothing unless written.
        "allow" => allow: Option<Allow>,
        /// How much the filter may keep and ask for.
        "quota" => quota: Option<Quota>,
    }
    later ["secrets", "state", "isolation", "selftest", "config_file", "config_base64"]
}

mapping! {
    /// A named filter, with another configuration where one is written.
    Use, "a use of a filter" {
        /// The name of the filter.
        "use" => name: At<Name>,
        /// The configuration in place of the named one.
        "config" => config: Option<Data>,
    }
    later ["config_file", "config_base64"]
}

mapping! {
    /// What a filter may spend.
    #[derive(Default)]
    Budget, "a budget" {
        /// CPU time of one callback.
        "time" => time: Option<At<Duration>>,
        /// Time to start and configure a VM.
        "start" => start: Option<At<Duration>>,
        /// Memory of one VM.
        "memory" => memory: Option<At<Memory>>,
        /// Whether unused budget is lent.
        "share" => share: Option<At<Share>>,
    }
    later []
}

mapping! {
    /// What a filter may reach; nothing unless written.
    #[derive(Default)]
    Allow, "allow" {
        /// The clusters it may call.
        "calls" => calls: Option<Vec<At<Name>>>,
        /// The hosts it may resolve: a host, or `*.` and a domain.
        "resolve" => resolve: Option<Vec<At<HostMatch>>>,
    }
    later []
}

mapping! {
    /// How much a filter may keep and ask for; a count of 0 means none at all.
    #[derive(Default)]
    Quota, "a quota" {
        /// The most keys of shared data, for each `vm_id`.
        "shared_data_keys" => shared_data_keys: Option<At<Count<0, 1_000_000>>>,
        /// The most bytes of one value of shared data.
        "shared_data_value" => shared_data_value: Option<At<Size<{ 1 << 30 }>>>,
        /// The most bytes of shared data, for each `vm_id`.
        "shared_data" => shared_data: Option<At<Size<{ 1 << 30 }>>>,
        /// The most queues, for each `vm_id`.
        "queues" => queues: Option<At<Count<0, 10_000>>>,
        /// The most messages in one queue.
        "queue_messages" => queue_messages: Option<At<Count<1, 1_000_000>>>,
        /// The most bytes in all queues of one `vm_id`.
        "queue_bytes" => queue_bytes: Option<At<Size<{ 1 << 30 }>>>,
        /// The most series of its metrics.
        "metric_series" => metric_series: Option<At<Count<0, 100_000>>>,
        /// Lines it may log in a second, for each VM.
        "log_lines" => log_lines: Option<At<Count<1, 1_000_000>>>,
        /// Lines it may log at once, for each VM.
        "log_burst" => log_burst: Option<At<Count<1, 1_000_000>>>,
        /// The most bytes of one line.
        "log_line" => log_line: Option<At<Size<{ 64 << 10 }>>>,
        /// The most callouts that one callback may start.
        "callouts_per_callback" => callouts_per_callback: Option<At<Count<0, 1_000>>>,
        /// The most callouts that one exchange may start.
        "callouts_per_stream" => callouts_per_stream: Option<At<Count<0, 1_000>>>,
        /// The most callouts under way, for each VM.
        "callouts" => callouts: Option<At<Count<0, 10_000>>>,
        /// The longest a callout may take, and how long one without a timeout may.
        "callout_timeout" => callout_timeout: Option<At<Wait<300>>>,
        /// The most bytes of the body that answers a callout.
        "callout_body" => callout_body: Option<At<Size<{ 1 << 30 }>>>,
        /// The most one-shot timers pending, for each VM.
        "timers" => timers: Option<At<Count<0, 100_000>>>,
        /// The most properties it may set on one exchange.
        "properties" => properties: Option<At<Count<0, 1_000>>>,
        /// The most bytes of one property that it sets.
        "property" => property: Option<At<Size<{ 1 << 20 }>>>,
    }
    later []
}
