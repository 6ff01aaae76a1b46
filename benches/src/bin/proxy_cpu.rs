//! CPU time per request of Tollgate, alone and with filters, and of nginx, HAProxy and Envoy, in one run against one origin.
//!
//! It starts and ends everything it needs except the programs themselves. `README.md` tells how to read its table.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tollgate_benches::cores::{self, Cores};
use tollgate_benches::error::BenchError;
use tollgate_benches::origin::Origin;
use tollgate_benches::report::{Absent, Report};
use tollgate_benches::rounds::{self, Amount};
use tollgate_benches::target::envoy::{self, Envoy};
use tollgate_benches::target::haproxy::{self, Haproxy};
use tollgate_benches::target::nginx::{self, Nginx};
use tollgate_benches::target::tollgate::Tollgate;
use tollgate_benches::target::{Plan, Target};

/// Load before each measured time.
const RAMP: Duration = Duration::from_millis(300);

/// CPU time per request of Tollgate, alone and with filters, and of nginx, HAProxy and Envoy.
#[derive(Debug, Parser)]
#[command(name = "proxy-cpu")]
struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE", default_value = "target/dist/tollgate")]
    tollgate: PathBuf,
    /// The folder of filter_noop.wasm and filter_headers.wasm
    #[arg(long, value_name = "FOLDER", default_value = "target/wasm32-wasip1/filter")]
    filters: PathBuf,
    /// A peer; reported as absent when there is none
    #[arg(long, value_name = "FILE", default_value = "nginx")]
    nginx: PathBuf,
    /// Likewise
    #[arg(long, value_name = "FILE", default_value = "haproxy")]
    haproxy: PathBuf,
    /// Likewise; with the same filters too
    #[arg(long, value_name = "FILE", default_value = "envoy")]
    envoy: PathBuf,
    /// How often each target is driven
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Connections of the load
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// Measure only the targets of this name (may be repeated)
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
    /// Run each target under this tool with these words, such as "valgrind --tool=callgrind"
    #[arg(long, value_name = "WORDS", default_value = "")]
    under: String,
    /// Leave it to the system what runs on which core
    #[arg(long)]
    unpinned: bool,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let report = measure(&arguments)?;
    if let Some(file) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    write!(io::stdout().lock(), "{report}")?;
    Ok(())
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let cores = if arguments.unpinned { None } else { Cores::available()? };
    let origin = Origin::start(cores.map(|cores| cores.load))?;
    let Cast { plans, absent, versions } = cast(arguments, folder.path(), &origin)?;
    let mut targets = start(plans, arguments, folder.path(), cores)?;
    let amount = Amount {
        rounds: arguments.rounds.into(),
        time: Duration::from_secs(arguments.seconds.into()),
        ramp: RAMP,
        connections: arguments.connections.into(),
    };
    let samples = rounds::run(&mut targets, &amount)?;
    Ok(Report { versions, method: method(&amount, cores), absent, ..Report::of(&targets, &samples) })
}

/// Who takes part.
struct Cast {
    plans: Vec<Plan>,
    absent: Vec<Absent>,
    versions: Vec<String>,
}

fn cast(arguments: &Arguments, folder: &Path, origin: &Origin) -> Result<Cast, BenchError> {
    let tollgate = Tollgate { program: arguments.tollgate.clone(), filters: arguments.filters.clone() };
    let mut versions = vec![tollgate.version()?];
    let mut plans = tollgate.plans(folder, origin.address())?;
    let mut absent = Vec::new();
    match Nginx::find(&arguments.nginx) {
        Ok(nginx) => {
            plans.push(nginx.plan(folder, origin.address(), arguments.connections.into())?);
            versions.push(nginx.version().to_owned());
        }
        Err(why) => absent.push(Absent { target: nginx::NAME.to_owned(), why }),
    }
    match Haproxy::find(&arguments.haproxy) {
        Ok(haproxy) => {
            plans.push(haproxy.plan(folder, origin.address())?);
            versions.push(haproxy.version().to_owned());
        }
        Err(why) => absent.push(Absent { target: haproxy::NAME.to_owned(), why }),
    }
    match Envoy::find(&arguments.envoy, &arguments.filters) {
        Ok(envoy) => {
            plans.extend(envoy.plans(folder, origin.address())?);
            versions.push(envoy.version());
        }
        Err(why) => absent.push(Absent { target: envoy::NAME.to_owned(), why }),
    }
    if !arguments.only.is_empty() {
        plans.retain(|plan| arguments.only.contains(&plan.name));
    }
    Ok(Cast { plans, absent, versions })
}

/// Starts the targets on their core, and leaves this thread on the load's.
fn start(
    plans: Vec<Plan>,
    arguments: &Arguments,
    folder: &Path,
    cores: Option<Cores>,
) -> Result<Vec<Target>, BenchError> {
    let pinning = || BenchError::while_doing("pinning to a core");
    let under: Vec<String> = arguments.under.split_whitespace().map(str::to_owned).collect();
    if let Some(cores) = cores {
        cores::pin(cores.target).map_err(pinning())?;
    }
    let targets = plans.into_iter().map(|plan| Target::start(plan, folder, &under)).collect::<Result<_, _>>()?;
    if let Some(cores) = cores {
        cores::pin(cores.load).map_err(pinning())?;
    }
    Ok(targets)
}

fn method(amount: &Amount, cores: Option<Cores>) -> String {
    let Amount { rounds, time, connections, .. } = amount;
    let placed = match cores {
        Some(_) => "target on one core, load and origin on another",
        None => "nothing pinned to a core",
    };
    format!(
        "{rounds} rounds of {} s for each target, {connections} keep-alive connections, one worker, {placed}; \
         \"to first\" and \"added\" are medians [min .. max] of pairs from one round",
        time.as_secs()
    )
}
