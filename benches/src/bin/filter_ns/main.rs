//! CPU time of one exchange through one filter, in memory: what `tollgate-abi` and the guest cost without a proxy.

mod fresh;
mod guest;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tollgate_benches::cores::{self, Cores};
use tollgate_benches::http::{ANSWERED, ASKED};

use crate::guest::Cost;

/// CPU time of one exchange through one filter, in memory.
#[derive(Debug, Parser)]
#[command(name = "filter-ns")]
struct Arguments {
    /// The folder of filter_noop.wasm and filter_headers.wasm
    #[arg(long, value_name = "FOLDER", default_value = "target/wasm32-wasip1/filter")]
    filters: PathBuf,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(cores) = Cores::available()? {
        cores::pin(cores.target)?;
    }
    let headers = serde_json::json!({
        "request": { "add": { ASKED.0: ASKED.1 } },
        "response": { "add": { ANSWERED.0: ANSWERED.1 } },
    });
    let mut costs = vec![guest::native()?];
    for (name, file, config) in [
        ("noop filter", "filter_noop.wasm", String::new()),
        ("header filter", "filter_headers.wasm", headers.to_string()),
    ] {
        let module = arguments.module(file)?;
        costs.push(guest::filter(name, &module, &config)?);
        costs.extend(fresh::filter(name, &module, &config)?);
    }
    if let Some(file) = &arguments.json {
        let json = serde_json::to_vec_pretty(&costs)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&costs)
}

impl Arguments {
    fn module(&self, file: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.filters.join(file);
        fs::read(&path).with_context(|| format!("{} cannot be read; `make filters` builds it", path.display()))
    }
}

fn print(costs: &[Cost]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| one exchange in memory | ns min / median / max |\n|---|---:|")?;
    for Cost { name, nanoseconds } in costs {
        writeln!(out, "| {name} | {:.0} / {:.0} / {:.0} |", nanoseconds.min, nanoseconds.median, nanoseconds.max)?;
    }
    Ok(())
}
