//! What may be said about a filter: its module, its settings, and what it may spend, reach and keep.
//! What the keys come to is decided in `expand` and `check`.

use std::time::Duration;

use crate::bound::{Count, Size, Wait};
use crate::file::at::At;
use crate::file::choice::{Module, OnError};
use crate::file::data::{Data, Hidden};
use crate::file::read::{Named, mapping};
use crate::file::rule;
use crate::filter::{
    AbiVersion, Authority, Destination, EmptyBody, EnvName, EnvValue, FieldValue, GuestErrors, HeaderPause, Isolation,
    Keeping, Memory, ModuleRef, Policy, Recycle, Sha256, Share,
};
use crate::ratio::{Part, Ratio};
use crate::route::{HeaderName, HostMatch, Method};
use crate::scalar::Name;

mapping! {
    /// A module with the settings it runs with.
    Filter, "a filter" {
        /// The path of the module, perhaps with `@sha256:` and its hash; or, as a mapping, how its successor is tried.
        "wasm" => wasm: Module,
        /// What the module's bytes must hash to, where its path does not say it.
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
        "env" => env: Option<Named<EnvName, Hidden<EnvValue>>>,
        /// What becomes of shared data, queues and metrics of the `vm_id` when the filter is replaced.
        "state" => state: Option<At<Keeping>>,
        /// Which exchanges share a VM: those of one worker, or none.
        "isolation" => isolation: Option<At<Isolation>>,
        /// What a new module or configuration has to pass before it serves.
        "selftest" => selftest: Option<Vec<SelfTest>>,
        /// What happens to an exchange when the filter cannot do its work; or, as a mapping, by what went wrong.
        "on_error" => on_error: Option<OnError>,
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
    later ["secrets", "config_file", "config_base64"]
}

mapping! {
    /// A module, and how its successor is tried.
    Wasm, "wasm" {
        /// The path of the module.
        "stable" => stable: At<ModuleRef>,
        /// The path of the module that is tried.
        "canary" => canary: Option<At<ModuleRef>>,
        /// The share of the exchanges that the module on trial gets.
        "share" => share: Option<At<Part>>,
        /// After how long it takes over; only when told to unless written.
        "promote_after" => promote_after: Option<At<Duration>>,
        /// What makes it go; only being told to unless written.
        "rollback_on" => rollback_on: Option<Rollback>,
    }
    later []
}

mapping! {
    /// What makes a module on trial go.
    Rollback, "rollback_on" {
        /// The share of failed exchanges above which it goes.
        "failures" => failures: At<Ratio>,
    }
    later []
}

mapping! {
    /// Policies by what went wrong.
    Policies, "on_error" {
        /// The filter cannot be loaded; unless written, the proxy does not start with it.
        "load" => load: Option<At<Policy>>,
        /// A call failed in any other way, or there is no VM.
        "trap" => trap: Option<At<Policy>>,
        /// A call or a pause took too long.
        "deadline" => deadline: Option<At<Policy>>,
        /// A call needed more memory than it may have.
        "memory" => memory: Option<At<Policy>>,
    }
    later []
}

mapping! {
    /// A request that a filter is given before it serves, and what has to come of it.
    SelfTest, "a self-test" {
        /// The request.
        "request" => request: Option<Request>,
        /// What has to come of it.
        "expect" => expect: Expect,
    }
    later []
}

mapping! {
    /// A request that no client sent.
    Request, "the request of a self-test" {
        /// The method; `GET` unless written.
        "method" => method: Option<At<Method>>,
        /// The host, perhaps with a port; `selftest.invalid` unless written.
        "host" => host: Option<At<Authority>>,
        /// The path, perhaps with a query; `/` unless written.
        "path" => path: Option<At<Destination>>,
        /// Headers with their values.
        "headers" => headers: Option<Named<HeaderName, At<FieldValue>>>,
        /// The body.
        "body" => body: Option<At<String>>,
    }
    later []
}

mapping! {
    /// What has to come of a request.
    #[schemars(extend("anyOf" = [
        { "required": ["status"] }, { "required": ["headers"] }, { "required": ["upstream_headers"] },
    ]))]
    Expect, "an expectation" {
        /// The status of the answer.
        "status" => status: Option<At<Count<200, 599>>>,
        /// Headers that the answer must have.
        "headers" => headers: Option<Named<HeaderName, At<FieldValue>>>,
        /// Headers that the request must have as the upstream would get it.
        "upstream_headers" => upstream_headers: Option<Named<HeaderName, At<FieldValue>>>,
    }
    later []
    rule rule::of_expectation
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
        /// The share of a worker that its calls may take in the long run, or `off`.
        "share" => share: Option<At<Share>>,
        /// The memory above which a VM is replaced between two exchanges, as a size or a share of `memory`, or `off`.
        "recycle" => recycle: Option<At<Recycle>>,
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
