//! What configurations come to and what faults say, word by word.
//!
//! Beside every `tests/good/NAME.yaml` is its long form, `NAME.expanded.yaml`; beside every
//! `tests/bad/NAME.yaml` the message it gives, `NAME.txt`. `TOLLGATE_BLESS=1 cargo test -p
//! tollgate-config` writes both anew, to be read in the diff.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The configurations in a folder of `tests`, long forms left out.
fn configurations(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| !path.to_string_lossy().ends_with(".expanded.yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn compare(expected: &Path, found: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(expected, found).unwrap();
    }
    let written = fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(found, written, "\n{} is not what is found", expected.display());
}

#[test]
fn good_configurations_have_their_long_form() {
    for path in configurations("good") {
        let text = fs::read_to_string(&path).unwrap();

        let expanded = tollgate_config::expand(&text, &path).unwrap_or_else(|faults| panic!("{faults}"));

        compare(&path.with_extension("expanded.yaml"), &expanded);
    }
}

#[test]
fn a_long_form_is_its_own_long_form() {
    for path in configurations("good") {
        let text = fs::read_to_string(&path).unwrap();
        let once = tollgate_config::expand(&text, &path).unwrap();

        let twice = tollgate_config::expand(&once, &path).unwrap_or_else(|faults| panic!("{faults}"));

        assert_eq!(once, twice, "{}", path.display());
    }
}

#[test]
fn bad_configurations_get_their_message() {
    for path in configurations("bad") {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap();

        let faults = match tollgate_config::parse(&text, Path::new(name)) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(faults) => faults.to_string(),
        };

        compare(&path.with_extension("txt"), &format!("{faults}\n"));
    }
}

#[test]
fn the_schema_beside_the_sources_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");

    let schema = serde_json::to_string_pretty(&tollgate_config::schema()).unwrap();

    compare(&path, &format!("{schema}\n"));
}

#[test]
fn the_quickstart_is_a_good_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart.yaml");

    let config = tollgate_config::load(&path).unwrap_or_else(|faults| panic!("{faults}"));

    let names: Vec<&str> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(names, ["headers", "api_key", "headers-2"]);
}
