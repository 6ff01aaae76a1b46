//! Guests in a few lines of WAT. One whose hostcall is answered with anything but OK traps, so what was not done is not counted.

use tollgate_abi::{VecHeaderMap, pairs};

use super::HostError;

/// Hostcalls that guests of the set make, with the types of their parameters (`l` is an `i64`). All of them answer a status.
const IMPORTS: [(&str, &str); 22] = [
    ("proxy_log", "iii"),
    ("proxy_get_log_level", "i"),
    ("proxy_get_current_time_nanoseconds", "i"),
    ("proxy_get_property", "iiii"),
    ("proxy_set_property", "iiii"),
    ("proxy_get_buffer_bytes", "iiiii"),
    ("proxy_set_buffer_bytes", "iiiii"),
    ("proxy_get_header_map_pairs", "iii"),
    ("proxy_set_header_map_pairs", "iii"),
    ("proxy_get_header_map_value", "iiiii"),
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_replace_header_map_value", "iiiii"),
    ("proxy_remove_header_map_value", "iii"),
    ("proxy_get_shared_data", "iiiii"),
    ("proxy_set_shared_data", "iiiii"),
    ("proxy_increment_metric", "il"),
    ("proxy_record_metric", "il"),
    ("proxy_get_metric", "ii"),
    ("proxy_http_call", "iiiiiiiiii"),
    ("proxy_register_shared_queue", "iii"),
    ("proxy_enqueue_shared_queue", "iii"),
    ("proxy_dequeue_shared_queue", "iii"),
];

/// Texts that guests point at, each with its place.
const TEXTS: [(u32, &str); 8] = [
    (1024, "user-agent"),
    (1056, "x-made"),
    (1088, "value of a field"),
    (1120, "request\\00path"),
    (1152, "own\\00place"),
    (1184, "a line of 32 bytes for the log.."),
    (1216, "key"),
    (1248, "up"),
];

/// The key of `TEXTS` that shared data is kept under.
pub(super) const KEY: &[u8] = b"key";

/// A guest whose callback for bytes of a request does `turn` as many times as it is told that there are bytes. Answers of the
/// host go to 16 and 20, what it hands over to 65536.
pub(super) fn turning(turn: &str) -> Result<Vec<u8>, HostError> {
    module(&turns(turn))
}

/// The same for messages of a queue, which is registered in the start.
pub(super) fn queueing() -> Result<Vec<u8>, HostError> {
    let register = must("proxy_register_shared_queue", "1216 3 32");
    let turn = "
        (if (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) (i32.const 1088) (i32.const 16))
            (then unreachable))
        (if (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) (i32.const 16) (i32.const 20))
            (then unreachable))";
    module(&format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) {register} (i32.const 1)) {}"#,
        turns(turn)
    ))
}

fn turns(turn: &str) -> String {
    format!(
        r#"(func (export "proxy_on_request_body") (param $context i32) (param $turns i32) (param i32) (result i32)
            (block $end (loop $next
                (br_if $end (i32.eqz (local.get $turns)))
                {turn}
                (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
                (br $next)))
            (i32.const 0))"#
    )
}

/// A guest that takes the body whole, turns every letter into its other case, and gives it back.
pub(super) fn rewriting() -> Result<Vec<u8>, HostError> {
    module(
        r#"(func (export "proxy_on_request_body") (param $context i32) (param $size i32) (param i32) (result i32)
            (local $at i32)
            (if (call $proxy_get_buffer_bytes
                (i32.const 0) (i32.const 0) (local.get $size) (i32.const 16) (i32.const 20)) (then unreachable))
            (loop $next
                (i64.store (i32.add (i32.const 65536) (local.get $at))
                    (i64.xor (i64.load (i32.add (i32.const 65536) (local.get $at))) (i64.const 0x2020202020202020)))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (local.get $size))))
            (if (call $proxy_set_buffer_bytes
                (i32.const 0) (i32.const 0) (local.get $size) (i32.const 65536) (local.get $size)) (then unreachable))
            (i32.const 0))"#,
    )
}

/// A hostcall with these numbers, which traps unless it is answered OK.
pub(super) fn must(hostcall: &str, arguments: &str) -> String {
    let arguments: String = arguments.split_whitespace().map(|number| format!(" (i32.const {number})")).collect();
    format!("(if (call ${hostcall}{arguments}) (then unreachable))\n")
}

/// The fields of a callout's request, and where they are: place and size.
pub(super) fn call() -> (u32, usize) {
    (CALL, call_fields().len())
}

const CALL: u32 = 2048;

fn call_fields() -> Vec<u8> {
    pairs::encode(&VecHeaderMap::new([(":method", "GET"), (":path", "/"), (":authority", "up")]))
}

fn module(body: &str) -> Result<Vec<u8>, HostError> {
    let words: Vec<&str> = body.split_whitespace().collect();
    let called = |(name, _): &&(&str, &str)| words.iter().any(|word| word.strip_prefix('$') == Some(name));
    let imports: String = IMPORTS.iter().filter(called).map(import).collect();
    let texts: String = TEXTS.iter().map(|(place, text)| format!("(data (i32.const {place}) \"{text}\")")).collect();
    let fields: String = call_fields().iter().map(|byte| format!("\\{byte:02x}")).collect();
    Ok(wat::parse_str(format!(
        r#"(module {imports}
            (memory (export "memory") 4)
            {texts} (data (i32.const {CALL}) "{fields}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
            {body})"#
    ))?)
}

fn import((name, parameters): &(&str, &str)) -> String {
    let parameters: String =
        parameters.chars().map(|letter| if letter == 'l' { " (param i64)" } else { " (param i32)" }).collect();
    format!("(import \"env\" \"{name}\" (func ${name}{parameters} (result i32)))\n")
}
