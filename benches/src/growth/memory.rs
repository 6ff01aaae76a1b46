//! A proxy that holds more: plugins of one module, modules that all differ, VMs, connections that do nothing.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{READINGS, Reach, line};
use crate::error::BenchError;
use crate::field::Field;
use crate::load::{Ask, Load};
use crate::results::{Curve, Series};
use crate::rounds;
use crate::target::filters;
use crate::target::tollgate::{MARK_NOTHING, NAME, quiet_door, quoted};
use crate::target::{Chain, Door, Setting, Target, ask_at};

const MIB: f64 = 1048576.0;
/// How long connections are left alone before the memory is looked at: the proxy gives buffers back after a rest.
const REST: Duration = Duration::from_secs(1);

/// Plugins of one module, as many modules that all differ, and VMs of one module.
pub(super) fn plugins(field: &Field, reach: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = reach.sizes(&[1, 10, 30, 100, 300, 1_000]);
    let setting = field.setting(Door::Plain, 1);
    let module = filters::modules(Chain::Noops(1), &field.cast.tollgate.filters, setting.folder)?;
    let module = module.into_iter().next().map(|module| module.path).unwrap_or_default();
    let bytes = fs::read(&module).map_err(BenchError::while_doing("reading a module"))?;
    let same = |_| Ok(module.clone());
    let distinct = |place: usize| {
        let path = setting.folder.join(format!("module-{place}.wasm"));
        let written = fs::write(&path, filters::distinct(&bytes, place));
        written.map(|()| path).map_err(BenchError::while_doing("writing a module"))
    };
    let plugins = counts.iter().map(|count| Ok((*count, vec![held(field, &setting, 1, *count, same)?])));
    let modules = counts.iter().map(|count| Ok((*count, vec![held(field, &setting, 1, *count, distinct)?])));
    let curve = Curve {
        name: "plugins".into(),
        x: "plugins of one module".into(),
        y: "MiB in memory".into(),
        tenfold: false,
        unit: "KiB a plugin".into(),
        scale: 1024.0,
        wanted: "two VMs, that of the worker and one to spare, and the image that others are made of".into(),
        most: None,
        note: String::new(),
        series: vec![line(
            "a noop filter of the Rust SDK, one worker",
            plugins.collect::<Result<Vec<_>, BenchError>>()?,
        )],
    };
    let distinct = Curve {
        name: "modules".into(),
        x: "modules that all differ".into(),
        unit: "KiB a module".into(),
        wanted: "its code besides".into(),
        series: vec![line(
            "a noop filter of the Rust SDK, one worker",
            modules.collect::<Result<Vec<_>, BenchError>>()?,
        )],
        ..curve.clone()
    };
    let several = if reach == Reach::Whole { 100 } else { 10 };
    let vms = Curve {
        name: "vms".into(),
        x: format!("VMs of {several} plugins of one module, which each have one for a worker and one to spare"),
        y: "MiB more than without plugins".into(),
        unit: "KiB a VM".into(),
        wanted: "at most 64 KiB for each further VM".into(),
        most: Some(64.0),
        series: vec![line("a noop filter of the Rust SDK, 1 to 8 workers", vms(field, &setting, several, same)?)],
        ..curve.clone()
    };
    Ok(vec![curve, distinct, vms])
}

/// Mebibytes that so many plugins take, for each number of VMs that they have in all.
fn vms(
    field: &Field,
    setting: &Setting<'_>,
    plugins: usize,
    module: impl Fn(usize) -> Result<PathBuf, BenchError> + Copy,
) -> Result<Vec<(usize, Vec<f64>)>, BenchError> {
    let more = |workers: usize| {
        Ok(held(field, setting, workers, plugins, module)? - held(field, setting, workers, 0, module)?)
    };
    let readings = |workers: usize| {
        let readings = (0..READINGS).map(|_| more(workers)).collect::<Result<_, BenchError>>()?;
        Ok((plugins * (workers + 1), readings))
    };
    [1, 2, 3, 4, 6, 8].into_iter().map(readings).collect()
}

/// Mebibytes of a proxy of so many workers and plugins after its first answer.
fn held(
    field: &Field,
    setting: &Setting<'_>,
    workers: usize,
    plugins: usize,
    module: impl Fn(usize) -> Result<PathBuf, BenchError>,
) -> Result<f64, BenchError> {
    let (mut beside, mut listener) = ("filters:\n".to_owned(), format!("{MARK_NOTHING}  routes:\n"));
    let to = setting.origin;
    for place in 0..plugins {
        let path = quoted(&module(place)?);
        // A string takes every write. The configuration makes each a plugin of its own.
        let _ = writeln!(beside, "  plugin-{place}: {{ wasm: {path}, config: \"{place}\" }}");
        let _ = writeln!(
            listener,
            "  - {{ match: {{ path: /plugin-{place}/ }}, to: \"http://{to}\", filters: [plugin-{place}] }}"
        );
    }
    let _ = writeln!(listener, "  - {{ to: \"http://{to}\" }}");
    let (name, beside) = (format!("{NAME}, {plugins} plugins"), if plugins == 0 { "" } else { beside.as_str() });
    let plan = field.cast.tollgate.plan_with(name, workers, beside, &listener, setting)?;
    mebibytes(&field.start_anywhere(plan, setting)?)
}

/// Five hundred to eight thousand, each of which asked once and does nothing any more.
pub(super) fn idle(field: &Field, reach: Reach) -> Result<Vec<Curve>, BenchError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    raised.map_err(|error| BenchError::while_doing("raising the limit of descriptors")(error.into()))?;
    let most = if reach == Reach::Whole { 8_000 } else { 2_000 };
    let counts: Vec<usize> =
        [250, 500, 1_000, 2_000, 4_000, 8_000].into_iter().filter(|count| *count <= most).collect();
    let ways = [("HTTP/1.1", Door::Plain), ("HTTP/2", Door::H2c), ("HTTP/1.1 with TLS", Door::Tls)];
    let series = ways.into_iter().map(|(name, door)| resting(field, name, door, &counts));
    Ok(vec![Curve {
        name: "idle".into(),
        x: "idle connections".into(),
        y: "MiB in memory".into(),
        tenfold: false,
        unit: "KiB a connection".into(),
        scale: 1024.0,
        wanted: "at most 8 KiB each over HTTP/1.1 without TLS".into(),
        most: Some(8.0),
        note: String::new(),
        series: series.collect::<Result<_, _>>()?,
    }])
}

fn resting(field: &Field, name: &str, door: Door, counts: &[usize]) -> Result<Series, BenchError> {
    let readings = (0..READINGS).map(|_| opened(field, door, counts)).collect::<Result<Vec<_>, _>>()?;
    let at = |place: usize| readings.iter().filter_map(|reading| reading.get(place).copied()).collect();
    Ok(line(name, counts.iter().copied().enumerate().map(|(place, count)| (count, at(place)))))
}

/// Mebibytes of a proxy after each number of connections.
fn opened(field: &Field, door: Door, counts: &[usize]) -> Result<Vec<f64>, BenchError> {
    let setting = field.setting(door, 1);
    let beside = "limits: { idle_timeout: 1h, connections: 100000 }\n";
    let said = quiet_door(&setting) + "  routes: [{ to: echo }]\n";
    let plan = field.cast.tollgate.plan_with(format!("{NAME}, idle"), 1, beside, &said, &setting)?;
    let mut target = field.start_unproven(plan, &setting)?;
    let (mut kept, mut found, mut open) = (Vec::new(), Vec::new(), 0);
    for count in counts {
        let ask = ask_at(door, target.address, count - open, 1);
        let ask = ask.map(|ask| Ask { body: None, ..ask });
        let asked = ask.and_then(|ask| Load::open(&ask)).and_then(|mut load| {
            let tally = load.ask_each()?;
            kept.push(load);
            Ok(tally)
        });
        rounds::accept(&mut target, &[asked.map_err(BenchError::while_doing("opening connections"))?])?;
        open = *count;
        thread::sleep(REST);
        found.push(mebibytes(&target)?);
    }
    Ok(found)
}

fn mebibytes(target: &Target) -> Result<f64, BenchError> {
    let used = target.memory().map_err(BenchError::while_doing("reading memory"))?;
    Ok(used.resident as f64 / MIB)
}
