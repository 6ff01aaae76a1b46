//! Quotas from the long form: what is said there, else the default.
//! Every value was found to be within its bounds when it was read.

use crate::bound::Count;
use crate::file;
use crate::file::at::At;
use crate::quota::Quota;

/// The quota of a filter.
pub(super) fn quota(said: Option<&file::Quota>) -> Quota {
    let default = Quota::default();
    let Some(said) = said else { return default };
    let rate = |said: &Option<At<Count<1, 1_000_000>>>, default| {
        said.as_ref().and_then(|said| u32::try_from(said.value.0).ok()).unwrap_or(default)
    };
    Quota {
        shared_data_keys: said.shared_data_keys.as_ref().map_or(default.shared_data_keys, |said| said.value.0),
        shared_data_value: said.shared_data_value.as_ref().map_or(default.shared_data_value, |said| said.value.0),
        shared_data: said.shared_data.as_ref().map_or(default.shared_data, |said| said.value.0),
        queues: said.queues.as_ref().map_or(default.queues, |said| said.value.0),
        queue_messages: said.queue_messages.as_ref().map_or(default.queue_messages, |said| said.value.0),
        queue_bytes: said.queue_bytes.as_ref().map_or(default.queue_bytes, |said| said.value.0),
        metric_series: said.metric_series.as_ref().map_or(default.metric_series, |said| said.value.0),
        log_lines: rate(&said.log_lines, default.log_lines),
        log_burst: rate(&said.log_burst, default.log_burst),
        log_line: said.log_line.as_ref().map_or(default.log_line, |said| said.value.0),
        callouts_per_callback: said
            .callouts_per_callback
            .as_ref()
            .map_or(default.callouts_per_callback, |said| said.value.0),
        callouts_per_stream: said.callouts_per_stream.as_ref().map_or(default.callouts_per_stream, |said| said.value.0),
        callouts: said.callouts.as_ref().map_or(default.callouts, |said| said.value.0),
        callout_timeout: said.callout_timeout.as_ref().map_or(default.callout_timeout, |said| said.value.0),
        callout_body: said.callout_body.as_ref().map_or(default.callout_body, |said| said.value.0),
        timers: said.timers.as_ref().map_or(default.timers, |said| said.value.0),
        properties: said.properties.as_ref().map_or(default.properties, |said| said.value.0),
        property: said.property.as_ref().map_or(default.property, |said| said.value.0),
    }
}
