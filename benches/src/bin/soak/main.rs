//! The long forms of what is promised, against the built program: swaps under load and during bodies, faults, floods, clients
//! that are too slow, and how long things take.
//!
//! What is promised is judged, and one promise that is broken ends it with code 1: counts, and the few times and sizes that have a
//! bound. All else is reported and judged by nobody.

mod bodies;
mod client;
mod endpoint;
mod faults;
mod figures;
mod floods;
mod guests;
mod link;
mod memory;
mod section;
mod stage;
mod swaps;
mod times;
mod traffic;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tollgate_benches::cores::{self, Cores};
use tollgate_benches::target::tollgate::Tollgate;

use crate::section::Section;
use crate::stage::Stage;
use crate::swaps::Amount;

/// The long forms of what is promised, against the built program.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// What to run; everything when nothing is named
    scenarios: Vec<Scenario>,
    /// The program
    #[arg(long, value_name = "FILE", default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// The folder of the filters' modules
    #[arg(long, value_name = "FOLDER", default_value = "target/wasm32-wasip1/filter")]
    filters: PathBuf,
    /// About 10 seconds for each scenario instead of minutes
    #[arg(long)]
    short: bool,
    /// Rounds of `swaps`: without swaps, with swaps beside, with swaps [default: 3, short: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// How long each of them is [default: 60, short: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: Option<u16>,
    /// Swaps in each that has them [default: 1000, short: 167]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    swaps: Option<u64>,
    /// Filters of `swaps` that do nothing, which keep the worker busy
    #[arg(long, value_name = "N", default_value_t = swaps::BALLAST, value_parser = clap::value_parser!(u16).range(0..=500))]
    ballast: u16,
    /// The part of the worker's core that the load of `swaps` is to take
    #[arg(long, value_name = "PART", default_value_t = swaps::SHARE, value_parser = part)]
    share: f64,
    /// Milliseconds between two floods of `floods`
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    every: u64,
    /// Leave it to the system what runs on which core
    #[arg(long)]
    unpinned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// 1,000 swaps in 60 s under load
    Swaps,
    /// Swaps while a gibibyte goes both ways
    Bodies,
    /// How long things take that happen seldom
    Figures,
    /// Something goes wrong every second
    Faults,
    /// Floods of HTTP/2 beside a victim
    Floods,
    /// Clients that are too slow, at default limits: 40 seconds in either form
    Times,
}

impl Scenario {
    const ALL: [Scenario; 6] =
        [Scenario::Swaps, Scenario::Bodies, Scenario::Figures, Scenario::Faults, Scenario::Floods, Scenario::Times];
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let stage = arguments.stage()?;
    say(&introduction(&arguments, &stage)?)?;
    let named = if arguments.scenarios.is_empty() { &Scenario::ALL[..] } else { &arguments.scenarios };
    let mut broken = 0;
    for scenario in named {
        let began = Instant::now();
        let section = arguments.play(*scenario, &stage).with_context(|| format!("{scenario:?}"))?;
        broken += section.broken();
        say(&format!("{section}\n{:.0} s\n", began.elapsed().as_secs_f64()))?;
    }
    say(&format!("\n{broken} promises broken\n"))?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// What follows is started by this thread, and inherits its core.
    fn stage(&self) -> anyhow::Result<Stage> {
        let cores = if self.unpinned { None } else { Cores::available()? };
        if let Some(cores) = cores {
            cores::pin(cores.load)?;
        }
        Ok(Stage {
            folder: tempfile::tempdir()?,
            cores,
            tollgate: self.tollgate.clone(),
            filters: self.filters.clone(),
            short: self.short,
        })
    }

    fn play(&self, scenario: Scenario, stage: &Stage) -> anyhow::Result<Section> {
        let amount = || {
            let (rounds, seconds, swaps) = if self.short { (1, 10, 167) } else { (3, 60, 1000) };
            Amount {
                rounds: self.rounds.unwrap_or(rounds),
                time: Duration::from_secs(self.seconds.unwrap_or(seconds).into()),
                swaps: self.swaps.unwrap_or(swaps),
                ballast: self.ballast,
                share: self.share,
            }
        };
        match scenario {
            Scenario::Swaps => swaps::run(stage, amount()),
            Scenario::Bodies => bodies::run(stage),
            Scenario::Figures => figures::run(stage),
            Scenario::Faults => faults::run(stage),
            Scenario::Floods => floods::run(stage, Duration::from_millis(self.every)),
            Scenario::Times => times::run(stage),
        }
    }
}

/// A part of a core.
fn part(said: &str) -> Result<f64, String> {
    let part: f64 = said.parse().map_err(|_| format!("{said:?} is no number"))?;
    if (0.01..=1.0).contains(&part) { Ok(part) } else { Err("a part of a core lies between 0.01 and 1".to_owned()) }
}

/// What is run on which machine.
fn introduction(arguments: &Arguments, stage: &Stage) -> anyhow::Result<String> {
    let tollgate = Tollgate { program: arguments.tollgate.clone(), filters: arguments.filters.clone() };
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let placed = match stage.cores {
        Some(Cores { load, target }) => {
            format!("the worker on core {target}, load, origins and the rest of the proxy on core {load}")
        }
        None => "nothing kept on a core".to_owned(),
    };
    let words: Vec<_> = std::env::args().collect();
    Ok(format!(
        "# Soak\n\n{}, {}\n{}, Linux {}, load average before: {}{placed}\n{}\n",
        tollgate.version()?,
        arguments.tollgate.display(),
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg"),
        words.join(" ")
    ))
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
