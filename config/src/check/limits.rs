//! Limits merged: what a listener says, else what is said for all, else the default.
//! The defaults themselves are in [`Limits`].

use std::num::NonZeroUsize;

use crate::file::at::At;
use crate::file::{self, ListenerLimits};
use crate::limits::Limits;

/// The limits for all.
pub(super) fn global(said: &file::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        headers: count(&said.headers, default.headers),
        header_bytes: or(&said.header_bytes, default.header_bytes),
        header_timeout: or(&said.header_timeout, default.header_timeout),
        idle_timeout: or(&said.idle_timeout, default.idle_timeout),
        request_timeout: or(&said.request_timeout, default.request_timeout),
        body_rate: said.body_rate.as_ref().map_or(default.body_rate, |rate| rate.value.0),
        body_grace: or(&said.body_grace, default.body_grace),
        stream_idle_timeout: or(&said.stream_idle_timeout, default.stream_idle_timeout),
        write_timeout: or(&said.write_timeout, default.write_timeout),
        drain_timeout: or(&said.drain_timeout, default.drain_timeout),
        connections: count(&said.connections, default.connections),
        connect_timeout: or(&said.connect_timeout, default.connect_timeout),
        pool_timeout: or(&said.pool_timeout, default.pool_timeout),
        upstream_idle_timeout: or(&said.upstream_idle_timeout, default.upstream_idle_timeout),
        upstream_connections: count(&said.upstream_connections, default.upstream_connections),
        pending: count(&said.pending, default.pending),
        streams: said.streams.as_ref().map_or(default.streams, |streams| streams.value.get()),
        buffer: or(&said.buffer, default.buffer),
        retire_timeout: or(&said.retire_timeout, default.retire_timeout),
        upgrade_age: said.upgrade_age.as_ref().map_or(default.upgrade_age, |age| age.value.0),
        memory: or(&said.memory, default.memory),
        compile_time: or(&said.compile_time, default.compile_time),
        compile_memory: said.compile_memory.as_ref().map_or(default.compile_memory, |size| size.value.bytes()),
    }
}

/// The limits of one listener.
pub(super) fn of_listener(said: Option<&ListenerLimits>, global: Limits) -> Limits {
    let Some(said) = said else { return global };
    Limits {
        headers: count(&said.headers, global.headers),
        header_bytes: or(&said.header_bytes, global.header_bytes),
        header_timeout: or(&said.header_timeout, global.header_timeout),
        idle_timeout: or(&said.idle_timeout, global.idle_timeout),
        request_timeout: or(&said.request_timeout, global.request_timeout),
        body_rate: said.body_rate.as_ref().map_or(global.body_rate, |rate| rate.value.0),
        body_grace: or(&said.body_grace, global.body_grace),
        stream_idle_timeout: or(&said.stream_idle_timeout, global.stream_idle_timeout),
        write_timeout: or(&said.write_timeout, global.write_timeout),
        connections: count(&said.connections, global.connections),
        streams: said.streams.as_ref().map_or(global.streams, |streams| streams.value.get()),
        buffer: or(&said.buffer, global.buffer),
        ..global
    }
}

fn or<T: Copy>(said: &Option<At<T>>, default: T) -> T {
    said.as_ref().map_or(default, |said| said.value)
}

fn count(said: &Option<At<NonZeroUsize>>, default: usize) -> usize {
    said.as_ref().map_or(default, |said| said.value.get())
}
