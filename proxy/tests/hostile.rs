//! The hostile corpus: modules of our own that do their worst, each in the built binary, and what each of them comes to.
//!
//! Every one is contained: the request that met it is answered as the table says, the next one to the same filter is served,
//! a neighbour on the same worker gets its answers all the while, no byte that a filter may not send reaches client or
//! origin, memory stays within bounds, and SIGTERM ends the process. Times are printed and not judged: `make hostile` shows
//! them, of a release build.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "hostile/exchange.rs"]
mod exchange;
#[path = "hostile/house.rs"]
mod house;
#[path = "hostile/load.rs"]
mod load;
#[path = "hostile/modules.rs"]
mod modules;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/row.rs"]
mod row;
#[path = "hostile/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use exchange::{Waits, connect, play};
use house::{House, MODES};
use row::{End, Row};
use table::ROWS;

fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().copied().flatten()
}

/// The rows of a group that are loaded.
fn loaded(group: &str) -> Vec<&'static Row> {
    rows().filter(|row| row.group() == group && !matches!(row.end, End::Refused(..))).collect()
}

/// Plays every row of a group; reports all that are not contained.
fn contained(group: &str) {
    let rows = loaded(group);
    let (alone, together): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.alone);
    let mut houses: Vec<Vec<&Row>> = alone.into_iter().map(|row| vec![row]).collect();
    houses.extend((!together.is_empty()).then_some(together));
    let (mut waits, mut faults) = (Vec::new(), Vec::new());
    for rows in houses {
        let house = House::of(&rows);
        for (row, mode) in rows.iter().flat_map(|row| MODES.map(|mode| (row, mode))) {
            match play(&house, row, mode) {
                Ok(of_row) => waits.push((format!("{} ({mode})", row.name), of_row)),
                Err(why) => faults.push(why),
            }
        }
        faults.extend(end(house, &rows));
    }
    report(group, rows.len(), &waits);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Shows how long others waited, and for whom the longest.
fn report(group: &str, modules: usize, waits: &[(String, Waits)]) {
    let growth = waits.iter().map(|(_, waits)| waits.growth).max().unwrap_or_default();
    eprintln!("{group}: {modules} modules; memory grew by {growth} KiB at most");
    eprintln!("  a neighbour waited {}", longest(waits, |waits| waits.neighbour));
    eprintln!("  the next good answer came after {}", longest(waits, |waits| waits.next));
}

/// The wait in the middle, and the three longest with whose they are.
fn longest(waits: &[(String, Waits)], wait: impl Fn(&Waits) -> Duration) -> String {
    let mut rows: Vec<_> = waits.iter().map(|(name, waits)| (wait(waits), name)).collect();
    rows.sort_unstable_by(|one, other| other.cmp(one));
    let middle = rows.get(rows.len() / 2).map(|(wait, _)| *wait).unwrap_or_default();
    let worst = rows.iter().take(3).map(|(wait, name)| format!("{wait:.1?} {name}")).collect::<Vec<_>>();
    format!("{middle:.1?} in the middle, at most {}", worst.join(", "))
}

/// Ends a house while hostile requests are under way, and says what is wrong with what it leaves.
fn end(house: House, rows: &[&Row]) -> Vec<String> {
    let targets: Vec<String> = rows.iter().map(|row| format!("/{}", row.stem())).collect();
    let mut faults = forged(&house, &targets);
    let request = format!("GET {} HTTP/1.1\r\nhost: hostile\r\nx-evil:\r\n\r\n", targets[0]);
    // They are answered or cut, which nobody looks at: they are there so that the end comes in the midst of something.
    let under_way: Vec<_> = (0..20).filter_map(|_| connect(house.address("strict")).ok()).collect();
    let sent = under_way.iter().filter(|stream| (&mut &**stream).write_all(request.as_bytes()).is_ok()).count();
    faults.extend((sent < 20).then(|| format!("{sent} of 20 connections were taken")));

    let (status, took, errors, output) = house.end();

    eprintln!("{}: SIGTERM to end {took:?}", rows[0].group());
    faults.extend((status.code() != Some(0)).then(|| format!("SIGTERM ended in {status}")));
    faults.extend(errors.iter().filter(|line| is_bad(line)).map(|line| format!("the log has {line:?}")));
    let unread = output.iter().find(|line| serde_json::from_str::<serde_json::Value>(line).is_err());
    faults.extend(unread.map(|line| format!("the access log has {line:?}")));
    faults
}

/// Whatever the origins and the metrics have that no filter may send.
fn forged(house: &House, targets: &[String]) -> Vec<String> {
    let mut faults: Vec<String> = house.origin.faults(targets);
    faults.iter_mut().for_each(|fault| fault.insert_str(0, "the origin got "));
    let silent = house.origin.never_heard(b"forged") && house.idp.never_heard(b"forged");
    let told = house.grpc.lock().unwrap().concat();
    faults.extend((!silent || told.contains("forged")).then(|| "an origin got forged bytes".to_owned()));
    let page = house.metrics();
    faults.extend(page.lines().find(|line| line.starts_with("forged")).map(|line| format!("a metric {line}")));
    faults
}

/// True for a line that a filter forged, that steers a terminal, or that tells of a panic of ours.
fn is_bad(line: &str) -> bool {
    line.starts_with("forged") || line.contains(['\u{1b}', '\u{7}']) || line.contains("panicked")
}

/// One test for each group, so that they run side by side.
macro_rules! groups {
    ($($name:ident = $group:literal),* $(,)?) => {
        const GROUPS: &[&str] = &[$($group),*];
        $(
            #[test]
            fn $name() {
                contained($group);
            }
        )*
    };
}

groups! {
    what_burns_time_is_ended = "cpu",
    what_takes_memory_gets_its_share = "memory",
    what_exhausts_its_stack_ends_alone = "stack",
    a_trap_ends_its_exchange_alone = "traps",
    a_module_that_exits_ends_alone = "exit",
    bad_arguments_are_answered = "arguments",
    a_request_is_not_forged = "request",
    an_answer_is_not_forged = "response",
    an_exchange_goes_on_or_ends = "flow",
    shared_state_stays_within_its_quotas = "shared",
    callouts_go_where_they_may = "callouts",
    grpc_callouts_go_where_they_may = "grpc",
    the_neighbours_of_a_chain_are_left_alone = "chains",
    connections_without_http_end_or_go_on = "tcp",
}

/// Modules that are never loaded, each with its code and words.
fn unloadable() -> Vec<(&'static Row, &'static str, &'static [&'static str])> {
    let refused = |row: &'static Row| match row.end {
        End::Refused(code, says) => Some((row, code, says)),
        _ => None,
    };
    rows().filter_map(refused).collect()
}

#[test]
fn what_must_not_load_is_refused_in_words_that_fit() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), unloadable());
    let names: Vec<&str> = rows.iter().map(|(row, ..)| row.name).collect();
    let file = load::configuration(folder.path(), &names);

    for arguments in [&["check"][..], &["run", "--config"]] {
        let outcome = load::run(arguments, &file);

        let faults = load::faults(&outcome.errors);
        let bad: Vec<String> =
            rows.iter().filter_map(|(row, code, says)| load::judge(row, code, says, &faults)).collect();
        assert!(bad.is_empty(), "{arguments:?}: {} faults:\n{}", bad.len(), bad.join("\n"));
        assert_eq!((outcome.code, faults.len()), (Some(1), rows.len()), "{}", outcome.errors);
    }
}

/// One at a time: an honest module, and each that is a bomb for whoever looks at it.
#[test]
fn a_module_that_must_not_load_takes_little_to_refuse() {
    let check = |name: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = load::configuration(folder.path(), &[name]);
        let size = folder.path().join(load::plugin(name)).with_extension("wasm").metadata().unwrap().len();
        (load::run(&["check"], &file), size >> 10)
    };
    let (honest, _) = check("honest");
    assert_eq!(honest.code, Some(0), "{}", honest.errors);
    let bombs: Vec<&str> =
        unloadable().iter().map(|(row, ..)| row.name).filter(|name| name.starts_with("mem")).collect();

    for name in bombs {
        let (outcome, size) = check(name);

        assert_eq!(outcome.code, Some(1), "{name}: {}", outcome.errors);
        let growth = outcome.memory.saturating_sub(honest.memory);
        eprintln!("{name}: {growth} KiB more than an honest module");
        assert!(growth <= size + ((4 + 16) << 10), "{name} takes {growth} KiB more than an honest module");
    }
}

#[test]
fn every_module_is_in_the_table_once_and_every_row_is_played() {
    let names: Vec<&str> = rows().map(|row| row.name).collect();
    let unique: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made: BTreeSet<String> = unique.iter().filter(|name| name.contains("/raw-")).cloned().collect();

    assert_eq!(names.len(), unique.len(), "a module is in the table twice");
    assert_eq!(&unique - &made, modules::files());
    assert!(unique.len() >= 300, "{} modules", unique.len());
    let played: BTreeSet<&str> = rows().filter(|row| !matches!(row.end, End::Refused(..))).map(Row::group).collect();
    assert_eq!(played, GROUPS.iter().copied().collect());
}
