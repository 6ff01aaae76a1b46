//! The floors of this crate, kept by reading its sources: a room names only rooms on its own floor or below.

#![allow(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the ground up; each line is a floor.
const FLOORS: [&[&str]; 7] = [
    &[
        "clock",
        "closing",
        "error",
        "frames",
        "http1",
        "owed",
        "percent",
        "pressure",
        "proxy_protocol",
        "room",
        "telemetry",
        "tls",
    ],
    &["exchange", "route", "upstream"],
    &["filter"],
    &["client", "relay", "snapshot", "toll", "worker"],
    &["serve"],
    &["listener"],
    &["app", "cli", "main", "lib"],
];

fn floor(room: &str) -> usize {
    let found = FLOORS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("room {room:?} has no floor: give it one in tests/layering.rs"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every `crate::room` that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'));
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn a_room_names_only_rooms_on_its_own_floor_or_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);

    let mut wrong = Vec::new();
    for file in &files {
        let inside = file.strip_prefix(&root).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let text = fs::read_to_string(file).unwrap();
        for name in named(&text).filter(|name| !name.is_empty()) {
            if floor(name) > floor(room) {
                wrong.push(format!("{} names {name}", inside.display()));
            }
        }
    }

    assert!(files.len() > 30, "the sources were found");
    assert_eq!(wrong, Vec::<String>::new());
}
