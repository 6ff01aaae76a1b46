//! `tollgate toll`: what filters cost on this machine. Nothing is opened but the files that are named.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;
use tollgate_config::TestRequest;

use super::{Failure, print};
use crate::toll::{self, Change, Filter, Plan, Report};

#[derive(Debug, Args)]
pub(super) struct TollArguments {
    /// The modules; each is measured alone
    #[arg(required = true, value_name = "FILTER", value_hint = ValueHint::FilePath)]
    filters: Vec<PathBuf>,
    /// The filter's configuration: once for all, or once for each in their order
    #[arg(long, value_name = "JSON")]
    config: Vec<String>,
    /// The request to measure with, as HTTP/1.1 writes it [default: a GET with three fields]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    request: Option<PathBuf>,
    /// Exchanges with each; fewer are made where they would take more than 20 seconds
    #[arg(long, value_name = "N", default_value_t = Plan::default().requests, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    requests: u32,
    /// Write the figures as JSON
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
    changes: Option<&'a [Change]>,
}

/// Measures, and writes what it found to standard output.
pub(super) fn toll(arguments: &TollArguments) -> Result<(), Failure> {
    let filters = filters(arguments)?;
    let request = request(arguments.request.as_deref())?;
    let before = arguments.compare.as_deref().map(before).transpose()?;
    let plan = Plan { requests: arguments.requests, ..Plan::default() };
    let report = toll::measure(&filters, &request, plan).map_err(Failure::Toll)?;
    let changes = before.map(|before| toll::compare(&before, &report)).transpose();
    let changes = changes.map_err(|why| refused(arguments.compare.as_deref(), &why))?;
    if arguments.json {
        let output = Output { report: &report, changes: changes.as_deref() };
        return print(format!("{}\n", serde_json::to_string_pretty(&output).unwrap_or_default()).as_bytes());
    }
    let mut text = toll::words(&report);
    if let Some(changes) = &changes {
        text.push('\n');
        text.push_str(&toll::changes(changes));
    }
    print(text.as_bytes())
}

fn filters(arguments: &TollArguments) -> Result<Vec<Filter>, Failure> {
    let (files, configs) = (&arguments.filters, &arguments.config);
    if configs.len() > 1 && configs.len() != files.len() {
        let (configs, files) = (configs.len(), files.len());
        let words = format!("error[TG0406]: {configs} configurations for {files} filters; give one, or one for each");
        return Err(Failure::Refused(words));
    }
    let config = |place: usize| configs.get(place).or(configs.first()).cloned().unwrap_or_default();
    let filter = |(place, file): (usize, &PathBuf)| {
        let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        Ok(Filter { name, module: read(file)?, config: config(place).into_bytes() })
    };
    files.iter().enumerate().map(filter).collect()
}

fn request(file: Option<&Path>) -> Result<TestRequest, Failure> {
    let Some(file) = file else { return Ok(usual()) };
    toll::parse(&read(file)?).map_err(|why| refused(Some(file), &why))
}

/// What a client of an API sends.
fn usual() -> TestRequest {
    let fields =
        [("user-agent", "tollgate"), ("accept", "*/*"), ("x-request-id", "0d1f5f1c-5f3e-4f6a-9d2b-3c0a4a9b7e21")];
    TestRequest {
        host: "toll.invalid".to_owned(),
        headers: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..TestRequest::default()
    }
}

fn before(file: &Path) -> Result<Report, Failure> {
    serde_json::from_slice(&read(file)?).map_err(|why| refused(Some(file), &format!("it is no measurement: {why}")))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|source| Failure::Unreadable { path: file.to_owned(), source })
}

fn refused(file: Option<&Path>, why: &dyn std::fmt::Display) -> Failure {
    let file = file.unwrap_or(Path::new("-")).display();
    Failure::Refused(format!("error[TG0406]: {file}: {why}"))
}
