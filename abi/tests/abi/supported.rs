//! `SUPPORTED.md` has a row for every import and callback, every test it names exists, and none of them can pass without
//! what its row names.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use tollgate_abi::testing::{SABOTAGE, every_import};

/// Tables whose rows name what a host can take away.
const TAKEN_AWAY: [&str; 4] = ["Callbacks", "Hostcalls", "Old imports, toolchains and dialects", "WASI preview 1"];

/// Answers that a stub gives as well, so that nobody can tell it from the real thing.
const LIKE_A_STUB: [&str; 4] = ["answers UNIMPLEMENTED", "answers ENOSYS", "answers nothing", "not called"];

#[derive(Debug)]
struct Row {
    section: String,
    what: String,
    status: String,
    tests: Vec<String>,
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Text between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of every table of five columns.
fn rows(page: &str) -> Vec<Row> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, what, _, status, _, tests, _] = cells[..] else { continue };
        if what == "What" || what.starts_with("--") {
            continue;
        }
        let (what, status) = (what.to_owned(), status.to_owned());
        rows.push(Row { section: section.clone(), what, status, tests: quoted(tests) });
    }
    rows
}

fn all_rows() -> Vec<Row> {
    rows(&read("SUPPORTED.md"))
}

/// Every test of this program, as it lists them itself.
fn known_tests() -> HashSet<String> {
    let listed = this_program().args(["--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn this_program() -> Command {
    let program: PathBuf = std::env::current_exe().unwrap();
    Command::new(program)
}

#[test]
fn every_import_of_the_table_has_its_row() {
    let named: HashSet<String> = all_rows().iter().flat_map(|row| quoted(&row.what)).collect();
    let imports: BTreeSet<String> = every_import().into_iter().map(|(_, name, _)| name).collect();
    assert!(imports.len() > 90, "the table is where the test looks");

    let lacking: Vec<&String> = imports.iter().filter(|name| !named.contains(*name)).collect();

    assert!(lacking.is_empty(), "SUPPORTED.md lacks {lacking:?}");
}

#[test]
fn every_callback_whose_type_is_checked_has_its_row() {
    let rows = all_rows();
    let of_callbacks = rows.iter().filter(|row| row.section == "Callbacks");
    let named: HashSet<String> = of_callbacks.flat_map(|row| quoted(&row.what)).collect();
    let source = read("src/callback.rs");
    let exports: BTreeSet<&str> = source.split('"').skip(1).step_by(2).filter(|name| is_export(name)).collect();
    assert!(exports.len() > 30, "the names are where the test looks");

    let lacking: Vec<&&str> = exports.iter().filter(|name| !named.contains(**name)).collect();

    assert!(lacking.is_empty(), "SUPPORTED.md lacks {lacking:?}");
}

fn is_export(name: &str) -> bool {
    let whole = name.starts_with("proxy_") || name.starts_with("envoy_") || matches!(name, "_start" | "_initialize");
    whole && name != "proxy_on_"
}

#[test]
fn every_row_says_how_far_it_goes() {
    for row in all_rows() {
        let status = row.status.split(": ").next().unwrap();
        assert!(matches!(status, "full" | "differs" | "no"), "{row:?}");
        assert!(status == "full" || row.status.len() > status.len() + 2, "it lacks a reason: {row:?}");
        assert!(!row.tests.is_empty(), "it lacks a test: {row:?}");
    }
}

#[test]
fn every_foreign_function_has_its_row() {
    let named: HashSet<String> = quoted(&read("SUPPORTED.md")).into_iter().collect();
    let source = read("src/foreign.rs");
    let arms = source.lines().filter_map(|line| line.trim_start().strip_prefix("b\""));
    let names: Vec<&str> = arms.filter_map(|arm| arm.split_once("\" =>").map(|(name, _)| name)).collect();

    assert!(names.len() > 15, "the names are where the test looks");
    for name in names {
        assert!(named.contains(name), "SUPPORTED.md lacks {name}");
        assert!(!name.contains('.') || source.contains(&format!("//! | `{name}` |")), "foreign.rs explains no {name}");
    }
}

#[test]
fn every_test_it_names_exists() {
    let page = read("SUPPORTED.md");
    let tests = known_tests();

    let named = quoted(&page).into_iter().filter(|word| is_test(word));
    for name in named {
        match name.strip_prefix("proxy::").and_then(|rest| rest.split_once("::")) {
            Some((file, test)) => {
                let source = read(&format!("../proxy/tests/{file}.rs"));
                assert!(source.contains(&format!("fn {test}(")), "SUPPORTED.md names {name}");
            }
            None => assert!(tests.contains(&name), "SUPPORTED.md names {name}"),
        }
    }
}

/// True for the name of one test; `<file>` stands for many.
fn is_test(word: &str) -> bool {
    word.contains("::") && word.starts_with(char::is_lowercase) && !word.contains('<')
}

/// Every name that can be taken away, with each test of its row.
fn claims() -> Vec<(String, String)> {
    let rows = all_rows();
    let proved = rows.iter().filter(|row| TAKEN_AWAY.contains(&row.section.as_str()));
    let proved = proved.filter(|row| !LIKE_A_STUB.iter().any(|answer| row.status.contains(answer)));
    let pairs = proved.flat_map(|row| {
        let names = quoted(&row.what);
        names.into_iter().flat_map(|name| row.tests.iter().map(move |test| (name.clone(), test.clone())))
    });
    pairs.collect()
}

/// True when the test passes although the name is taken away.
fn survives((name, test): &(String, String)) -> bool {
    let ran = this_program()
        .args(["--exact", test, "--test-threads", "1"])
        .env(SABOTAGE, name)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    ran.success()
}

#[test]
fn each_row_fails_without_what_it_names() {
    let claims = claims();
    assert!(claims.len() > 120, "{} claims", claims.len());
    let control = ("nothing".to_owned(), claims[0].1.clone());
    assert!(survives(&control), "{control:?} fails by itself");
    let survivors = Mutex::new(Vec::new());
    let next = Mutex::new(claims.iter());

    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(claim) = next.lock().unwrap().next() else { break };
                    if survives(claim) {
                        survivors.lock().unwrap().push(claim.clone());
                    }
                }
            });
        }
    });

    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "these pass without what they prove: {survivors:#?}");
}
