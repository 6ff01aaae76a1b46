//! A peer's program, where this machine has it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// What it says of its version.
    pub(super) version: String,
}

impl Program {
    /// Looks for the program, which says its version when it is asked with `flag`; `Err` says why it cannot take part, and
    /// `source` who has it.
    pub(super) fn find(program: &Path, flag: &str, source: &str) -> Result<Program, String> {
        let found = ["", "/usr/sbin", "/usr/local/sbin"].iter().map(|folder| Path::new(folder).join(program));
        let answers = |path: PathBuf| {
            let output = Command::new(&path).arg(flag).output().ok().filter(|output| output.status.success())?;
            // Some say it on one side, some on the other.
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let version = said.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned();
            Some(Program { path, version })
        };
        let nothing = || format!("no program {} here ({source})", program.display());
        found.into_iter().find_map(answers).ok_or_else(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_said_to_be_missing() {
        let missing = Program::find(Path::new("no-such-program"), "-v", "nobody has it").unwrap_err();

        assert_eq!(missing, "no program no-such-program here (nobody has it)");
    }

    #[test]
    fn a_program_says_its_version_in_one_line() {
        let found = Program::find(Path::new("cargo"), "-vV", "").unwrap();

        assert!(found.version.starts_with("cargo 1.") && !found.version.contains('\n'), "{found:?}");
    }
}
