//! The modules of a chain, the same files for every proxy that runs them, and what each is told.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::BenchError;
use crate::http;
use crate::target::Chain;

/// One filter.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where its bytes are; absolute.
    pub path: PathBuf,
    /// Its configuration, or nothing.
    pub config: String,
}

/// The filters of a chain in their order, of modules in `built`, or in `folder`, where those of this file are written.
pub fn modules(chain: Chain, built: &Path, folder: &Path) -> Result<Vec<Module>, BenchError> {
    let noop = |count| Ok(vec![Module { path: module(built, "filter_noop.wasm")?, config: String::new() }; count]);
    match chain {
        Chain::None => Ok(Vec::new()),
        Chain::Noops(count) => noop(count),
        Chain::Isolated => noop(1),
        Chain::Headers => {
            let path = module(built, "filter_headers.wasm")?;
            Ok(vec![Module { path, config: http::header_filter() }])
        }
        Chain::Body => Ok(vec![Module { path: rewriting(folder)?, config: String::new() }]),
    }
}

/// The same module with a custom section more, so that its bytes hash to something else.
pub fn distinct(module: &[u8], number: usize) -> Vec<u8> {
    const NAME: &[u8] = b"copy";
    let content = [&[4], NAME, &number.to_le_bytes()].concat();
    let length = u8::try_from(content.len()).unwrap_or_default();
    [module, &[0, length], &content].concat()
}

fn module(folder: &Path, file: &str) -> Result<PathBuf, BenchError> {
    let path = folder.join(file);
    let hint = "make filters";
    path.canonicalize().map_err(|_| BenchError::Missing { path, hint })
}

fn rewriting(folder: &Path) -> Result<PathBuf, BenchError> {
    let path = folder.join("rewrites.wasm");
    let bytes = wat::parse_str(REWRITES).map_err(std::io::Error::other);
    let written = bytes.and_then(|bytes| fs::write(&path, bytes));
    written.and_then(|()| path.canonicalize()).map_err(BenchError::while_doing("writing a module"))
}

/// Keeps the body of an answer until it is whole, changes its case eight bytes at a time, and sets it anew. It is written by
/// hand, so that what is measured is what the host does for it, and not an allocator.
const REWRITES: &str = r#"(module
    (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 40)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_response_body") (param $context i32) (param $size i32) (param $end i32) (result i32)
        (local $at i32) (local $last i32)
        (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
        (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
        (if (call $get (i32.const 1) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)) (then unreachable))
        (local.set $at (i32.load (i32.const 0)))
        (local.set $last (i32.add (local.get $at) (i32.load (i32.const 4))))
        (loop $more
            (i64.store (local.get $at) (i64.xor (i64.load (local.get $at)) (i64.const 0x2020202020202020)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $more (i32.lt_u (local.get $at) (local.get $last))))
        (if (call $set (i32.const 1) (i32.const 0) (local.get $size) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
            (then unreachable))
        (i32.const 0)))"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_of_this_file_is_one() {
        let folder = tempfile::tempdir().unwrap();

        let modules = modules(Chain::Body, Path::new("nowhere"), folder.path()).unwrap();

        assert!(fs::read(&modules[0].path).unwrap().starts_with(b"\0asm"));
    }

    #[test]
    fn a_module_that_was_not_built_is_said_to_be_missing_with_what_builds_it() {
        let error = modules(Chain::Noops(1), Path::new("nowhere"), Path::new("nowhere")).unwrap_err();

        assert_eq!(error.to_string(), "nowhere/filter_noop.wasm is missing; build it first: make filters");
    }
}
