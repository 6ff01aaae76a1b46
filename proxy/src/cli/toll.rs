//! `tollgate toll`: what filters cost on this machine. Nothing is opened but the files that are named, and a folder for
//! temporary files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, ValueHint};
use serde::Serialize;
use serde_json::json;
use tollgate_abi::ModuleLimits;

use super::{Failure, own_program, print};
use crate::filter::generation::Origin;
use crate::filter::modules::{self, Fetched};
use crate::toll::{self, Asked, Comparison, Filter, Plan, Report, Unmeasured};

/// The longest file of another measurement that is read: figures of thousands of filters.
const LONGEST_REPORT: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct TollArguments {
    /// The modules; each is measured alone
    #[arg(required_unless_present = "plugin", value_name = "FILTER", value_hint = ValueHint::FilePath)]
    filters: Vec<PathBuf>,
    /// The filter's configuration: once for all, or once for each in their order
    #[arg(long, value_name = "JSON")]
    config: Vec<String>,
    /// A filter of a Tollgate configuration, with its module and all its settings from there
    #[arg(long, num_args = 2, value_names = ["NAME", "FILE"], conflicts_with = "config")]
    plugin: Vec<String>,
    /// The request to measure with, as HTTP/1.1 writes it [default: a GET with three fields]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    request: Option<PathBuf>,
    /// Exchanges with each; there are fewer where they would take more than 20 seconds
    #[arg(long, value_name = "N", default_value_t = Plan::default().requests, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    requests: u32,
    /// Write figures and errors as JSON
    #[arg(long)]
    json: bool,
    /// Say what changed since a measurement that `--json` wrote
    #[arg(long, value_name = "OLD", value_hint = ValueHint::FilePath)]
    compare: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a Comparison>,
}

/// Measures, and writes what it found to standard output. Filters that failed are told when all have been measured.
pub(super) fn toll(arguments: &TollArguments) -> Result<(), Failure> {
    let found = measured(arguments).inspect_err(|failure| {
        if arguments.json {
            // Whoever cannot read it has the exit code.
            let _ = print(format!("{:#}\n", json!({ "error": failure.to_string() })).as_bytes());
        }
    });
    let (report, comparison) = found?;
    if arguments.json {
        let output = Output { report: &report, comparison: comparison.as_ref() };
        print(format!("{}\n", serde_json::to_string_pretty(&output).unwrap_or_default()).as_bytes())?;
    } else if !report.filters.is_empty() {
        let changes = comparison.as_ref().map(toll::changes);
        print([toll::words(&report), changes.map_or(String::new(), |text| format!("\n{text}"))].concat().as_bytes())?;
    }
    failures(&report).map_or(Ok(()), |words| Err(Failure::Toll(words)))
}

fn measured(arguments: &TollArguments) -> Result<(Report, Option<Comparison>), Failure> {
    let filters = filters(arguments)?;
    let asked = request(arguments.request.as_deref())?;
    let before = arguments.compare.as_deref().map(|file| before(file, &filters)).transpose()?;
    let plan = Plan { requests: arguments.requests, program: own_program(), ..Plan::default() };
    let report = toll::measure(&filters, &asked, &plan).map_err(|error| Failure::Toll(error.to_string()))?;
    // Where nothing was measured there is more to be said of that than of what it is compared with.
    let before = before.filter(|_| !report.filters.is_empty());
    let comparison = before.map(|before| toll::compare(&before, &report));
    Ok((report, comparison))
}

/// Every filter that failed, in one text.
fn failures(report: &Report) -> Option<String> {
    let unmeasured = report.unmeasured.iter().map(|Unmeasured { name, flaw }| format!("{name}: {flaw}"));
    let broken = report.filters.iter().filter_map(|filter| {
        let toll::Broken { exchange, flaw } = filter.failure.as_ref()?;
        Some(format!("{}: exchange {exchange}: {flaw}", filter.name))
    });
    let all: Vec<String> = unmeasured.chain(broken).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

fn filters(arguments: &TollArguments) -> Result<Vec<Filter>, Failure> {
    let (files, configs) = (&arguments.filters, &arguments.config);
    if configs.len() > 1 && configs.len() != files.len() {
        let (configs, files) = (configs.len(), files.len());
        return Err(Failure::Toll(format!("{configs} configurations for {files} filters; give one, or one for each")));
    }
    let config = |place: usize| configs.get(place).or(configs.first()).cloned().unwrap_or_default();
    let filter = |(place, file): (usize, &PathBuf)| {
        let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        Ok(Filter::new(name, module(file)?, config(place).into_bytes()))
    };
    let plain = files.iter().enumerate().map(filter);
    plain.chain(arguments.plugin.as_chunks().0.iter().map(|[name, file]| plugin(name, Path::new(file)))).collect()
}

/// A plugin of a configuration as it is there.
fn plugin(name: &str, file: &Path) -> Result<Filter, Failure> {
    let config = tollgate_config::load(file).map_err(Failure::Config)?;
    let Some(plugin) = config.plugins.iter().find(|plugin| plugin.name == name) else {
        let known: Vec<&str> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        return Err(refused(Some(file), &format!("there is no filter {name:?}, only {}", known.join(", "))));
    };
    let fetched = Fetched::new(module(&plugin.module)?, Origin::File(plugin.module.clone()));
    modules::verify(plugin, &fetched, plugin.sha256).map_err(|fault| Failure::Refused(fault.to_string()))?;
    Ok(Filter::of(plugin, fetched.bytes, &config.limits))
}

fn request(file: Option<&Path>) -> Result<Asked, Failure> {
    let text = file.map(|file| read(file, toll::longest())).transpose()?;
    toll::parse(text.as_deref().unwrap_or(toll::USUAL)).map_err(|why| refused(file, &why))
}

fn before(file: &Path, filters: &[Filter]) -> Result<Report, Failure> {
    toll::before(&read(file, LONGEST_REPORT)?, filters).map_err(|why| refused(Some(file), &why))
}

fn module(file: &Path) -> Result<Bytes, Failure> {
    let longest = u64::try_from(ModuleLimits::default().bytes).unwrap_or(u64::MAX);
    read(file, longest).map(Bytes::from)
}

/// A file of at most so many bytes.
fn read(file: &Path, longest: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(longest.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|source: io::Error| Failure::Unreadable { path: file.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= longest) {
        return Ok(bytes);
    }
    Err(refused(Some(file), &format!("it is longer than {longest} bytes")))
}

fn refused(file: Option<&Path>, why: &dyn std::fmt::Display) -> Failure {
    let file = file.unwrap_or(Path::new("-")).display();
    Failure::Toll(format!("{file}: {why}"))
}
