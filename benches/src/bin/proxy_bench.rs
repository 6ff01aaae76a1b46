//! What a proxied request costs: Tollgate, alone and with filters, beside nginx, HAProxy and Envoy, over several kinds of
//! traffic, and what Tollgate costs as something grows. It writes a report, and says what changed since an older one.
//!
//! It starts and ends everything it needs except the programs themselves. `README.md` tells how to read what it writes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use tollgate_benches::cases::{self, Case};
use tollgate_benches::cast::{Cast, Who};
use tollgate_benches::cores::Cores;
use tollgate_benches::error::BenchError;
use tollgate_benches::field::Field;
use tollgate_benches::growth::{self, Reach};
use tollgate_benches::instructions;
use tollgate_benches::machine;
use tollgate_benches::report::{self, Folder};
use tollgate_benches::results::{Absent, Counted, Facts, Results};
use tollgate_benches::rounds::Amount;
use tollgate_benches::starts;
use tollgate_benches::target::tollgate::Tollgate;
use tollgate_benches::target::{Chain, Door};

/// Load before each measured time, at the most.
const RAMP: Duration = Duration::from_millis(250);

/// What a proxied request costs, beside nginx, HAProxy and Envoy.
#[derive(Debug, Parser)]
#[command(name = "proxy-bench")]
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
    /// Counts system calls; reported as absent when there is none
    #[arg(long, value_name = "FILE", default_value = "strace")]
    strace: PathBuf,
    /// Counts instructions; reported as absent when there is none
    #[arg(long, value_name = "FILE", default_value = "valgrind")]
    valgrind: PathBuf,
    /// Only these: keep-alive, 64-kib, h2c, tls, tls-handshake, connection, isolation (may be repeated; none for no case)
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Only these: filters, headers, body, routes, plugins, idle, workers (may be repeated; none for no curve)
    #[arg(long, value_name = "NAME")]
    growth: Vec<String>,
    /// Count the instructions of a request too, where cases or curves are named or --short is given
    #[arg(long)]
    instructions: bool,
    /// Measure starts too, where cases are named
    #[arg(long)]
    starts: bool,
    /// Measure only the targets of this name, as "tollgate, 1 noop filter" (may be repeated)
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
    /// How often each target is driven [default: 15, short: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long each time, in a closed loop and then at a pace [default: 400, short: 150]
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u16).range(10..=60_000))]
    time: Option<u16>,
    /// Two minutes in place of twenty: enough to see that it works
    #[arg(long)]
    short: bool,
    /// Run each target under this tool with these words, such as "valgrind --tool=callgrind"
    #[arg(long, value_name = "WORDS", default_value = "")]
    under: String,
    /// Leave it to the system what runs on which core
    #[arg(long)]
    unpinned: bool,
    /// Write the report to this folder, once all is measured; until then to FOLDER.part
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Say what changed since the results in this file
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Measure nothing: take the results in this file, to write their report anew or to compare them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "growth", "only", "under"])]
    from: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let older = arguments.compare.as_deref().map(read).transpose()?;
    let results = match &arguments.from {
        Some(file) => read(file)?,
        None => arguments.measure(|results| arguments.keep(results, Folder::draft))?,
    };
    arguments.keep(&results, Folder::settle)?;
    let text = match &older {
        Some(older) => report::compare(older, &results),
        None => report::index(&results),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    let failures = results.failures();
    ensure!(
        arguments.from.is_some() || failures == 0,
        "{failures} measurements failed; the report says which, and why"
    );
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Results> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no results of this program", file.display()))
}

impl Arguments {
    /// Writes a report in this way, where one is asked for.
    fn keep(&self, results: &Results, write: fn(&Folder, &Results) -> io::Result<()>) -> anyhow::Result<()> {
        let Some(folder) = self.report.as_deref() else { return Ok(()) };
        write(&Folder::at(folder), results).with_context(|| format!("cannot write to {}", folder.display()))
    }

    /// Measures everything that is asked for; after each part `done` is told of what there is by then. What fails is no part of it.
    fn measure(&self, done: impl Fn(&Results) -> anyhow::Result<()>) -> anyhow::Result<Results> {
        let cases = named(&self.case, cases::all(), |case: &Case| case.name)?;
        let curves = named(&self.growth, growth::ALL.to_vec(), |(name, _)| name)?;
        let cores = if self.unpinned { None } else { Cores::available()? };
        let tollgate = Tollgate { program: self.tollgate.clone(), filters: self.filters.clone() };
        let cast = Cast::find(tollgate, &self.nginx, &self.haproxy, &self.envoy);
        let facts = self.facts(&cast, cores)?;
        let mut field = Field::open(cast, self.amount(), &self.strace, cores)?;
        field.under = self.under.split_whitespace().map(str::to_owned).collect();
        let absent = field.cast.absent();
        let mut results = Results { facts, absent, ..Results::default() };
        for case in &cases {
            say(&format!("{}: {}", case.name, case.what))?;
            results.cases.push(field.play(case, &self.only));
            done(&results)?;
        }
        if self.starts || self.case.is_empty() {
            say("starts")?;
            (results.starts, results.failed) = starts::measure(&field, &self.only);
        }
        if self.counts() {
            let (counted, failed) = self.count(&field);
            results.counted = counted;
            results.failed.extend(failed);
        }
        let reach = if self.short { Reach::Short } else { Reach::Whole };
        for (name, measure) in curves {
            say(&format!("growth: {name}"))?;
            match measure(&field, reach) {
                Ok(curves) => results.curves.extend(curves),
                Err(error) => results.failed.push(Absent::of(&format!("growth of {name}"), &error)),
            }
            done(&results)?;
        }
        Ok(results)
    }

    /// Whether instructions are counted: with everything, and where that is asked for.
    fn counts(&self) -> bool {
        self.instructions || (self.case.is_empty() && self.growth.is_empty() && !self.short)
    }

    /// What was counted, or has no tool to count it, and beside it what failed.
    fn count(&self, field: &Field) -> (Vec<Counted>, Vec<Absent>) {
        let all = [Who::Tollgate(Chain::None), Who::Nginx, Who::Haproxy];
        let asked = all.into_iter().filter(|who| who.is_meant(&self.only));
        let count = |who: Who| -> Result<Option<Counted>, BenchError> {
            let Some(plan) = field.cast.plan(who, &field.setting(Door::Plain, 32))? else { return Ok(None) };
            // Whoever looks on is not there to be told; the result says it again.
            let _ = say(&format!("instructions: {}", plan.name));
            instructions::count(field, &self.valgrind, &plan).map(Some)
        };
        let (mut counted, mut failed) = (Vec::new(), Vec::new());
        for who in asked {
            match count(who) {
                Ok(found) => counted.extend(found),
                Err(error) => failed.push(Absent::of(&format!("instructions of {}", who.name()), &error)),
            }
        }
        (counted, failed)
    }

    fn amount(&self) -> Amount {
        let (rounds, time) = if self.short { (2, 150) } else { (15, 400) };
        let time = Duration::from_millis(self.time.unwrap_or(time).into());
        Amount { rounds: self.rounds.unwrap_or(rounds).into(), time, ramp: RAMP.min(time / 3) }
    }

    fn facts(&self, cast: &Cast, cores: Option<Cores>) -> Result<Facts, BenchError> {
        let Amount { rounds, time, .. } = self.amount();
        let placed = match cores {
            Some(_) => {
                "The target has one core; another has the load, which in a closed loop serves the origin too and never sleeps."
            }
            None => "Nothing is kept on a core.",
        };
        let mut method = vec![
            format!(
                "{rounds} rounds: in each, every target in turn for {} ms in a closed loop, and then every one as long at a pace.",
                time.as_millis()
            ),
            placed.to_owned(),
            "Every target has one worker, and the same origin over kept connections of HTTP/1.1 behind it.".to_owned(),
        ];
        method.extend(machine::behind().map(|why| format!("The load does not come first on its core: {why}.")));
        let words: Vec<_> = std::env::args().skip(1).collect();
        let command = format!("proxy-bench {}", words.join(" ")).trim().to_owned();
        let (date, machine) = (machine::today(), machine::describe());
        Ok(Facts { date, machine, versions: cast.versions()?, command, method })
    }
}

/// Those that are asked for, in their own order: all where nothing is, none where that is.
fn named<T>(asked: &[String], all: Vec<T>, name: impl Fn(&T) -> &str) -> anyhow::Result<Vec<T>> {
    let unknown = asked.iter().find(|asked| *asked != "none" && all.iter().all(|each| name(each) != *asked));
    if let Some(unknown) = unknown {
        let known: Vec<_> = all.iter().map(&name).collect();
        ensure!(false, "there is no {unknown:?}; there are {} and none", known.join(", "));
    }
    Ok(all.into_iter().filter(|each| asked.is_empty() || asked.iter().any(|asked| asked == name(each))).collect())
}

/// What is done now goes beside the result.
fn say(what: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{what}")
}
