//! Compares what callgrind counted of the host set with a baseline, or writes the baseline anew; `make count` runs it.
//!
//! The exit code is 0 where nothing changed or the baseline was written, and 1 otherwise.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tollgate_benches::host::counts::{Change, Counts, TOLERANCE};

/// The architecture whose baseline is committed: without it nothing would be compared, and nobody would see.
const COMPARED: &str = "x86_64";

/// Compares counts of the host set with a baseline.
#[derive(Debug, Parser)]
#[command(name = "host-counts")]
struct Arguments {
    /// gungraun's folder of the set
    #[arg(long, value_name = "FOLDER", default_value = "target/gungraun/host_count/set")]
    counted: PathBuf,
    /// What it is compared with
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// Write the baseline in place of comparing with it
    #[arg(long)]
    update: bool,
    /// How far a count may be from the baseline, as a part of it
    #[arg(long, default_value_t = TOLERANCE)]
    tolerance: f64,
    /// What the counts were made with, for the baseline
    #[arg(long, default_value = "")]
    tools: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let counts = Counts::read(&arguments.counted, &arguments.tools)?;
    let mut out = io::stdout().lock();
    write!(out, "{counts}")?;
    let file = arguments.baseline.display();
    if arguments.update {
        fs::write(&arguments.baseline, counts.to_string()).with_context(|| format!("cannot write {file}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(baseline) = baseline(&arguments.baseline, std::env::consts::ARCH)? else {
        writeln!(out, "there is no {file}: nothing is compared; `make count UPDATE=1` writes it")?;
        return Ok(ExitCode::SUCCESS);
    };
    let changes = counts.changes(&baseline, arguments.tolerance);
    if changes.is_empty() {
        writeln!(out, "all within {} % of {file}", arguments.tolerance * 100.0)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&changes, &baseline, &counts)?;
    Ok(ExitCode::FAILURE)
}

/// What is compared with; `None` where there is none and need be none.
fn baseline(file: &Path, architecture: &str) -> anyhow::Result<Option<Counts>> {
    match fs::read_to_string(file) {
        Ok(text) => Counts::parse(&text).map(Some).with_context(|| format!("{} cannot be used", file.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && architecture != COMPARED => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("cannot read {}; on {COMPARED} there is one, which `make count UPDATE=1` writes", file.display())
        }),
    }
}

fn tell(changes: &[Change], baseline: &Counts, counts: &Counts) -> io::Result<()> {
    let mut out = io::stderr().lock();
    changes.iter().try_for_each(|change| writeln!(out, "{change}"))?;
    if baseline.tools != counts.tools {
        writeln!(out, "the baseline was made with {}, these counts with {}", baseline.tools, counts.tools)?;
    }
    writeln!(
        out,
        "find out what is in it; where the change is meant, `make count UPDATE=1` writes the baseline anew, to be committed \
         with what made it change"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_may_be_missing_only_where_none_is_committed() {
        let nowhere = Path::new("nowhere/counts.txt");

        assert!(baseline(nowhere, "aarch64").unwrap().is_none());
        let refused = baseline(nowhere, COMPARED).unwrap_err().to_string();
        assert!(refused.contains("nowhere/counts.txt") && refused.contains("UPDATE=1"), "{refused}");
    }
}
