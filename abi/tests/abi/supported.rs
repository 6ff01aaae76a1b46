//! `SUPPORTED.md` names every import of the table, and every test it names exists.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Text between backticks.
fn quoted(text: &str) -> HashSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Names of the rows in a table, as the source writes them.
fn rows(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let row = line.trim_start();
        let name = row.strip_prefix("open ").or_else(|| row.strip_prefix("closed "))?;
        name.split_once('(').map(|(name, _)| name)
    })
}

#[test]
fn every_import_of_the_table_has_its_row() {
    let page = read("SUPPORTED.md");
    let named = quoted(&page);

    let sources = [read("src/hostcall.rs"), read("src/wasi.rs")];
    let rows: Vec<&str> = sources.iter().flat_map(|source| rows(source)).collect();

    assert!(rows.len() > 90, "the rows are where the test looks");
    for row in rows {
        assert!(named.contains(row), "SUPPORTED.md lacks {row}");
    }
}

#[test]
fn every_test_it_names_exists() {
    let page = read("SUPPORTED.md");
    let files = ["arguments", "contexts", "lifecycle", "limits", "loading", "poison", "wasi"];
    let calls = ["basics", "buffers", "headers", "metrics", "properties", "shared_data", "streams", "unserved"];
    let calls = calls.map(|file| ("hostcalls", format!("hostcalls/{file}")));
    let mut tests = HashSet::new();
    for (file, path) in files.map(|file| (file, file.to_owned())).into_iter().chain(calls) {
        let source = read(&format!("tests/abi/{path}.rs"));
        let names = source.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split_once('('));
        for (name, _) in names {
            tests.insert(format!("{file}::{name}"));
            tests.insert(name.to_owned());
        }
    }

    let words = quoted(&page);
    let named = words.iter().filter(|word| word.contains("::") && word.starts_with(char::is_lowercase));
    for test in named {
        assert!(tests.contains(*test), "SUPPORTED.md names {test}");
    }
    let (tables, _) = page.split_once("## Where Envoy").unwrap();
    for line in tables.lines().filter(|line| line.starts_with("| `")) {
        let proof = line.trim_end_matches(" |").rsplit('`').nth(1).unwrap();
        assert!(tests.contains(proof), "no test at the end of {line}");
    }
}
