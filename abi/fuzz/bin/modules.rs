#![no_main]
//! See `targets::modules`. Inputs that are no module themselves become a valid one: with the exports of a filter, imports
//! that the host offers, and bodies out of the input. `KEEP=folder` writes those that this run made, as text.
#![allow(dead_code, reason = "each binary runs one target of the file they share")]

#[path = "../targets.rs"]
mod targets;

use tollgate_abi::testing::puppet;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match smith(input).filter(|_| !input.starts_with(b"\0asm")) {
        Some(module) => targets::modules(&module),
        None => targets::modules(input),
    }
});

fn smith(input: &[u8]) -> Option<Vec<u8>> {
    let config = wasm_smith::Config {
        available_imports: Some(puppet::module()),
        exports: Some(puppet::module()),
        max_imports: 20,
        min_imports: 0,
        allow_start_export: true,
        threads_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        max_memories: 1,
        max_tables: 1,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        extended_const_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut bytes = arbitrary::Unstructured::new(input);
    let module = wasm_smith::Module::new(config, &mut bytes).ok()?.to_bytes();
    keep(input, &module);
    Some(module)
}

/// The text of a module serves where this crate's generator is not at hand: the replay of the corpus.
fn keep(input: &[u8], module: &[u8]) {
    let Ok(folder) = std::env::var("KEEP") else { return };
    let Ok(text) = wasmprinter::print_bytes(module) else { return };
    let name = input.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let _ = std::fs::write(format!("{folder}/{name:016x}.wat"), text);
}
