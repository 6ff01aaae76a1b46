//! Crates whose functions may run while instructions are counted: those that are compiled as they are shipped then. What others
//! execute in the profile of tests says little of what they execute for users.

/// Compiled at level 3 and without assertions, by the root's `Cargo.toml` or by `count.toml`.
const SHIPPED: [&str; 12] = [
    "bumpalo",
    "bytes",
    "cranelift_bforest",
    "cranelift_entity",
    "http",
    "rustix",
    "tollgate",
    "tollgate_abi",
    "tollgate_benches",
    "wasmtime",
    "wasmtime_environ",
    "wasmtime_internal_core",
];

/// The standard library, which comes compiled; crates of nothing but generic code, which is compiled with whoever uses it; and
/// the program that counts.
const BESIDE: [&str; 7] = ["__rustc", "alloc", "core", "hashbrown", "host_count", "smallvec", "std"];

/// The crate of a function, by its name as the counter has it, unless it may run. Functions of C and of guests have none.
pub(super) fn stranger(function: &str) -> Option<&str> {
    crate_of(function).filter(|name| !SHIPPED.contains(name) && !BESIDE.contains(name))
}

/// The first of the paths in a name begins with it.
fn crate_of(function: &str) -> Option<&str> {
    let named = |(end, _): (usize, &str)| {
        let before = function.get(..end)?;
        let start = before.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        before.get(start..).filter(|name| !name.is_empty())
    };
    function.match_indices("::").find_map(named)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_function_is_of_the_crate_that_its_first_path_begins_with() {
        let names = [
            ("wasmtime::runtime::Instance::new", Some("wasmtime")),
            ("<(A1,A2) as wasmtime::runtime::WasmParams>::typecheck", Some("wasmtime")),
            ("(12) <bytes::Bytes as core::convert::From<alloc::vec::Vec<u8>>>::from", Some("bytes")),
            ("0x0000000004eb8360", None),
            ("memcpy@GLIBC_2.2.5", None),
        ];

        for (name, expected) in names {
            assert_eq!((name, crate_of(name)), (name, expected));
        }
        assert_eq!(stranger("<regalloc2::Slot as core::fmt::Debug>::fmt"), Some("regalloc2"));
    }

    #[test]
    fn what_may_run_is_compiled_as_it_is_shipped() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| std::fs::read_to_string(here.join(file)).unwrap();
        let profiles = [read("../Cargo.toml"), read("count.toml")].concat();

        for name in SHIPPED {
            let place = profiles.find(&format!("[profile.dev.package.{}]\n", name.replace('_', "-")));
            let profile = place.and_then(|at| profiles[at..].lines().nth(1));

            assert_eq!(profile, Some("opt-level = 3"), "{name}");
        }
    }
}
