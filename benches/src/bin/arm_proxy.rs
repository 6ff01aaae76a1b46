//! The proxy of a configuration, in a process that starts no other: `tollgate run` has modules compiled by a process beside
//! it, which under an emulator cannot begin. For `arm-count`; code that was kept in the configuration's `cache` is used.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tollgate::app::{App, RunOptions};

/// Serves a configuration without a compiler beside it, until told to end.
#[derive(Debug, Parser)]
#[command(name = "arm-proxy")]
struct Arguments {
    /// The configuration
    file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let file = Arguments::parse().file;
    let config = tollgate_config::load(&file).with_context(|| format!("{} cannot be used", file.display()))?;
    let options = RunOptions { compiler: None, ..RunOptions::default() };
    App::prepare(config, &options)?.bind()?.start(true)?.wait();
    Ok(())
}
