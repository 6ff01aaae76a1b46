//! The modules that are swapped: stampers of any size that put a number on request and answer, and successors that must
//! never serve.

use std::fmt::Write as _;

/// The field that a stamper adds to both heads; its value is the stamper's number.
pub(crate) const STAMP: &str = "x-soak";

/// How many functions fill a module of about 100 KB.
pub(crate) const SDK_SIZE: usize = 100;
/// How many functions fill a module of about 2 MB.
pub(crate) const LARGE: usize = 2_000;

/// Statements of one function that fills; about a kilobyte of code.
const STATEMENTS: u32 = 52;

/// A filter that adds [`STAMP`] with this number to requests and answers, and sees every piece of a body. It carries so
/// many functions that are compiled and never called.
pub(crate) fn stamper(number: u64, functions: usize) -> anyhow::Result<Vec<u8>> {
    module(number, "", functions)
}

/// Successors of [`stamper`] that do not get to serve, with what is wrong with them.
pub(crate) fn bad(number: u64) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut cut = stamper(number, 1)?;
    cut.truncate(cut.len() / 2);
    let refuses = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#;
    let traps = r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) unreachable)"#;
    let loops = r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (loop $l (br $l)) (i32.const 1))"#;
    let unknown = wat::parse_str(format!(
        r#"(module (import "env" "proxy_{number}" (func)) (func (export "proxy_abi_version_0_2_1")))"#
    ))?;
    Ok(vec![
        ("cut in half", cut),
        ("unknown import", unknown),
        ("refuses its configuration", module(number, refuses, 0)?),
        ("traps in its start", module(number, traps, 0)?),
        ("loops in its start", module(number, loops, 0)?),
    ])
}

/// The same module with a custom section more, so that its bytes hash to something else.
pub(crate) fn distinct(module: &[u8], number: u64) -> Vec<u8> {
    const NAME: &[u8] = b"soak";
    let content = [&[4], NAME, &number.to_le_bytes()].concat();
    let length = u8::try_from(content.len()).unwrap_or_default();
    [module, &[0, length], &content].concat()
}

fn module(number: u64, more: &str, functions: usize) -> anyhow::Result<Vec<u8>> {
    let (word, name) = (number.to_string(), STAMP.len());
    let length = word.len();
    let mut text = format!(
        r#"(module
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "{STAMP}")
        (data (i32.const 16) "{word}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 0) (i32.const 0) (i32.const {name}) (i32.const 16) (i32.const {length})))
            (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 0) (i32.const {name}) (i32.const 16) (i32.const {length})))
            (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
        {more}"#
    );
    (0..functions).try_for_each(|place| fill(&mut text, place))?;
    text.push(')');
    Ok(wat::parse_str(&text)?)
}

/// A function of loads, stores, branches and arithmetic, no two alike.
fn fill(text: &mut String, place: usize) -> std::fmt::Result {
    write!(text, "(func (param $a i32) (param $b i32) (result i32)")?;
    for statement in 0..STATEMENTS {
        let constant = place * 977 + usize::try_from(statement).unwrap_or_default() * 131;
        match statement % 3 {
            0 => {
                write!(text, "(local.set $a (i32.xor (i32.mul (local.get $a) (i32.const {constant})) (local.get $b)))")?
            }
            1 => write!(
                text,
                "(if (i32.lt_u (local.get $a) (i32.const {constant})) (then (local.set $b (i32.add (local.get $b) (local.get $a)))))"
            )?,
            _ => write!(
                text,
                "(i32.store offset=64 (i32.and (local.get $b) (i32.const 65535)) (i32.load offset={constant} (i32.and (local.get $a) (i32.const 255))))"
            )?,
        }
    }
    write!(text, "(local.get $a))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_the_sizes_that_the_report_names() {
        let (sdk, large) = (stamper(1, SDK_SIZE).unwrap().len(), stamper(1, LARGE).unwrap().len());

        assert!((80_000..140_000).contains(&sdk), "{sdk}");
        assert!((1_700_000..2_500_000).contains(&large), "{large}");
    }

    #[test]
    fn a_custom_section_more_is_a_module_that_differs() {
        let module = stamper(1, 0).unwrap();

        assert_ne!(distinct(&module, 1), distinct(&module, 2));
        assert!(distinct(&module, 1).starts_with(&module));
    }
}
