//! A proxy that holds more: plugins of one module, modules that all differ, connections that do nothing.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Reach, line};
use crate::error::BenchError;
use crate::field::Field;
use crate::load::{Ask, Load};
use crate::results::{Curve, Series};
use crate::rounds;
use crate::target::filters;
use crate::target::tollgate::{MARK_NOTHING, NAME, quoted};
use crate::target::{Chain, Door, Setting, Target, ask_at};

const MIB: f64 = 1048576.0;
/// How long connections are left alone before the memory is looked at: the proxy gives buffers back after a rest.
const REST: Duration = Duration::from_secs(1);

/// Plugins of one module, then as many modules that all differ; one VM each, as there is one worker.
pub(super) fn plugins(field: &Field, reach: Reach) -> Result<Vec<Curve>, BenchError> {
    let counts = reach.sizes(&[1, 10, 30, 100, 300, 1_000]);
    let setting = field.setting(Door::Plain, 1);
    let module = filters::modules(Chain::Noops(1), &field.cast.tollgate.filters, setting.folder)?;
    let module = module.into_iter().next().map(|module| module.path).unwrap_or_default();
    let same = |_| Ok(module.clone());
    let bytes = fs::read(&module).map_err(BenchError::while_doing("reading a module"))?;
    let distinct = |place: usize| {
        let path = setting.folder.join(format!("module-{place}.wasm"));
        let written = fs::write(&path, filters::distinct(&bytes, place));
        written.map(|()| path).map_err(BenchError::while_doing("writing a module"))
    };
    let plugins = memory_of(field, &setting, &counts, same)?;
    let modules = memory_of(field, &setting, &counts, distinct)?;
    let curve = Curve {
        name: "plugins".into(),
        x: "plugins of one module".into(),
        y: "MiB in memory".into(),
        tenfold: false,
        unit: "KiB a plugin".into(),
        scale: 1024.0,
        wanted: "at most 64 KiB for each further VM".into(),
        most: Some(64.0),
        series: vec![line("a noop filter of the Rust SDK, one worker", plugins)],
    };
    let distinct = Curve {
        name: "modules".into(),
        x: "modules that all differ".into(),
        unit: "KiB a module".into(),
        wanted: "no more than its code and one VM".into(),
        most: None,
        series: vec![line("a noop filter of the Rust SDK, one worker", modules)],
        ..curve.clone()
    };
    Ok(vec![curve, distinct])
}

/// Mebibytes of a proxy after its first answer, for each number of plugins.
fn memory_of(
    field: &Field,
    setting: &Setting<'_>,
    counts: &[usize],
    module: impl Fn(usize) -> Result<PathBuf, BenchError>,
) -> Result<Vec<(usize, Vec<f64>)>, BenchError> {
    let mut points = Vec::new();
    for count in counts {
        let (mut beside, mut listener) = ("filters:\n".to_owned(), format!("{MARK_NOTHING}  routes:\n"));
        let to = setting.origin;
        for place in 0..*count {
            let path = quoted(&module(place)?);
            // A string takes every write. The configuration makes each a plugin of its own.
            let _ = writeln!(beside, "  plugin-{place}: {{ wasm: {path}, config: \"{place}\" }}");
            let _ = writeln!(
                listener,
                "  - {{ match: {{ path: /plugin-{place}/ }}, to: \"http://{to}\", filters: [plugin-{place}] }}"
            );
        }
        let _ = writeln!(listener, "  - {{ to: \"http://{to}\" }}");
        let name = format!("{NAME}, {count} plugins");
        let target =
            field.start_anywhere(field.cast.tollgate.plan_with(name, 1, &beside, &listener, setting)?, setting)?;
        points.push((*count, vec![mebibytes(&target)?]));
    }
    Ok(points)
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
        series: series.collect::<Result<_, _>>()?,
    }])
}

fn resting(field: &Field, name: &str, door: Door, counts: &[usize]) -> Result<Series, BenchError> {
    let setting = field.setting(door, 1);
    let beside = "limits: { idle_timeout: 1h, connections: 100000 }\n";
    let said = "  routes: [{ to: echo }]\n";
    let plan = field.cast.tollgate.plan_with(format!("{NAME}, idle"), 1, beside, said, &setting)?;
    let mut target = field.start_unproven(plan, &setting)?;
    let (mut kept, mut points, mut open) = (Vec::new(), Vec::new(), 0);
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
        points.push((*count, vec![mebibytes(&target)?]));
    }
    Ok(line(name, points))
}

fn mebibytes(target: &Target) -> Result<f64, BenchError> {
    let used = target.memory().map_err(BenchError::while_doing("reading memory"))?;
    Ok(used.resident as f64 / MIB)
}
