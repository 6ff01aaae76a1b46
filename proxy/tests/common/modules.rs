//! The modules that tests load: the filters of this repository, and guests written on the spot.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tollgate::app::reload::Order;

/// The path of a built filter, such as `probe`.
pub(crate) fn filter(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm32-wasip1/filter");
    let path = PathBuf::from(folder).join(format!("filter_{name}.wasm"));
    assert!(path.exists(), "{} is missing: `make filters` builds it", path.display());
    path.display().to_string()
}

/// A module in a folder of its own, which goes with it.
pub(crate) struct Guest {
    folder: TempDir,
}

impl Guest {
    /// A module from text.
    pub(crate) fn from_wat(wat: &str) -> Guest {
        Guest::from_bytes(&wat::parse_str(wat).expect("a guest in WAT"))
    }

    /// One that answers in the request's place with this status, in this phase.
    pub(crate) fn answering(phase: &str, status: u16) -> Guest {
        Guest::from_wat(&format!(
            r#"(module
            (import "env" "proxy_send_local_response"
                (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "{phase}") (param i32 i32 i32) (result i32)
                (drop (call $respond (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1)))"#
        ))
    }

    /// One that sets a field or a pseudo-header field of this map, in this phase. A name has 16 bytes at most.
    pub(crate) fn setting(phase: &str, map: u32, name: &str, value: &str) -> Guest {
        let (long, longer) = (name.len(), value.len());
        Guest::from_wat(&format!(
            r#"(module
            (import "env" "proxy_replace_header_map_value" (func $put (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{name}")
            (data (i32.const 16) "{value}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "{phase}") (param i32 i32 i32) (result i32)
                (drop (call $put (i32.const {map}) (i32.const 0) (i32.const {long}) (i32.const 16) (i32.const {longer})))
                (i32.const 0)))"#
        ))
    }

    /// A file with these bytes, module or not.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Guest {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("guest.wasm"), bytes).unwrap();
        Guest { folder }
    }

    /// Puts other bytes in its place, as a deployment does: whole, by a rename.
    pub(crate) fn replace(&self, bytes: &[u8]) {
        let fresh = self.folder.path().join("fresh.wasm");
        std::fs::write(&fresh, bytes).unwrap();
        std::fs::rename(&fresh, self.path()).unwrap();
    }

    /// Has a proxy look at it, as if it had been told of a change.
    pub(crate) fn look(&self) -> Order {
        Order::Look(vec![self.path().into()])
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `filters` of a configuration: it alone, as `f`, which may not fail and is swapped when told to.
    pub(crate) fn as_f(&self) -> String {
        format!("watch: off\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}", self.path())
    }

    /// As a configuration names it.
    pub(crate) fn path(&self) -> String {
        self.folder.path().join("guest.wasm").display().to_string()
    }
}

/// A small module whose one function the compiler works on for minutes.
pub(crate) fn endless_to_compile() -> Vec<u8> {
    let (nested, ends) = ("loop local.get 0 br_if 0 ".repeat(20_000), "end ".repeat(20_000));
    crate::common::swaps::module("endless", &format!("(func (param i32) {nested} {ends})"))
}

/// The `filters` of a configuration: one probe of each name, commanded by its JSON.
///
/// Their time is generous: what a slow machine makes of a budget is not asked here.
pub(crate) fn probes(list: &[(&str, &str)]) -> String {
    probes_with("budget: { time: 1s }", list)
}

/// Probes with further settings in common, in YAML's flow style.
pub(crate) fn probes_with(settings: &str, list: &[(&str, &str)]) -> String {
    let module = filter("probe");
    let one =
        |(name, config): &(&str, &str)| format!("  {name}: {{ wasm: {module:?}, config: {config}, {settings} }}\n");
    format!("filters:\n{}", list.iter().map(one).collect::<String>())
}
