//! Quotas with every key spelled, what was written before the defaults.
//! The defaults themselves are in [`Quota`](crate::quota::Quota).

use crate::bound::{Count, Size, Wait};
use crate::file::Quota;
use crate::quota;
use crate::report::Spot;

use super::or;

/// The quota said, and the defaults for what it leaves out.
pub(super) fn filled(said: Option<Quota>, spot: Spot) -> Quota {
    let said = said.unwrap_or_else(|| Quota { spot, ..Quota::default() });
    let default = quota::Quota::default();
    let count = |lines: u32| usize::try_from(lines).ok().map(Count);
    Quota {
        spot: said.spot,
        shared_data_keys: or(said.shared_data_keys, Count(default.shared_data_keys), spot),
        shared_data_value: or(said.shared_data_value, Size(default.shared_data_value), spot),
        shared_data: or(said.shared_data, Size(default.shared_data), spot),
        queues: or(said.queues, Count(default.queues), spot),
        queue_messages: or(said.queue_messages, Count(default.queue_messages), spot),
        queue_bytes: or(said.queue_bytes, Size(default.queue_bytes), spot),
        metric_series: or(said.metric_series, Count(default.metric_series), spot),
        log_lines: or(said.log_lines, count(default.log_lines), spot),
        log_burst: or(said.log_burst, count(default.log_burst), spot),
        log_line: or(said.log_line, Size(default.log_line), spot),
        callouts_per_callback: or(said.callouts_per_callback, Count(default.callouts_per_callback), spot),
        callouts_per_stream: or(said.callouts_per_stream, Count(default.callouts_per_stream), spot),
        callouts: or(said.callouts, Count(default.callouts), spot),
        callout_timeout: or(said.callout_timeout, Wait(default.callout_timeout), spot),
        callout_body: or(said.callout_body, Size(default.callout_body), spot),
        timers: or(said.timers, Count(default.timers), spot),
        properties: or(said.properties, Count(default.properties), spot),
        property: or(said.property, Size(default.property), spot),
    }
}
