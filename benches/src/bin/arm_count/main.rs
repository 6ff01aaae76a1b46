//! Counts what the *host* set and a reduced *proxy* set execute on Arm and on x86-64, without a machine of Arm: under qemu,
//! beside the same work under callgrind. `benches/arm.sh` builds and brings what it needs.
//!
//! It tells no time, for an emulator has none to tell, and says nothing of isolation, for qemu keeps what `MADV_DONTNEED` is to
//! drop.

mod host;
mod machine;
mod object;
mod proxy;
mod table;
mod trace;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;
use tollgate::filter::digest::Digest;
use tollgate_benches::http::header_filter;

use crate::machine::Machine;
use crate::table::{Report, Row, Table};

/// Counts instructions on Arm, emulated, beside those on this machine of x86-64.
#[derive(Debug, Parser)]
#[command(name = "arm-count")]
struct Arguments {
    /// qemu's program for Arm
    #[arg(long, value_name = "FILE", default_value = "target/arm/bin/qemu-aarch64")]
    qemu: PathBuf,
    /// valgrind
    #[arg(long, value_name = "FILE", default_value = "valgrind")]
    valgrind: PathBuf,
    /// What the C library of this machine is told (`GLIBC_TUNABLES`), so that counts do not depend on its processor
    #[arg(long, value_name = "TEXT", default_value = "")]
    tunables: OsString,
    /// The folder of `host-run` and `arm-proxy` for Arm
    #[arg(long, value_name = "FOLDER", default_value = "target/aarch64-unknown-linux-gnu/release")]
    arm: PathBuf,
    /// Likewise for this machine
    #[arg(long, value_name = "FOLDER", default_value = "target/release")]
    x86: PathBuf,
    /// The folder of the filters that `make filters` builds
    #[arg(long, value_name = "FOLDER", default_value = "target/wasm32-wasip1/filter")]
    filters: PathBuf,
    /// Where compiled code is kept meanwhile; what was kept before is dropped
    #[arg(long, value_name = "FOLDER", default_value = "target/arm/code")]
    code: PathBuf,
    /// Count only what is named so (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write the report here too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A sentence for the report, such as the day and the kind of machine (may be repeated)
    #[arg(long, value_name = "SENTENCE")]
    says: Vec<String>,
}

/// One processor's share of all that is needed.
struct Sides {
    host: host::Side,
    proxy: proxy::Side,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (arm, x86) = (arguments.side("aarch64")?, arguments.side("x86-64")?);
    let tables = vec![arguments.host(&arm, &x86)?, arguments.proxies(&arm, &x86)?, arguments.code(&arm, &x86)?];
    let report = Report { method: arguments.method()?, tables };
    let text = report.to_string();
    if let Some(file) = &arguments.report {
        fs::write(file, &text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    io::stdout().lock().write_all(text.as_bytes())?;
    let absent = report.tables.iter().map(|table| table.absent.len()).sum::<usize>();
    ensure!(absent == 0, "{absent} of the rows could not be counted; the report says why");
    Ok(())
}

/// The filters whose code is looked at: those that the host set compiles.
const MODULES: [(&str, &str); 2] = [("code-noop", "filter_noop.wasm"), ("code-headers", "filter_headers.wasm")];

impl Arguments {
    /// One side, with a folder of its own for code, so that what belongs to which processor is never a question.
    fn side(&self, name: &str) -> anyhow::Result<Sides> {
        let (machine, programs) = match name {
            "aarch64" => (Machine::Arm(found(&self.qemu)?), &self.arm),
            _ => (Machine::X86 { valgrind: found(&self.valgrind)?, tunables: self.tunables.clone() }, &self.x86),
        };
        let (host_run, arm_proxy) = (found(&programs.join("host-run"))?, found(&programs.join("arm-proxy"))?);
        let target = self.code.join(name);
        if target.exists() {
            fs::remove_dir_all(&target).with_context(|| format!("{} cannot be removed", target.display()))?;
        }
        fs::create_dir_all(target.join("wasm32-wasip1"))?;
        symlink(self.filters()?, target.join("wasm32-wasip1/filter"))?;
        let target = target.canonicalize()?;
        let cache = target.join("proxy-code");
        let host = host::Side { machine: machine.clone(), program: host_run, target };
        Ok(Sides { host, proxy: proxy::Side { machine, program: arm_proxy, cache } })
    }

    fn filters(&self) -> anyhow::Result<PathBuf> {
        let missing = || format!("{} is missing; `make filters` builds it", self.filters.display());
        self.filters.canonicalize().with_context(missing)
    }

    /// True for what is to be counted.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn host(&self, arm: &Sides, x86: &Sides) -> anyhow::Result<Table> {
        say("compiling the host set's modules on both");
        x86.host.prepare()?;
        arm.host.prepare()?;
        let mut table = Table::new("The host set", "instructions of one turn");
        for piece in host::pieces(&x86.host.program)? {
            if self.wants(&piece.name) {
                table.add(&piece.name, host::count(&arm.host, &x86.host, &piece));
            }
        }
        Ok(table)
    }

    fn proxies(&self, arm: &Sides, x86: &Sides) -> anyhow::Result<Table> {
        let mut table = Table::new("The proxy", "instructions of one request on its worker");
        for plan in self.plans()? {
            if self.wants(plan.name) {
                table.add(plan.name, proxy::count(&arm.proxy, &x86.proxy, &plan));
            }
        }
        Ok(table)
    }

    fn plans(&self) -> anyhow::Result<Vec<proxy::Plan>> {
        let filters = self.filters()?;
        let plan = |name, about, filter, adds| proxy::Plan { name, about, filter, adds };
        let noop = Some((filters.join("filter_noop.wasm"), "{}".to_owned()));
        let header = Some((filters.join("filter_headers.wasm"), header_filter()));
        Ok(vec![
            plan("proxy", "HTTP/1.1 kept alive, 13 bytes from an origin, no filter", None, false),
            plan("proxy-noop", "the same through a filter that does nothing", noop, false),
            plan("proxy-header", "through one that gets a field and adds one to each head", header, true),
        ])
    }

    fn code(&self, arm: &Sides, x86: &Sides) -> anyhow::Result<Table> {
        let mut table = Table::new("Compiled code", "bytes of all functions");
        for (name, file) in MODULES.into_iter().filter(|(name, _)| self.wants(name)) {
            let path = self.filters()?.join(file);
            let module = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let about = format!("of {} bytes of wasm", module.len());
            let digest = Digest::of(&module).to_string();
            table.add(name, host::code(&arm.host, &x86.host, name, about, &digest));
        }
        Ok(table)
    }

    /// How it was counted. The programs are named with what they say of their versions.
    fn method(&self) -> anyhow::Result<Vec<String>> {
        let (qemu, valgrind) = (version(&self.qemu)?, version(&self.valgrind)?);
        let mut sentences = vec![
            format!("Counted without a machine of Arm: the aarch64 column under {qemu} as a {}, one instruction", machine::PROCESSOR),
            format!("after the other (`-one-insn-per-tb -d nochain,exec`), the x86-64 column under {valgrind} (callgrind). A figure is what 2n"),
            "turns execute less what n execute, over n, on the thread that makes them. These are counts of two instruction".to_owned(),
            "sets, not times: an emulator has none to tell, and isolation is not judged under it.".to_owned(),
        ];
        sentences.extend(self.says.iter().cloned());
        Ok(sentences)
    }
}

impl Table {
    fn new(title: &'static str, unit: &'static str) -> Table {
        Table { title, unit, rows: Vec::new(), absent: Vec::new() }
    }

    /// A row, or why there is none.
    fn add(&mut self, name: &str, row: anyhow::Result<Row>) {
        match row {
            Ok(row) => {
                say(&format!("{name}: {:.0} on aarch64, {:.0} on x86-64", row.arm, row.x86));
                self.rows.push(row);
            }
            Err(error) => {
                // What a program said goes to whoever waits, and not into a report.
                say(&format!("{name}: {error:#}"));
                self.absent.push((name.to_owned(), error.to_string()));
            }
        }
    }
}

/// A program's path, whole: its environment has nothing to look it up with.
fn found(program: &Path) -> anyhow::Result<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_name = program.components().count() == 1;
    let named = std::env::split_paths(&paths).filter(|_| is_name).map(|folder| folder.join(program));
    let found = named.chain([program.to_owned()]).find(|path| path.is_file());
    let found =
        found.with_context(|| format!("{} is missing; `make bench-arm` brings and builds it", program.display()))?;
    Ok(found.canonicalize()?)
}

/// The first line of what a program says of its version, without what stands in parentheses.
fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default();
    Ok(line.split(" (").next().unwrap_or_default().to_owned())
}

/// Tells whoever waits how far it is.
fn say(line: &str) {
    // Counting goes on without a listener.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
