//! Where scenarios play: a folder, an origin, and the proxy as a process of its own with one worker.
//!
//! The worker has a core for itself; load, origin and everything else of the proxy, compilation included, share another.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use rustix::thread::Pid;
use tempfile::TempDir;
use tollgate_benches::cores::{self, Cores};
use tollgate_benches::cpu;
use tollgate_benches::origin::Origin;
use tollgate_benches::process::Process;
use tollgate_benches::target::free_address;

use crate::client::{Client, get};

/// How long a proxy may take until it answers.
const START: Duration = Duration::from_secs(60);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(1);

/// What all scenarios share.
pub(crate) struct Stage {
    /// For modules, configurations and logs.
    pub(crate) folder: TempDir,
    /// None: nothing is kept on a core.
    pub(crate) cores: Option<Cores>,
    /// The program.
    pub(crate) tollgate: PathBuf,
    /// The folder of the filters' modules.
    pub(crate) filters: PathBuf,
    /// The short form of everything.
    pub(crate) short: bool,
}

impl Stage {
    /// A module of this repository.
    pub(crate) fn filter(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.filters.join(name);
        fs::read(&path).with_context(|| format!("{} cannot be read; `make filters` builds it", path.display()))
    }

    /// Puts a module into the folder, whole, in place of what is there, by a rename.
    pub(crate) fn place(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.folder.path().join(name);
        replace(&path, bytes)?;
        Ok(path)
    }

    /// An origin on the core of the load, which comes before ordinary threads there, where that is allowed.
    pub(crate) fn origin(&self) -> io::Result<Origin> {
        let origin = Origin::start(self.cores.map(|cores| cores.load))?;
        // Whether it may is told of the load.
        let _ = cpu::thread_named(std::process::id(), "origin").and_then(cores::put_first);
        Ok(origin)
    }

    /// Starts the proxy with `rest` below the lines that every scenario has, and waits until it answers.
    pub(crate) fn start(&self, rest: &str) -> anyhow::Result<Proxy> {
        let (proxy, _) = self.start_timed(rest)?;
        Ok(proxy)
    }

    /// The same, with the time from the start of the process to its first answer.
    pub(crate) fn start_timed(&self, rest: &str) -> anyhow::Result<(Proxy, Duration)> {
        self.start_as(|address| format!("listen: {address}\n{rest}"))
    }

    /// The same where everything but workers and admin endpoints is said for the address at which it is to answer.
    pub(crate) fn start_as(&self, said: impl FnOnce(SocketAddr) -> String) -> anyhow::Result<(Proxy, Duration)> {
        let (address, admin) = (free_address()?, free_address()?);
        let file = self.folder.path().join(format!("{}.yaml", address.port()));
        fs::write(&file, format!("workers: 1\nadmin: {{ listen: \"{admin}\" }}\n{}", said(address)))?;
        let words: [OsString; 4] = [self.tollgate.clone().into(), "run".into(), "--config".into(), file.into()];
        let log = self.folder.path().join(format!("{}.log", address.port()));
        let began = Instant::now();
        let mut process = Process::start("tollgate", words, log)?;
        let worker = wait(&mut process, address)?;
        let took = began.elapsed();
        if let Some(cores) = self.cores {
            cores::pin_thread(worker, cores.target).context("cannot keep the worker on its core")?;
        }
        Ok((Proxy { process, worker, address, admin }, took))
    }
}

fn wait(process: &mut Process, address: SocketAddr) -> anyhow::Result<Pid> {
    let deadline = Instant::now() + START;
    loop {
        match Client::connect(address).and_then(|mut client| client.ask("/", "")) {
            Ok(_) => return Ok(cpu::thread_named(process.id(), "worker-0")?),
            Err(error) if Instant::now() > deadline => bail!("{error}; {}", process.fate()),
            Err(_) => thread::sleep(LOOK),
        }
        if process.ended()?.is_some() {
            bail!("the proxy does not start: {}", process.fate());
        }
    }
}

/// Puts a file in place of another, whole, by a rename.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}

/// A running proxy, told to end when dropped.
pub(crate) struct Proxy {
    process: Process,
    worker: Pid,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Where it says how it is.
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time that its worker has used.
    pub(crate) fn worker_cpu(&self) -> io::Result<Duration> {
        cpu::of_thread(self.process.id(), self.worker)
    }

    /// How long its worker was ready to run and had no core.
    pub(crate) fn worker_waited(&self) -> io::Result<Duration> {
        cpu::waited_by(self.process.id(), self.worker)
    }

    /// CPU time that all of it has used.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        cpu::of_tree(self.process.id())
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) -> io::Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// The sum of the samples of a metric with these labels; zero when it has none.
    pub(crate) fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let page = get(self.admin, "/metrics")?;
        let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Lines of its log that contain all of these.
    pub(crate) fn lines_with(&self, parts: &[&str]) -> usize {
        let log = fs::read(self.process.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Tells it to end; true when it ended by itself and well.
    pub(crate) fn end(mut self) -> bool {
        self.process.end().is_some_and(|status| status.success())
    }
}
