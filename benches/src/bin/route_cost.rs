//! What finding a route costs, by the number of routes: instructions and nanoseconds for one look-up, and the time and the
//! memory that building the table takes; and what it takes to read so many routes and to have a worker take them up. Nothing
//! is sent.
//!
//! Instructions are those of this program with so many look-ups less those without, as `perf stat` counts them, or
//! `valgrind --tool=callgrind` where the machine counts none. Without either, the nanoseconds have to do.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use http::HeaderMap;
use serde::Serialize;
use tollgate::clock::Clock;
use tollgate::route::{Asked, RouteTable};
use tollgate::snapshot::{ListenerId, Local, Place, Snapshot};
use tollgate::telemetry::metrics::Registry;
use tollgate::tls::Parties;
use tollgate::upstream::fleet;
use tollgate::upstream::resolve::Resolvers;
use tollgate_benches::memory;
use tollgate_config::{HostMatch, PathMatch, Route, RouteMatch, Target, ValueMatch};

/// Look-ups of which instructions are counted.
const COUNTED: usize = 20_000;
/// Look-ups that are timed.
const TIMED: usize = 1_000_000;

/// What finding a route costs, by the number of routes.
#[derive(Debug, Parser)]
#[command(name = "route-cost")]
struct Arguments {
    /// How many routes
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    routes: Vec<usize>,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Only look up so many times, for whoever counts instructions
    #[arg(long, hide = true)]
    only: Option<usize>,
    /// In routes like these
    #[arg(long, hide = true, value_enum, default_value_t = Shape::Prefix)]
    shape: Shape,
}

/// What routes match by.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// One host, prefixes of paths.
    Prefix,
    /// A host for each.
    Host,
    /// A wildcard for each.
    Wildcard,
    /// A host and a prefix for each, with a header in addition.
    Mixed,
}

impl Shape {
    const ALL: [Shape; 4] = [Shape::Prefix, Shape::Host, Shape::Wildcard, Shape::Mixed];

    fn word(self) -> &'static str {
        match self {
            Shape::Prefix => "prefix",
            Shape::Host => "host",
            Shape::Wildcard => "wildcard",
            Shape::Mixed => "mixed",
        }
    }

    fn route(self, number: usize) -> Route {
        let host = format!("svc-{number}.example.com");
        let (host, path, headers) = match self {
            Shape::Prefix => (HostMatch::Any, PathMatch::Prefix(format!("/api/v1/svc-{number}")), vec![]),
            Shape::Host => (HostMatch::Exact(host), PathMatch::Any, vec![]),
            Shape::Wildcard => (HostMatch::Suffix(format!(".{host}")), PathMatch::Any, vec![]),
            Shape::Mixed => {
                let wanted = ("x-version".to_owned(), ValueMatch::Equal("2".to_owned()));
                let path = PathMatch::Prefix(format!("/api/v{}", number % 10));
                (HostMatch::Exact(format!("svc-{}.example.com", number / 10)), path, vec![wanted])
            }
        };
        Route {
            name: format!("r{number}"),
            matcher: RouteMatch { host, path, headers, ..RouteMatch::default() },
            target: Target::Echo,
            rewrite: None,
            retry: None,
            headers: None,
            timeout: Route::TIMEOUT,
            idle_timeout: None,
            request_timeout: None,
            stream: false,
            upgrade: Vec::new(),
            connect: false,
            chain: Vec::new(),
        }
    }

    /// A request that finds the route of this number.
    fn request(self, number: usize) -> (String, String) {
        match self {
            Shape::Prefix => ("a.example.com".to_owned(), format!("/api/v1/svc-{number}/orders/7/items")),
            Shape::Host => (format!("svc-{number}.example.com"), "/orders/7".to_owned()),
            Shape::Wildcard => (format!("eu.west.svc-{number}.example.com"), "/orders/7".to_owned()),
            Shape::Mixed => {
                (format!("svc-{}.example.com", number / 10), format!("/api/v{}/orders/7/items", number % 10))
            }
        }
    }
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Cost {
    shape: Shape,
    routes: usize,
    instructions: Option<u64>,
    counter: &'static str,
    nanoseconds: f64,
    build_milliseconds: f64,
    bytes_per_route: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(lookups) = arguments.only {
        let routes = *arguments.routes.first().context("needs a number of routes")?;
        look_up(&table(arguments.shape, routes), arguments.shape, routes, lookups);
        return Ok(());
    }
    let mut costs = Vec::new();
    for shape in Shape::ALL {
        for routes in &arguments.routes {
            costs.push(measure(shape, *routes)?);
        }
    }
    let changes = arguments.routes.iter().map(|routes| change(*routes)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(file) = &arguments.json {
        let json = serde_json::to_vec_pretty(&serde_json::json!({ "look_ups": costs, "changes": changes }))?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&costs)?;
    print_changes(&changes)
}

/// What it takes to change to a configuration of so many routes, in milliseconds.
#[derive(Debug, Serialize)]
struct Change {
    routes: usize,
    /// Reading and checking the text, on the thread that reloads.
    read: f64,
    /// Making the snapshot, there too.
    snapshot: f64,
    /// Taking it up, on a worker.
    taken_up: f64,
    /// Making every route, which a worker does one by one as they are asked for.
    made: f64,
    /// Taking the next one up once every route was asked for.
    taken_up_again: f64,
    /// Letting go of the first one, on the thread that reloads.
    dropped: f64,
    /// Memory that the checked configuration, the snapshot and one worker have.
    bytes_per_route: [u64; 3],
}

fn change(routes: usize) -> anyhow::Result<Change> {
    let mut text = String::from("clusters: { app: { hosts: [10.0.0.1:80] } }\nlisten: 127.0.0.1:0\nroutes:\n");
    for number in 0..routes {
        text.push_str(&format!(
            "- match: {{ host: svc-{number}.example.com, path: /api/v{} }}\n  to: app\n",
            number % 10
        ));
    }
    let each = u64::try_from(routes)?.max(1);
    let before = resident()?;
    let (read, config) = timed(|| tollgate_config::parse(&text, Path::new("bench.yaml")));
    let config = config?;
    let with_config = resident()?;
    let (ids, registry) = ([ListenerId(1)], Registry::new(1));
    let fleets = fleet::succeed(&[], &config.clusters, (1, &registry));
    let around = || (fleets.clone(), Parties { servers: vec![None], clients: vec![None] });
    let (snapshot, first) = timed(|| Arc::new(Snapshot::new(None, &config, &ids, Vec::new(), around())));
    let with_snapshot = resident()?;
    let second = Arc::new(Snapshot::new(Some(&first), &config, &ids, Vec::new(), around()));
    let (clock, crowd) = (Rc::new(Clock::new()), Rc::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let resolvers = Resolvers::new(runtime.handle(), None);
    let (registry, resolvers) = (&registry, &resolvers);
    let place = Place { worker: 0, workers: 1, registry, resolvers, clock: &clock, crowd: &crowd };
    let before_worker = resident()?;
    let (taken_up, local) = timed(|| Local::new(Arc::clone(&first), &place, None, |_| false));
    let with_worker = resident()?;
    let (made, ()) = timed(|| (0..routes).for_each(|place| drop(local.listeners[0].routes.get(place).map(Rc::clone))));
    let (taken_up_again, next) = timed(|| Local::new(second, &place, Some(&local), |_| false));
    drop(local);
    let (dropped, ()) = timed(|| drop(first));
    drop(next);
    let memory = [(before, with_config), (with_config, with_snapshot), (before_worker, with_worker)];
    let bytes_per_route = memory.map(|(before, after)| after.saturating_sub(before) / each);
    Ok(Change { routes, read, snapshot, taken_up, made, taken_up_again, dropped, bytes_per_route })
}

/// What came of it, with the milliseconds that it took before.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed().as_secs_f64() * 1e3, done)
}

fn table(shape: Shape, routes: usize) -> RouteTable {
    let routes: Vec<Route> = (0..routes).map(|number| shape.route(number)).collect();
    RouteTable::new(&routes)
}

fn measure(shape: Shape, routes: usize) -> anyhow::Result<Cost> {
    let list: Vec<Route> = (0..routes).map(|number| shape.route(number)).collect();
    let before = resident()?;
    let begun = Instant::now();
    let table = RouteTable::new(&list);
    let built = begun.elapsed();
    let bytes = resident()?.saturating_sub(before);
    let nanoseconds = look_up(&table, shape, routes, TIMED).as_secs_f64() * 1e9 / TIMED as f64;
    drop(table);
    let (counter, instructions) = instructions(shape, routes)?;
    Ok(Cost {
        shape,
        routes,
        instructions,
        counter,
        nanoseconds,
        build_milliseconds: built.as_secs_f64() * 1e3,
        bytes_per_route: bytes / u64::try_from(routes)?.max(1),
    })
}

/// Looks up so many requests, spread over all routes, and tells how long that took without making them.
fn look_up(table: &RouteTable, shape: Shape, routes: usize, lookups: usize) -> Duration {
    const REQUESTS: usize = 1009;
    let requests: Vec<_> = (0..REQUESTS).map(|index| shape.request(index * 7919 % routes)).collect();
    let mut headers = HeaderMap::new();
    headers.insert("x-version", http::HeaderValue::from_static("2"));
    let begun = Instant::now();
    for (host, path) in requests.iter().cycle().take(lookups) {
        let asked = Asked { host, path, query: "", method: "GET", headers: &headers };
        assert!(black_box(table.best(black_box(&asked))).is_some());
    }
    begun.elapsed()
}

/// Who counted, and how many for one look-up.
fn instructions(shape: Shape, routes: usize) -> anyhow::Result<(&'static str, Option<u64>)> {
    for name in ["perf", "callgrind"] {
        let count = |lookups| match name {
            "perf" => by_perf(shape, routes, lookups),
            _ => by_callgrind(shape, routes, lookups),
        };
        if let (Some(none), Some(some)) = (count(0)?, count(COUNTED)?) {
            return Ok((name, Some(some.saturating_sub(none) / u64::try_from(COUNTED)?)));
        }
    }
    Ok(("none", None))
}

fn own(shape: Shape, routes: usize, lookups: usize) -> anyhow::Result<Vec<String>> {
    let program = std::env::current_exe()?.display().to_string();
    let words = ["--routes", &routes.to_string(), "--only", &lookups.to_string(), "--shape", shape.word()];
    Ok(std::iter::once(program).chain(words.map(str::to_owned)).collect())
}

fn by_perf(shape: Shape, routes: usize, lookups: usize) -> anyhow::Result<Option<u64>> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "instructions:u"]).args(own(shape, routes, lookups)?);
    let Some(told) = told(perf)? else { return Ok(None) };
    let line = told.lines().find(|line| line.contains("instructions"));
    Ok(line.and_then(|line| line.split(',').next()).and_then(|number| number.parse().ok()))
}

fn by_callgrind(shape: Shape, routes: usize, lookups: usize) -> anyhow::Result<Option<u64>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).args(own(shape, routes, lookups)?);
    let Some(told) = told(valgrind)? else { return Ok(None) };
    let line = told.lines().find_map(|line| line.split_once("Collected :"));
    Ok(line.and_then(|(_, number)| number.trim().parse().ok()))
}

/// What a program says aloud; `None` where there is no such program, or it fails.
fn told(mut program: Command) -> anyhow::Result<Option<String>> {
    match program.stdin(Stdio::null()).stdout(Stdio::null()).output() {
        Ok(output) => Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<u64> {
    Ok(memory::resident(std::process::id())?)
}

fn print(costs: &[Cost]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| match | routes | instructions | counted by | ns | built in ms | bytes a route |")?;
    writeln!(out, "|---|---:|---:|---|---:|---:|---:|")?;
    for cost in costs {
        let instructions = cost.instructions.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let Cost { routes, counter, nanoseconds, build_milliseconds, bytes_per_route, .. } = cost;
        writeln!(
            out,
            "| {} | {routes} | {instructions} | {counter} | {nanoseconds:.0} | {build_milliseconds:.1} | {bytes_per_route} |",
            cost.shape.word()
        )?;
    }
    Ok(())
}

fn print_changes(changes: &[Change]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\n| routes | read ms | snapshot ms | taken up ms | every route made ms | taken up again ms | dropped ms | bytes a route: configuration / snapshot / worker |"
    )?;
    writeln!(out, "|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for change in changes {
        let Change { routes, read, snapshot, taken_up, made, taken_up_again, dropped, bytes_per_route } = change;
        let [config, table, worker] = bytes_per_route;
        writeln!(
            out,
            "| {routes} | {read:.1} | {snapshot:.1} | {taken_up:.2} | {made:.1} | {taken_up_again:.2} | {dropped:.1} | {config} / {table} / {worker} |"
        )?;
    }
    Ok(())
}
