//! Modules that differ in one word that their answers carry, and what a swap of them comes to.

/// A filter that says `word` in the field `x-by` of every answer.
pub(crate) fn speaker(word: &str) -> Vec<u8> {
    module(word, "")
}

/// The same with further functions in WAT; `$add` adds a field to a map, and `malloc` allocates.
pub(crate) fn module(word: &str, more: &str) -> Vec<u8> {
    let length = word.len();
    let text = format!(
        r#"(module
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "x-by")
        (data (i32.const 16) "{word}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const {length})))
            (i32.const 0))
        {more})"#
    );
    wat::parse_str(&text).expect("a guest in WAT")
}
