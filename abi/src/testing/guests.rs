//! Guests from a few lines of WAT.

use crate::hostcall;
use crate::signature::{Signature, WireType};

/// Bytes of a guest with memory, allocator, the marker of ABI 0.2.1, and `body`, which is WAT.
///
/// Every hostcall or WASI function that `body` calls by its name (`call $proxy_done`) is imported in the first type of
/// the table. Beside them `body` may use `(call $tell (i32))`, which logs a number at trace for `RecordingHost::told`,
/// `(call $show (pointer) (length))`, which logs text at info, and memory from 4096 to 65536. The allocator gives blocks
/// from 65536 on and takes nothing back; memory has 16 pages.
///
/// # Panics
/// When `body` is no WAT.
pub fn guest(body: &str) -> Vec<u8> {
    guest_of("proxy_abi_version_0_2_1", body)
}

/// The same with another marker export.
///
/// # Panics
/// When `body` is no WAT.
pub fn guest_of(marker: &str, body: &str) -> Vec<u8> {
    let imports = imports(body);
    wat(&format!(
        r#"(module
            {imports}
            (memory (export "memory") 16)
            (global $next (mut i32) (i32.const 65536))
            (func (export "{marker}"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get 0))))
            (func $show (param i32 i32)
                (drop (call $proxy_log (i32.const 2) (local.get 0) (local.get 1))))
            (func $tell (param i32)
                (i32.store (i32.const 16) (local.get 0))
                (drop (call $proxy_log (i32.const 0) (i32.const 16) (i32.const 4))))
            {body})"#
    ))
}

/// Every import of the table, in every type: the name of its module, its own, and the type.
pub fn every_import() -> Vec<(&'static str, String, Signature)> {
    hostcall::every_import()
}

/// Bytes of a module written in WAT.
///
/// # Panics
/// When `text` is no WAT.
pub fn wat(text: &str) -> Vec<u8> {
    match wat::parse_str(text) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{error}"),
    }
}

/// Imports for every `call $name` whose name the table knows; `proxy_log` always.
fn imports(body: &str) -> String {
    let called = body.split("call $").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        end.map_or(rest, |end| &rest[..end])
    });
    let mut names: Vec<&str> = called.chain(["proxy_log"]).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().filter_map(|name| import(name)).collect()
}

fn import(name: &str) -> Option<String> {
    ["env", "wasi_snapshot_preview1"].iter().find_map(|module| {
        let signature = hostcall::signatures(module, name).into_iter().next()?;
        let list = |keyword: &str, types: &[WireType]| {
            types.iter().map(|wire| format!("({keyword} {wire})")).collect::<String>()
        };
        let (params, results) = (list("param", &signature.params), list("result", &signature.results));
        Some(format!("(import \"{module}\" \"{name}\" (func ${name} {params} {results}))\n"))
    })
}
