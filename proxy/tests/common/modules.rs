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
