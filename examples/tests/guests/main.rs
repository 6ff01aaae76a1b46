//! The guests of `guests/`: each, built with the tools of its language, does behind a real proxy what its source says.
//!
//! What builds and runs them is `make examples`; without their tools only their configurations are looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod proxy;

use std::fs;
use std::io::{self, Write};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use crate::proxy::Tollgate;

/// One row of the table.
struct Guest {
    /// Its folder and its module.
    name: &'static str,
    language: &'static str,
    /// What its source is written against.
    sdk: &'static str,
    /// Fails unless the guest does what it is there for; called more than once.
    works: fn(&Tollgate),
}

const GUESTS: [Guest; 5] = [
    Guest { name: "rust", language: "Rust", sdk: "proxy-wasm 0.2.5", works: rust },
    Guest { name: "rust_0_1", language: "Rust", sdk: "proxy-wasm 0.1.4", works: rust_0_1 },
    Guest {
        name: "assemblyscript",
        language: "AssemblyScript",
        sdk: "@solo-io/proxy-runtime 0.1.8",
        works: assemblyscript,
    },
    Guest { name: "go", language: "Go", sdk: "raw ABI", works: go },
    Guest { name: "c", language: "C", sdk: "raw ABI", works: c },
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// The module that `guests/build.sh` builds.
fn module(guest: &Guest) -> PathBuf {
    let root = fs::canonicalize(folder().join("../..")).unwrap();
    root.join("target/guests").join(guest.name).with_extension("wasm")
}

fn configuration(guest: &Guest) -> PathBuf {
    folder().join(guest.name).join("tollgate.yaml")
}

fn rust(proxy: &Tollgate) {
    let counted = proxy.metric("tollgate_guest_guest_rust_requests");

    let answer = proxy.get("/", "");

    assert_eq!((answer.status, answer.field("x-guest")), (200, Some("rust")), "{answer:?}");
    assert!(answer.body.contains(r#""x-greeting": "good day""#), "{answer:?}");
    proxy.counts("tollgate_guest_guest_rust_requests", counted + 1.0);
}

fn rust_0_1(proxy: &Tollgate) {
    let named = proxy.get("/", "x-name: Ada\r\n");
    let nameless = proxy.get("/", "");

    assert_eq!((named.status, named.field("x-guest")), (200, Some("rust_0_1")), "{named:?}");
    assert_eq!(named.field("x-greeting"), Some("good day, Ada"), "{named:?}");
    assert_eq!((nameless.status, nameless.field("x-greeting")), (200, None), "{nameless:?}");
}

fn assemblyscript(proxy: &Tollgate) {
    let line = "good day, /some/path";
    let before = proxy.lines_with(line);

    let answer = proxy.get("/some/path", "");

    assert_eq!((answer.status, answer.field("x-guest")), (200, Some("assemblyscript")), "{answer:?}");
    proxy::until("the path is in the log", || proxy.lines_with(line) == before + 1);
}

fn go(proxy: &Tollgate) {
    let hello = proxy.get("/hello", "");
    let other = proxy.get("/other", "");

    assert_eq!((hello.status, hello.field("x-guest")), (200, Some("go")), "{hello:?}");
    assert_eq!(hello.body, "good day\n");
    assert_eq!((other.status, other.field("x-guest")), (200, Some("go")), "{other:?}");
    assert!(other.body.contains(r#""path": "/other""#), "{other:?}");
}

fn c(proxy: &Tollgate) {
    let answer = proxy.get("/some/path", "");

    assert_eq!((answer.status, answer.field("x-guest")), (200, Some("c")), "{answer:?}");
    assert!(answer.body.contains(r#""PATH": "/SOME/PATH""#), "{answer:?}");
    assert!(answer.body.ends_with("}\ngood day"), "{answer:?}");
}

/// Runs the guest behind a proxy of its own and answers with what the table says of it.
fn run(guest: &Guest) -> (String, u64, f64) {
    let proxy = Tollgate::start(&configuration(guest));
    let mut memory = 0.0;
    proxy::until("the worker has taken up its VM", || {
        memory = proxy.metric("tollgate_filter_memory_bytes");
        memory > 0.0
    });

    // The second time in the same VM, after it was told that every exchange of the first is over.
    (guest.works)(&proxy);
    proxy.counts("tollgate_http_requests_total", f64::from(proxy.asked()));
    (guest.works)(&proxy);
    proxy.counts("tollgate_http_requests_total", f64::from(proxy.asked()));

    for trouble in ["failures_total", "refusals_total", "log_lines_dropped_total"] {
        assert_eq!(proxy.metric(&format!("tollgate_filter_{trouble}")), 0.0, "{trouble}\n{}", proxy.log());
    }
    (proxy.label("tollgate_filter_module_info", "abi"), fs::metadata(module(guest)).unwrap().len(), memory)
}

#[test]
#[ignore = "needs modules in four languages: `make examples` fetches their tools, builds and runs them"]
fn every_guest_does_what_its_source_says() {
    let mut out = io::stdout();
    let mut failed = Vec::new();

    // Written past the capture of output: the table is wanted of a good run too.
    writeln!(out, "\n\nguest           language        SDK                           ABI     module bytes  memory after start  result")
        .unwrap();
    for guest in &GUESTS {
        let (abi, bytes, memory, result) = match catch_unwind(|| run(guest)) {
            Ok((abi, bytes, memory)) => (abi, bytes.to_string(), format!("{} KiB", memory / 1024.0), "ok"),
            Err(_) => ("?".into(), "?".into(), "?".into(), "FAILED"),
        };
        let Guest { name, language, sdk, .. } = guest;
        writeln!(out, "{name:<16}{language:<16}{sdk:<30}{abi:<8}{bytes:>12}  {memory:>18}  {result}").unwrap();
        failed.extend((result != "ok").then_some(guest.name));
    }

    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn every_guest_has_a_good_configuration_that_names_its_module() {
    for guest in &GUESTS {
        let config = tollgate_config::load(&configuration(guest)).unwrap_or_else(|faults| panic!("{faults}"));

        let modules: Vec<_> =
            config.plugins.iter().map(|plugin| plugin.module.to_string_lossy().into_owned()).collect();
        assert_eq!(modules.len(), 1, "{modules:?}");
        assert!(modules[0].ends_with(&format!("/../../../target/guests/{}.wasm", guest.name)), "{modules:?}");
        assert_eq!(config.plugins[0].config, b"good day");
    }
}

#[test]
fn every_folder_is_a_guest_that_is_built_run_and_explained() {
    let (build, page) = (include_str!("../../guests/build.sh"), include_str!("../../guests/README.md"));
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let mut folders: Vec<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let mut names = GUESTS.map(|guest| guest.name);

    folders.sort();
    names.sort_unstable();

    assert_eq!(folders, names);
    for name in names {
        assert!(build.contains(&format!("\nbuild_{name}()")), "build.sh does not build {name}");
        assert!(page.contains(&format!("[`{name}`]({name})")), "README.md does not name {name}");
    }
}
