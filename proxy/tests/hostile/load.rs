//! Modules that must not load: what `tollgate` says about each of them, and what it takes to find out.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;

use crate::common::until;
use crate::house::{status, tollgate};
use crate::modules;
use crate::row::Row;

/// What a command came to.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) errors: String,
    /// The most memory that it was seen to have, in KiB.
    pub(crate) memory: u64,
}

/// What a row's plugin is called.
pub(crate) fn plugin(name: &str) -> String {
    name.replace('/', "-")
}

/// Writes these modules and a configuration with one plugin for each.
pub(crate) fn configuration(folder: &Path, names: &[&str]) -> PathBuf {
    let mut text = "admin: off\nworkers: 1\nlisten: 127.0.0.1:0\nlimits: { compile_time: 3s }\nfilters:\n".to_owned();
    for name in names {
        let (plugin, path) = (plugin(name), folder.join(format!("{}.wasm", plugin(name))));
        std::fs::write(&path, modules::bytes(name)).unwrap();
        let budget = "budget: { time: 10ms, start: 300ms, memory: 4MiB }";
        writeln!(text, "  {plugin}: {{ wasm: {path:?}, {budget} }}").unwrap();
    }
    let plugins: Vec<String> = names.iter().map(|name| plugin(name)).collect();
    writeln!(text, "routes: [{{ to: echo, filters: [{}] }}]", plugins.join(", ")).unwrap();
    let file = folder.join("tollgate.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs a command to its end, and watches its memory.
pub(crate) fn run(arguments: &[&str], file: &Path) -> Outcome {
    let mut child = tollgate(arguments, file).spawn().unwrap();
    let (mut stderr, mut stdout) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let output = thread::spawn(move || drop(stdout.read_to_end(&mut Vec::new())));
    let (mut memory, mut ended) = (0, None);
    until("the command ends", || {
        memory = memory.max(status(child.id(), "VmHWM"));
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    output.join().unwrap();
    Outcome { code: ended.unwrap().code(), errors: errors.join().unwrap(), memory }
}

/// What the text says about each plugin: the line with its code, and those that belong to it.
pub(crate) fn faults(errors: &str) -> Vec<String> {
    let mut faults: Vec<String> = Vec::new();
    for line in errors.lines() {
        match faults.last_mut() {
            Some(last) if line.starts_with(' ') => *last += &format!("\n{line}"),
            _ => faults.push(line.to_owned()),
        }
    }
    faults
}

/// What is wrong with what was said about a row.
pub(crate) fn judge(row: &Row, code: &str, says: &[&str], faults: &[String]) -> Option<String> {
    let start = format!("error[{code}]: plugin {:?}: ", plugin(row.name));
    let about = format!("plugin {:?}", plugin(row.name));
    let said: Vec<&String> = faults.iter().filter(|fault| fault.contains(&about)).collect();
    let fits = |fault: &str| fault.starts_with(&start) && says.iter().all(|part| fault.contains(part));
    match said[..] {
        [fault] if fits(fault) => None,
        _ => Some(format!("{}: {said:?}, not {code} {says:?}", row.name)),
    }
}
