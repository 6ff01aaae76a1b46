//! How many instructions a target executes in user space for one request, as callgrind of valgrind(1) counts them: it runs
//! twice, for so many requests and for twice as many, and the difference is told. That does not depend on how busy the machine
//! is, and hardly on which it is.
//!
//! Of proxies without filters: a module is compiled by a process of its own, which the tool cannot start, and in the proxy's stead
//! `make count` counts what filters take.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::field::Field;
use crate::load::{Ask, Load};
use crate::results::Counted;
use crate::rounds;
use crate::target::{Door, Plan};

/// Connections; each asks once before any asks again.
const CONNECTIONS: usize = 32;
/// How often each asks in the shorter run.
const TURNS: usize = 32;

/// Counts a target. Where there is no such program, that is said; what it begins and does not end well is an error.
pub fn count(field: &Field, valgrind: &Path, plan: &Plan) -> Result<Counted, BenchError> {
    let target = plan.name.clone();
    if !runs(valgrind) {
        let why = format!("no program {} here (Debian has it in valgrind)", valgrind.display());
        return Ok(Counted { target, each: None, why: Some(why) });
    }
    let (some, twice) = (total(field, valgrind, plan, TURNS)?, total(field, valgrind, plan, 2 * TURNS)?);
    let each = some.and_then(|some| each(some, twice?));
    let each = each.map_err(|why| BenchError::Uncounted { target: target.clone(), why })?;
    Ok(Counted { target, each: Some(each), why: None })
}

/// Of one request, where the longer run had twice as many.
fn each(some: u64, twice: u64) -> Result<f64, String> {
    let more = twice.checked_sub(some).filter(|more| *more > 0);
    let more = more.ok_or_else(|| format!("twice the requests took {twice} instructions, and half as many {some}"));
    more.map(|more| more as f64 / (TURNS * CONNECTIONS) as f64)
}

fn runs(valgrind: &Path) -> bool {
    let mut command = Command::new(valgrind);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Instructions of a whole run, the start and the end included.
fn total(field: &Field, valgrind: &Path, plan: &Plan, turns: usize) -> Result<Result<u64, String>, BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::while_doing("making a folder"))?;
    // A peer may give up what it may before it writes there.
    let open = fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777));
    open.map_err(BenchError::while_doing("opening a folder"))?;
    let under = [
        valgrind.display().to_string(),
        "--tool=callgrind".to_owned(),
        // A peer may be a script that becomes the program.
        "--trace-children=yes".to_owned(),
        format!("--callgrind-out-file={}/%p", folder.path().display()),
    ];
    let setting = field.setting(Door::Plain, CONNECTIONS);
    let mut target = field.start_under(plan.clone(), &setting, &under)?;
    let driving = || BenchError::while_doing("driving a target");
    let mut load = Load::open(&Ask::new(plan.address, CONNECTIONS)).map_err(driving())?;
    for _ in 0..turns {
        let tally = load.ask_each().map_err(driving())?;
        rounds::accept(&mut target, &[tally])?;
    }
    drop(load);
    drop(target);
    Ok(sum(folder.path()))
}

/// Of all processes; each leaves a file when it ends.
fn sum(folder: &Path) -> Result<u64, String> {
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let texts = files.map(|file| fs::read_to_string(file?.path())).collect::<Result<Vec<_>, _>>();
    let counts: Vec<_> = texts.map_err(|error| error.to_string())?.iter().filter_map(|text| totals(text)).collect();
    if counts.is_empty() { Err("it ended without telling its count".to_owned()) } else { Ok(counts.iter().sum()) }
}

fn totals(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_processes_are_added() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sum(folder.path()).is_err());

        fs::write(folder.path().join("1"), "version: 1\nevents: Ir\n\nfn=(1) a\n5 7\n\ntotals: 700\n").unwrap();
        fs::write(folder.path().join("2"), "totals: 42\n").unwrap();

        assert_eq!(sum(folder.path()), Ok(742));
    }

    #[test]
    fn a_longer_run_that_took_no_more_is_not_counted() {
        assert_eq!(each(1024, 3072), Ok(2.0));
        assert!(each(1024, 1024).is_err() && each(1024, 1).is_err());
    }
}
