//! The floors: this crate names no HTTP crate, no runtime and no floor above it, and its files use only what is below them.

use std::fs;
use std::path::{Path, PathBuf};

/// Files from the bottom up. A file may use those before it and, in a group, those beside it.
const FLOORS: [&[&str]; 14] = [
    &["types", "signature", "limits", "sabotage"],
    // A refusal may be that of a callout, whose answers are header maps.
    &["storage", "callout", "callback", "shared_data", "shared_queue", "memory", "deadline", "pages", "page_map"],
    &["host", "pairs", "error", "settings", "fault"],
    &["context", "engine"],
    &["state"],
    &["foreign"],
    &["guest"],
    &["alloc", "row"],
    // The table and WASI know each other: one names the rows, the other the wall clock.
    &["hostcall", "wasi"],
    &["outline", "instrument"],
    &["module"],
    &["artifact"],
    &["vm"],
    &["testing", "lib"],
];

const STRANGERS: [&str; 9] =
    ["tokio", "hyper", "http::", "rustls", "prometheus", "async ", ".await", "tollgate_config", "tollgate::"];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 30, "the sources are where the test looks");
    found
}

/// The name of the file below `src`, or of the folder it is in.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> usize {
    let found = FLOORS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("{room}.rs has no floor: add it to FLOORS"))
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

#[test]
fn no_file_names_a_runtime_an_http_crate_or_a_floor_above() {
    for (path, text) in sources() {
        for line in code(&text) {
            let stranger = STRANGERS.iter().find(|stranger| line.contains(**stranger));
            assert_eq!(stranger, None, "{}: {line}", path.display());
        }
    }
}

#[test]
fn no_file_uses_one_above_it() {
    for (path, text) in sources() {
        let own = room(&path);
        if own == "lib" {
            continue;
        }
        for line in code(&text) {
            for used in line.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if used.is_empty() || !FLOORS.iter().any(|rooms| rooms.contains(&used.as_str())) {
                    continue;
                }
                assert!(floor(&used) <= floor(&own), "{} uses {used}: {line}", path.display());
            }
        }
    }
}

#[test]
fn only_the_engine_crate_and_small_ones_are_dependencies() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();

    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
    let lines = section.lines().filter(|line| !line.is_empty());
    let (optional, always): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.contains("optional = true"));
    let names = |lines: Vec<&str>| lines.into_iter().map(name).collect::<Vec<_>>();

    assert_eq!(names(always), ["getrandom", "rustix", "thiserror", "wasm-encoder", "wasmparser", "wasmtime"]);
    // For the functions of guests, and for tests.
    assert_eq!(names(optional), ["aws-lc-rs", "base64", "flate2", "prost", "serde", "serde_json", "wat"]);
}
