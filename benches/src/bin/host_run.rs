//! Does one piece of the host set so many times, and nothing else: for counters and emulators around it.
//!
//! What one costs is the difference between runs of 2n and of n times, over n: all that comes before is in both.

use std::io::{self, Write};

use clap::Parser;
use tollgate_benches::host::{Folders, Ground, Setting, Work};

/// Does one piece of the host set so many times.
#[derive(Debug, Parser)]
#[command(name = "host-run")]
struct Arguments {
    /// Name all of it, and what is done, and end
    #[arg(long, conflicts_with_all = ["name", "times"])]
    list: bool,
    /// Compile everything into the folder of code and end, so that nothing is compiled under a counter
    #[arg(long, conflicts_with_all = ["list", "name", "times"])]
    prepare: bool,
    /// Which
    #[arg(required_unless_present_any = ["list", "prepare"])]
    name: Option<String>,
    /// How often
    #[arg(required_unless_present_any = ["list", "prepare"], value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// Compile guests for this processor, and let the epoch advance
    #[arg(long)]
    native: bool,
    /// cargo's folder, with the filters of `make filters` in it
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    target: std::path::PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let ground = if arguments.native { Ground::This } else { Ground::Any };
    let setting = Setting { folders: Folders::within(&arguments.target), ground };
    match (&arguments.name, arguments.times) {
        (Some(name), Some(times)) => Ok(Work::named(name)?.prepare(&setting)?.run(times)?),
        _ if arguments.prepare => Ok(Work::all().try_for_each(|work| work.prepare(&setting).map(drop))?),
        _ => list(),
    }
}

fn list() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    Work::all().try_for_each(|work| writeln!(out, "{}\t{}", work.name, work.about))?;
    Ok(())
}
