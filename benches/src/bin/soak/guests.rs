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

/// How many functions take longer to compile than a module is given in `faults`; about 8 MB.
const ENDLESS: usize = 8_000;

/// Something that must never serve.
pub(crate) struct Bad {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// The plugin whose successor it is.
    pub(crate) plugin: &'static str,
    /// The step that fails, and the code of the failure.
    pub(crate) told: (&'static str, &'static str),
    /// The module.
    pub(crate) bytes: Vec<u8>,
}

/// Kinds of successors that do not get to serve.
pub(crate) const BAD_KINDS: usize = 8;

/// The successor of one kind, which was not seen before: five of the [`stamper`] with this number, and three of plugins whose
/// file is pinned, has little time to compile, and is tried with a request.
pub(crate) fn bad(kind: usize, number: u64) -> anyhow::Result<Bad> {
    const START: &str = r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32)"#;
    const CONFIGURE: &str = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)"#;
    let stamp = |name, told, bytes| Bad { name, plugin: "stamp", told, bytes };
    Ok(match kind % BAD_KINDS {
        0 => {
            let mut cut = stamper(number, 1)?;
            cut.truncate(cut.len() / 2);
            stamp("cut in half", ("check", "TG0204"), cut)
        }
        1 => {
            let text = r#"(import "env" "proxy_NUMBER" (func)) (func (export "proxy_abi_version_0_2_1"))"#;
            let text = format!("(module {})", text.replace("NUMBER", &number.to_string()));
            stamp("unknown import", ("check", "TG0204"), wat::parse_str(text)?)
        }
        2 => {
            let refuses = module(number, &format!("{CONFIGURE} (i32.const 0))"), 0)?;
            stamp("refuses its configuration", ("configure", "TG0205"), refuses)
        }
        3 => stamp("traps in its start", ("start", "TG0205"), module(number, &format!("{START} unreachable)"), 0)?),
        4 => {
            let loops = module(number, &format!("{START} (loop $l (br $l)) (i32.const 1))"), 0)?;
            stamp("loops in its start", ("start", "TG0205"), loops)
        }
        5 => Bad { name: "wrong digest", plugin: "pinned", told: ("verify", "TG0203"), bytes: stamper(number, 0)? },
        6 => Bad {
            name: "longer to compile than it may",
            plugin: "large",
            told: ("compile", "TG0207"),
            bytes: stamper(number, ENDLESS)?,
        },
        _ => {
            Bad { name: "fails its self-test", plugin: "tested", told: ("selftest", "TG0208"), bytes: denies(number)? }
        }
    })
}

/// Answers every request with 403.
fn denies(number: u64) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(module
        (import "env" "proxy_send_local_response"
            (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "{number}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const -1)))
            (i32.const 1)))"#
    ))?)
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
