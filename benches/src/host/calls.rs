//! One entry of a guest, and hostcalls of each family. A guest makes all turns of a run in one entry, so an entry's own cost
//! is not in what a hostcall costs; its loop is, with less than ten instructions.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_abi::{HttpReply, Instances, PluginSettings, SharedData, SharedDataLimits, VecHeaderMap};

use super::bench::{Open, body, exchange, settings, start};
use super::guests::{self, must};
use super::{HostError, Prepared, Setting, Work, code};

/// Bytes that buffers and shared data hold.
const SIZE: usize = 1024;

pub(super) const ALL: &[Work] = &[
    Work { name: "entry", about: "one callback of a guest that does nothing", make: entry },
    Work {
        name: "log-level",
        about: "the least hostcall: the host writes one number",
        make: |setting| turn(setting, &must("proxy_get_log_level", "16")),
    },
    Work {
        name: "header-get",
        about: "a field's value",
        make: |setting| turn(setting, &must("proxy_get_header_map_value", "0 1024 10 16 20")),
    },
    Work {
        name: "header-add-remove",
        about: "a field added, and removed again",
        make: |setting| {
            let add = must("proxy_add_header_map_value", "0 1056 6 1088 16");
            turn(setting, &(add + &must("proxy_remove_header_map_value", "0 1056 6")))
        },
    },
    Work {
        name: "header-replace",
        about: "the value of a field that is there replaced",
        make: |setting| turn(setting, &must("proxy_replace_header_map_value", "0 1056 6 1088 16")),
    },
    Work {
        name: "header-pairs",
        about: "all six fields of a request",
        make: |setting| turn(setting, &must("proxy_get_header_map_pairs", "0 16 20")),
    },
    Work {
        name: "header-pairs-set",
        about: "all six fields of a request taken and set",
        make: |setting| {
            let set = "(if (call $proxy_set_header_map_pairs
                (i32.const 0) (i32.load (i32.const 16)) (i32.load (i32.const 20))) (then unreachable))";
            turn(setting, &(must("proxy_get_header_map_pairs", "0 16 20") + set))
        },
    },
    Work {
        name: "buffer-get",
        about: "1 KiB of a body",
        make: |setting| turn(setting, &must("proxy_get_buffer_bytes", "0 0 1024 16 20")),
    },
    Work {
        name: "buffer-set",
        about: "a body of 1 KiB replaced",
        make: |setting| turn(setting, &must("proxy_set_buffer_bytes", "0 0 1024 65536 1024")),
    },
    Work {
        name: "property-get",
        about: "the property request.path",
        make: |setting| turn(setting, &must("proxy_get_property", "1120 12 16 20")),
    },
    Work {
        name: "property-set",
        about: "a property of the filter's own set again",
        make: |setting| turn(setting, &must("proxy_set_property", "1152 9 1088 16")),
    },
    Work {
        name: "log",
        about: "a line of 32 bytes, which goes nowhere",
        make: |setting| turn(setting, &must("proxy_log", "2 1184 32")),
    },
    Work {
        name: "time",
        about: "the wall clock",
        make: |setting| turn(setting, &must("proxy_get_current_time_nanoseconds", "16")),
    },
    Work {
        name: "metric-increment",
        about: "one added to a counter",
        make: |setting| {
            turn(setting, "(if (call $proxy_increment_metric (i32.const 0) (i64.const 1)) (then unreachable))")
        },
    },
    Work {
        name: "metric-record",
        about: "a sample of a histogram",
        make: |setting| {
            turn(setting, "(if (call $proxy_record_metric (i32.const 2) (i64.const 9)) (then unreachable))")
        },
    },
    Work {
        name: "metric-get",
        about: "the value of a counter",
        make: |setting| turn(setting, &must("proxy_get_metric", "0 16")),
    },
    Work {
        name: "shared-data-get",
        about: "1 KiB of shared data",
        make: |setting| turn(setting, &must("proxy_get_shared_data", "1216 3 16 20 24")),
    },
    Work {
        name: "shared-data-set",
        about: "1 KiB of shared data set again",
        make: |setting| turn(setting, &must("proxy_set_shared_data", "1216 3 65536 1024 0")),
    },
    Work {
        name: "queue",
        about: "a message put into a queue, and taken out",
        make: |setting| repeat(setting, &guests::queueing()?),
    },
    Work { name: "http-call", about: "a callout begun in one callback, and its answer in another", make: http_call },
];

fn entry(setting: &Setting) -> Result<Prepared, HostError> {
    let mut open = open(setting, &guests::turning("")?)?;
    Prepared::new(move |times| (0..times).try_for_each(|_| open.enter(0)))
}

fn turn(setting: &Setting, turn: &str) -> Result<Prepared, HostError> {
    repeat(setting, &guests::turning(turn)?)
}

fn repeat(setting: &Setting, module: &[u8]) -> Result<Prepared, HostError> {
    let mut open = open(setting, module)?;
    Prepared::new(move |times| open.enter(usize::try_from(times).unwrap_or(usize::MAX)))
}

fn http_call(setting: &Setting) -> Result<Prepared, HostError> {
    let (fields, size) = guests::call();
    let call = must("proxy_http_call", &format!("1248 2 {fields} {size} 0 0 0 0 1000 16"));
    let mut open = open(setting, &guests::turning(&call)?)?;
    Prepared::new(move |times| {
        (0..times).try_for_each(|_| {
            open.enter(1)?;
            let asked = open.vm.host_mut().asked.take();
            let asked = asked.ok_or_else(|| HostError::Unfit("the guest asked for no callout".to_owned()))?;
            let headers = VecHeaderMap::new([(":status", "200")]);
            Ok(open.vm.http_call_ended(asked, Ok(HttpReply { headers, ..HttpReply::default() }))?)
        })
    })
}

/// A VM of this module with a context for an exchange, and a body of 1 KiB in it.
fn open(setting: &Setting, module: &[u8]) -> Result<Open, HostError> {
    let engine = code::engine(setting, Instances::OnDemand)?;
    let module = code::module(&engine, setting, module)?;
    let shared_data = Arc::new(SharedData::new(SharedDataLimits::default()));
    let full = shared_data.set(guests::KEY, &[b'v'; SIZE], 0);
    full.map_err(|error| HostError::Unfit(format!("{error:?}")))?;
    let vm = start(&module, PluginSettings { shared_data, ..settings("") })?;
    let mut stream = exchange()?;
    stream.body = body(&Bytes::from_static(&[b'b'; SIZE]));
    Open::new(vm, stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Folders, Ground};

    #[test]
    fn a_hostcall_that_is_refused_ends_the_work() {
        let code = tempfile::tempdir().unwrap();
        let setting = Setting { folders: Folders::within(code.path()), ground: Ground::Any };
        // There is no header map 9.
        let mut prepared = turn(&setting, &must("proxy_get_header_map_value", "9 1024 10 16 20")).unwrap();

        let refused = prepared.run(1).unwrap_err().to_string();

        assert!(refused.contains("unreachable"), "{refused}");
    }
}
