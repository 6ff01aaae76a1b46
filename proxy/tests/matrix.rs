//! Every hostcall in every callback, with arguments that are good and that are not: the table below is what a strict filter
//! is answered, wherever it asks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::collections::BTreeMap;

use common::modules::probes_with;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::{log, until};

/// Callbacks of the root context, and those of an exchange, in the order in which they come.
const ROOT: [&str; 5] = ["vm_start", "configure", "tick", "queue_ready", "call_response"];
const STREAM: [&str; 8] = [
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
    "done",
    "log",
];

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const PARSE_FAILURE: u32 = 4;
const MEMORY: u32 = 6;
const CAS_MISMATCH: u32 = 8;

/// Past the end of any memory.
const NOWHERE: &str = "4294967280";

/// What one call answers.
#[derive(Clone, Copy)]
enum Answer {
    Always(u32),
    /// In callbacks of the root, and of an exchange.
    Root(u32, u32),
    /// In these callbacks, and in others.
    In(&'static [&'static str], u32, u32),
}

use Answer::{Always, In, Root};

impl Answer {
    fn of(self, callback: &str) -> u32 {
        match self {
            Always(status) => status,
            Root(root, stream) => {
                if ROOT.contains(&callback) {
                    root
                } else {
                    stream
                }
            }
            In(callbacks, there, elsewhere) => {
                if callbacks.contains(&callback) {
                    there
                } else {
                    elsewhere
                }
            }
        }
    }
}

/// Every hostcall of ABI 0.2.1 with what it answers. `@` stands for a pointer to nowhere.
const CALLS: [(&str, Answer); 83] = [
    ("proxy_log 2 ptr:line", Always(OK)),
    ("proxy_log 9 ptr:line", Always(BAD_ARGUMENT)),
    ("proxy_log 2 @ 40", Always(MEMORY)),
    ("proxy_get_log_level out", Always(OK)),
    ("proxy_get_log_level @", Always(MEMORY)),
    ("proxy_get_current_time_nanoseconds out64", Always(OK)),
    ("proxy_get_current_time_nanoseconds @", Always(MEMORY)),
    ("proxy_set_tick_period_milliseconds 20", Always(OK)),
    ("proxy_set_effective_context 987654321", Always(BAD_ARGUMENT)),
    // In `done` the answer of the callback is still to come, so that the guest may give it before.
    ("proxy_done", In(&["done"], OK, NOT_FOUND)),
    ("proxy_get_status out out-bytes", Always(OK)),
    ("proxy_get_status @ out-bytes", Always(MEMORY)),
    ("proxy_call_foreign_function ptr:tollgate.sha256 ptr:x out-bytes", Always(OK)),
    ("proxy_call_foreign_function ptr:nobody ptr:x out-bytes", Always(NOT_FOUND)),
    ("proxy_call_foreign_function @ 40 ptr:x out-bytes", Always(MEMORY)),
    ("proxy_get_property ptr:plugin_name out-bytes", Always(OK)),
    ("proxy_get_property ptr:request%00path out-bytes", Root(NOT_FOUND, OK)),
    ("proxy_get_property ptr:nothing out-bytes", Always(NOT_FOUND)),
    ("proxy_get_property ptr:plugin_name @ @", Always(MEMORY)),
    ("proxy_set_property ptr:mine ptr:value", Root(NOT_FOUND, OK)),
    ("proxy_set_property @ 40 ptr:value", Always(MEMORY)),
    ("proxy_get_buffer_bytes 7 0 100 out-bytes", Always(OK)),
    ("proxy_get_buffer_bytes 0 0 100 out-bytes", In(&["request_body", "request_trailers"], OK, NOT_FOUND)),
    ("proxy_get_buffer_bytes 1 0 100 out-bytes", In(&["response_body", "response_trailers"], OK, NOT_FOUND)),
    ("proxy_get_buffer_bytes 4 0 100 out-bytes", In(&["call_response"], OK, NOT_FOUND)),
    ("proxy_get_buffer_bytes 5 0 100 out-bytes", Always(NOT_FOUND)),
    ("proxy_get_buffer_bytes 9 0 100 out-bytes", Always(BAD_ARGUMENT)),
    ("proxy_get_buffer_bytes 7 0 100 @ @", Always(MEMORY)),
    ("proxy_get_buffer_status 6 out out", Always(OK)),
    ("proxy_get_buffer_status 9 out out", Always(BAD_ARGUMENT)),
    ("proxy_set_buffer_bytes 7 0 0 ptr:x", Always(BAD_ARGUMENT)),
    ("proxy_set_buffer_bytes 8 0 0 ptr:x", Always(BAD_ARGUMENT)),
    ("proxy_set_buffer_bytes 9 0 0 ptr:x", Always(BAD_ARGUMENT)),
    ("proxy_set_buffer_bytes 0 0 0 @ 40", Always(MEMORY)),
    ("proxy_get_header_map_pairs 0 out-pairs", Always(OK)),
    ("proxy_get_header_map_pairs 9 out-pairs", Always(BAD_ARGUMENT)),
    ("proxy_get_header_map_pairs 0 @ @", Always(MEMORY)),
    ("proxy_set_header_map_pairs 0 ptr:garbage", Always(BAD_ARGUMENT)),
    ("proxy_set_header_map_pairs 6 pairs:a=b", Always(BAD_ARGUMENT)),
    ("proxy_set_header_map_pairs 9 pairs:a=b", Always(BAD_ARGUMENT)),
    ("proxy_get_header_map_value 0 ptr::path out-bytes", Root(NOT_FOUND, OK)),
    ("proxy_get_header_map_value 2 ptr::status out-bytes", In(&AFTER_ANSWER, OK, NOT_FOUND)),
    ("proxy_get_header_map_value 6 ptr::status out-bytes", In(&["call_response"], OK, NOT_FOUND)),
    ("proxy_get_header_map_value 9 ptr:a out-bytes", Always(BAD_ARGUMENT)),
    ("proxy_get_header_map_value 0 @ 40 out-bytes", Always(MEMORY)),
    ("proxy_add_header_map_value 0 ptr:x-m ptr:1", In(&["request_headers"], OK, BAD_ARGUMENT)),
    ("proxy_add_header_map_value 2 ptr:x-m ptr:1", In(&["response_headers"], OK, BAD_ARGUMENT)),
    ("proxy_add_header_map_value 0 ptr:x-m ptr:a%0Ab", Always(BAD_ARGUMENT)),
    ("proxy_add_header_map_value 9 ptr:x-m ptr:1", Always(BAD_ARGUMENT)),
    ("proxy_replace_header_map_value 0 ptr:x-m ptr:2", In(&["request_headers"], OK, BAD_ARGUMENT)),
    ("proxy_replace_header_map_value 0 ptr: ptr:2", Always(BAD_ARGUMENT)),
    ("proxy_replace_header_map_value 9 ptr:x-m ptr:2", Always(BAD_ARGUMENT)),
    ("proxy_remove_header_map_value 0 ptr:x-m", In(&["request_headers"], OK, BAD_ARGUMENT)),
    ("proxy_remove_header_map_value 9 ptr:x-m", Always(BAD_ARGUMENT)),
    ("proxy_get_header_map_size 0 out", Always(OK)),
    ("proxy_get_header_map_size 9 out", Always(BAD_ARGUMENT)),
    ("proxy_continue_stream 0", Root(BAD_ARGUMENT, OK)),
    ("proxy_continue_stream 9", Always(BAD_ARGUMENT)),
    ("proxy_close_stream 9", Always(BAD_ARGUMENT)),
    ("proxy_send_local_response 200 @ 40 ptr:x pairs:a=b -1", Always(MEMORY)),
    ("proxy_http_call ptr:nobody pairs::method=GET,:path=/,:authority=a ptr: ptr: 100 out", Always(BAD_ARGUMENT)),
    ("proxy_http_call ptr:up pairs::method=GET,:path=/ ptr: ptr: 100 out", Always(BAD_ARGUMENT)),
    ("proxy_http_call ptr:up pairs::method=GET,:path=/,:authority=a ptr: ptr: -1 out", Always(BAD_ARGUMENT)),
    ("proxy_http_call ptr:up pairs::method=GET,:path=/,:authority=a ptr: ptr: 100 @", Always(MEMORY)),
    ("proxy_grpc_call ptr:nobody ptr:s ptr:m pairs: ptr:x 100 out", Always(PARSE_FAILURE)),
    ("proxy_grpc_stream ptr:nobody ptr:s ptr:m pairs: out", Always(PARSE_FAILURE)),
    ("proxy_grpc_stream ptr:nobody ptr:s ptr:m pairs: @", Always(MEMORY)),
    ("proxy_grpc_send 4002 ptr:x 0", Always(NOT_FOUND)),
    ("proxy_grpc_send 4000 ptr:x 0", Always(BAD_ARGUMENT)),
    ("proxy_grpc_cancel 4001", Always(NOT_FOUND)),
    ("proxy_grpc_close 4000", Always(BAD_ARGUMENT)),
    ("proxy_register_shared_queue ptr:other out", Always(OK)),
    ("proxy_resolve_shared_queue ptr: ptr:other out", Always(OK)),
    ("proxy_resolve_shared_queue ptr: ptr:nothing out", Always(NOT_FOUND)),
    ("proxy_enqueue_shared_queue 987654 ptr:x", Always(NOT_FOUND)),
    ("proxy_dequeue_shared_queue 987654 out-bytes", Always(NOT_FOUND)),
    ("proxy_set_shared_data ptr:key ptr:value 0", Always(OK)),
    ("proxy_set_shared_data ptr:key ptr:value 987654321", Always(CAS_MISMATCH)),
    ("proxy_get_shared_data ptr:nothing out-bytes out", Always(NOT_FOUND)),
    ("proxy_define_metric 9 ptr:m out", Always(BAD_ARGUMENT)),
    ("proxy_increment_metric 987653 1", Always(NOT_FOUND)),
    ("proxy_record_metric 987653 1", Always(NOT_FOUND)),
    ("proxy_get_metric 987653 out64", Always(NOT_FOUND)),
];

const AFTER_ANSWER: [&str; 5] = ["response_headers", "response_body", "response_trailers", "done", "log"];

fn command(call: &str) -> String {
    format!("raw {}", call.replace('@', NOWHERE))
}

/// How many calls one proxy is asked to make in each callback: of a VM that starts, a hundred lines are kept.
const AT_ONCE: usize = 21;

/// A callback's list: a mark, whatever sets later callbacks off, and the calls.
fn list(callback: &str, calls: &[(&str, Answer)]) -> Vec<String> {
    let first = match callback {
        "configure" => vec!["tick 20", "queue-register jobs", "queue-put jobs x", "call up 2000 / ''"],
        _ => vec![],
    };
    let mark = format!("log info mark:{callback}");
    let calls = calls.iter().map(|(call, _)| command(call));
    first.into_iter().map(str::to_owned).chain([mark]).chain(calls).collect()
}

/// What each call answered in each callback, the first time that it was made there.
fn answered() -> BTreeMap<(String, String), String> {
    let mut callback = String::new();
    let mut answers = BTreeMap::new();
    for line in log::lines_with("") {
        if let Some((_, rest)) = line.split_once("filter: mark:") {
            rest.split([' ', '"']).next().unwrap_or_default().clone_into(&mut callback);
        }
        let Some((_, rest)) = line.split_once("probe: raw ") else { continue };
        let Some((call, answer)) = rest.split_once(" = ") else { continue };
        let answer = answer.split(" filter=").next().unwrap_or_default();
        answers.entry((callback.clone(), call.to_owned())).or_insert_with(|| answer.to_owned());
    }
    answers
}

#[test]
fn every_hostcall_answers_by_the_table_in_every_callback() {
    log::keep();
    let wrong: Vec<String> = CALLS.chunks(AT_ONCE).flat_map(wrong_of).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Makes these calls in every callback, and says what was not answered by the table.
fn wrong_of(calls: &[(&str, Answer)]) -> Vec<String> {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n1\r\nx\r\n0\r\nx-t: 1\r\n\r\n".to_owned(),
    );
    let proxy = proxy(&origin, calls);

    let body = "transfer-encoding: chunked\r\ntrailer: x-t\r\nte: trailers\r\nconnection: te\r\n\r\n1\r\nx\r\n0\r\nx-t: 1\r\n\r\n";
    let answer = proxy.send(format!("POST /path HTTP/1.1\r\nhost: a\r\n{body}"));
    let callbacks: Vec<&str> = ROOT.iter().chain(&STREAM).copied().collect();
    let last = command(calls[calls.len() - 1].0);
    until("every callback came", || {
        let answers = answered();
        callbacks.iter().all(|name| answers.contains_key(&key(name, &last)))
    });

    assert_eq!((answer.status(), answer.text()), (200, "x"));
    assert_eq!(proxy.get("/").status(), 200, "it serves the next one");
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &["filter=\"m\"", "kind=\"trap\""]), 0.0);
    let answers = answered();
    let asked =
        callbacks.iter().flat_map(|name| calls.iter().map(move |(call, expected)| (*name, *call, expected.of(name))));
    asked.filter_map(|(name, call, status)| differs(&answers, name, call, status)).collect()
}

fn proxy(origin: &Origin, calls: &[(&str, Answer)]) -> TestProxy {
    let lists = |names: &[&str]| {
        let lists: BTreeMap<&str, Vec<String>> = names.iter().map(|name| (*name, list(name, calls))).collect();
        serde_json::to_string(&lists).unwrap()
    };
    let (start, rest) = ROOT.split_at(1);
    let settings = format!(
        "vm_config: {}, guest_errors: strict, budget: {{ time: 5s, start: 10s }}, allow: {{ calls: [up] }}, \
         quota: {{ log_lines: 100000, log_burst: 100000 }}",
        lists(start)
    );
    TestProxy::with(&format!(
        "{}clusters: {{ up: {{ hosts: [{:?}] }} }}\nroutes: [{{ to: up, filters: [m] }}]",
        probes_with(&settings, &[("m", &lists(&[rest, &STREAM].concat()))]),
        origin.address().to_string(),
    ))
}

fn key(callback: &str, command: &str) -> (String, String) {
    (callback.to_owned(), command.trim_start_matches("raw ").to_owned())
}

fn differs(answers: &BTreeMap<(String, String), String>, callback: &str, call: &str, status: u32) -> Option<String> {
    let got = answers.get(&key(callback, &command(call))).map_or("nothing", String::as_str);
    let is_right = got.split(' ').next() == Some(&status.to_string());
    (!is_right).then(|| format!("{callback}: {call} answered {got:?}, not {status}"))
}
