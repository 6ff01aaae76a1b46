//! Requests of HTTP/1.1 that are invalid, or that two readers may read differently: a table of raw bytes, each row with the
//! one rule that it is for and the exact verdict. Behind every row a second request is sent, so that what is smuggled shows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "strictness/row.rs"]
mod row;
#[path = "strictness/scene.rs"]
mod scene;
#[path = "strictness/table.rs"]
mod table;

use std::collections::{HashMap, HashSet};

use row::Setting;
use scene::Scene;

/// Every row of a setting behind one proxy, one after the other.
fn holds(setting: Setting) {
    let scene = Scene::of(setting);
    let rows: Vec<_> = table::rows().into_iter().filter(|row| row.setting == setting).collect();
    assert!(!rows.is_empty());

    let wrong: Vec<String> = rows.iter().filter_map(|row| scene.play(row).err()).collect();

    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn every_row_has_its_verdict() {
    holds(Setting::Default);
}

#[test]
fn every_row_has_its_verdict_where_paths_and_names_are_kept() {
    holds(Setting::Keep);
}

#[test]
fn every_row_has_its_verdict_where_connect_is_allowed() {
    holds(Setting::Tunnels);
}

#[test]
fn every_row_has_its_verdict_when_it_comes_byte_by_byte() {
    let mut wrong = Vec::new();
    for setting in [Setting::Default, Setting::Tunnels] {
        let scene = Scene::of(setting);
        let rows: Vec<_> = table::rows().into_iter().filter(|row| row.setting == setting).collect();
        let short = rows.iter().filter(|row| row.bytes.len() <= 300);
        wrong.extend(short.filter_map(|row| scene.dribble(row).err()));
    }

    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is left of bytes when any word is as good as another, and any number.
fn shape(bytes: &[u8]) -> Vec<u8> {
    let kind = |byte: &u8| match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' => b'a',
        byte => *byte,
    };
    let mut shape: Vec<u8> = bytes.iter().map(kind).collect();
    shape.dedup_by(|one, other| one == other && one.is_ascii_alphanumeric());
    shape
}

/// Whether it names a section of one of the documents, or a weakness by its number.
fn is_cited(cites: &str) -> bool {
    let section =
        ["9110 §", "9112 §", "9113 §", "3986 §"].into_iter().find_map(|document| cites.strip_prefix(document));
    let is_number = |text: &str| !text.is_empty() && text.split('.').all(|part| part.parse::<u16>().is_ok());
    section.or_else(|| cites.strip_prefix("CWE-")).is_some_and(is_number)
}

#[test]
fn the_table_has_two_hundred_rows_and_none_is_there_twice() {
    let rows = table::rows();
    let (mut rules, mut bytes, mut shapes) = (HashMap::new(), HashSet::new(), HashSet::new());

    for row in &rows {
        assert!(
            !row.rule.is_empty() && is_cited(row.cites),
            "{}: {:?} is no section and no weakness",
            row.rule,
            row.cites
        );
        *rules.entry(row.rule).or_insert(0) += 1;
        assert!(bytes.insert((row.setting, row.bytes.clone())), "{}: the same bytes are in another row", row.rule);
        shapes.insert((row.setting, shape(&row.bytes)));
    }

    let twice: Vec<_> = rules.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // A row that differs from another in a word or a number alone is the exception, and not what makes the number.
    assert!(shapes.len() >= 200 && shapes.len() * 4 >= rows.len() * 3, "{} of {}", shapes.len(), rows.len());
}
