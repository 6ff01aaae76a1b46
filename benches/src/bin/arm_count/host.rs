//! The host set on both processors: what one turn of each piece executes, and how much code its filters are.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::machine::{Counting, Machine};
use crate::object;
use crate::table::Row;

/// Turns of the first look, which tells how many are to be counted.
const PILOT: u64 = 20;
/// Instructions that the turns of a run come to, about; and the bounds of their number.
const WORTH: u64 = 1_000_000;
const TURNS: std::ops::RangeInclusive<u64> = 10..=5_000;

/// One processor's `host-run`, with its counter and a folder of its own as cargo's: filters, and code made of them.
pub(super) struct Side {
    pub(super) machine: Machine,
    pub(super) program: PathBuf,
    pub(super) target: PathBuf,
}

/// A piece of the set.
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) about: String,
}

impl Side {
    /// Has everything compiled that the set needs.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        self.machine.start(&self.program, &self.words(&["--prepare"]), Counting::Off)?.finish().map(drop)
    }

    /// Instructions that so many turns of this piece execute on the thread that makes them, with all that comes before.
    fn run(&self, name: &str, turns: u64) -> anyhow::Result<u64> {
        let threads =
            self.machine.start(&self.program, &self.words(&[name, &turns.to_string()]), Counting::On)?.finish()?;
        threads.first().copied().context("a program without a thread")
    }

    /// Instructions of one turn: of twice as many less once as many, so that what comes before is in neither.
    fn turn(&self, name: &str, turns: u64) -> anyhow::Result<f64> {
        per_turn(self.run(name, turns)?, self.run(name, turns * 2)?, turns)
    }

    fn words(&self, words: &[&str]) -> Vec<OsString> {
        let words = words.iter().map(OsString::from);
        words.chain(["--target".into(), self.target.clone().into_os_string()]).collect()
    }

    /// Bytes of the code that was made of a module, found by its digest.
    fn code_size(&self, digest: &str) -> anyhow::Result<u64> {
        let folder = self.target.join("host-code");
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(digest) {
                return Ok(object::code_size(&fs::read(entry.path())?)?);
            }
        }
        bail!("there is no code of it in {}", folder.display())
    }
}

/// What a list of `host-run --list` names.
pub(super) fn pieces(program: &Path) -> anyhow::Result<Vec<Piece>> {
    let output = Command::new(program).arg("--list").output();
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let list = String::from_utf8(output.stdout)?;
    let lines = list.lines().filter_map(|line| line.split_once('\t'));
    let pieces: Vec<_> = lines.map(|(name, about)| Piece { name: name.to_owned(), about: about.to_owned() }).collect();
    ensure!(output.status.success() && !pieces.is_empty(), "{} --list names nothing", program.display());
    Ok(pieces)
}

/// One piece on both sides, equally often.
pub(super) fn count(arm: &Side, x86: &Side, piece: &Piece) -> anyhow::Result<Row> {
    let turns = turns(x86.turn(&piece.name, PILOT)?);
    let (arm, x86) = (arm.turn(&piece.name, turns)?, x86.turn(&piece.name, turns)?);
    Ok(Row { name: piece.name.clone(), about: piece.about.clone(), arm, x86 })
}

/// The code of one module on both sides; `digest` tells which it is.
pub(super) fn code(arm: &Side, x86: &Side, name: &str, about: String, digest: &str) -> anyhow::Result<Row> {
    let size = |side: &Side| Ok::<_, anyhow::Error>(side.code_size(digest)? as f64);
    Ok(Row { name: name.to_owned(), about, arm: size(arm)?, x86: size(x86)? })
}

/// How many turns are worth counting of what takes so many instructions.
fn turns(instructions: f64) -> u64 {
    let worth = (WORTH as f64 / instructions.max(1.0)).ceil();
    // A search among whole numbers, because a cast from one that is not could lose bits.
    TURNS.clone().find(|turns| *turns as f64 >= worth).unwrap_or(*TURNS.end())
}

/// Instructions of one of `turns`, of counts of so many and of twice as many.
pub(super) fn per_turn(once: u64, twice: u64, turns: u64) -> anyhow::Result<f64> {
    ensure!(twice > once && turns > 0, "{turns} turns take {once} instructions, and twice as many no more: {twice}");
    Ok((twice - once) as f64 / turns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_costs_what_twice_as_many_take_more() {
        assert_eq!(per_turn(1_000, 1_500, 10).unwrap(), 50.0);
    }

    #[test]
    fn work_that_does_not_grow_with_its_turns_is_refused() {
        let refused = |once, twice, turns| per_turn(once, twice, turns).unwrap_err().to_string();

        assert_eq!(refused(7, 7, 10), "10 turns take 7 instructions, and twice as many no more: 7");
        assert_eq!(refused(8, 7, 10), "10 turns take 8 instructions, and twice as many no more: 7");
        assert_eq!(refused(7, 8, 0), "0 turns take 7 instructions, and twice as many no more: 8");
    }

    #[test]
    fn little_work_is_counted_often_and_much_of_it_seldom() {
        assert_eq!(turns(1.0), 5_000);
        assert_eq!(turns(2_000.0), 500);
        assert_eq!(turns(1e9), 10);
        assert_eq!(turns(0.0), 5_000);
    }
}
