//! From the start of the process to its first answer, with ten modules that were never compiled and with ten that were.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::guests::distinct;
use crate::section::{Section, Times};
use crate::stage::Stage;

const MODULES: u64 = 10;

pub(super) fn run(stage: &Stage, section: &mut Section) -> anyhow::Result<()> {
    let origin = stage.origin()?;
    let filter = stage.filter("filter_headers.wasm")?;
    let (mut filters, mut chain) = (String::new(), String::new());
    for number in 0..MODULES {
        let module = stage.place(&format!("start-{number}.wasm"), &distinct(&filter, number))?;
        writeln!(filters, "  f{number}: {{ wasm: {module:?}, config: {{}} }}")?;
        write!(chain, "f{number}, ")?;
    }
    let rest = format!("filters:\n{filters}routes: [{{ to: \"http://{}\", filters: [{chain}] }}]\n", origin.address());
    let times = if stage.short { 3 } else { 7 };
    let cache = stage.folder.path().join("cache");
    let (mut cold, mut known) = (Vec::new(), Vec::new());
    for _ in 0..times {
        remove(&cache)?;
        for found in [&mut cold, &mut known] {
            found.push(once(stage, &cache, &rest)?);
        }
    }
    let kept = fs::read_dir(&cache).map(Iterator::count).unwrap_or_default();
    section.figure("process started → first answer, ten SDK modules never seen", Times::of(cold));
    let note = if kept == 0 { " (NOTHING WAS IN THE CACHE: this proxy keeps no compiled modules)" } else { "" };
    section.figure("the same, ten modules from the cache", format!("{}{note}", Times::of(known)));
    Ok(())
}

fn once(stage: &Stage, cache: &Path, rest: &str) -> anyhow::Result<Duration> {
    let (proxy, took) = stage.start_timed(&format!("cache: {{ dir: {cache:?} }}\n{rest}"))?;
    proxy.end();
    Ok(took)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
