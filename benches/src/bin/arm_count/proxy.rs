//! The reduced proxy set on both processors: what one proxied request executes on the worker, over a connection that is kept
//! alive, without filters and with one.
//!
//! Before anything is counted, the proxy has to do what it is for: bytes come from an origin, and the filter adds its fields.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tollgate_benches::http;
use tollgate_benches::origin::Origin;
use tollgate_benches::target::free_address;

use crate::host::per_turn;
use crate::machine::{Counted, Counting, Machine};
use crate::table::Row;

/// Requests before any that counts, so that what is made once has been made.
const WARM: u64 = 20;
/// Requests that count at first; twice as many follow.
const REQUESTS: u64 = 40;
/// How long a proxy that says each of its instructions may take to start, and to answer.
const START: Duration = Duration::from_secs(300);
const ANSWER: Duration = Duration::from_secs(60);
/// How often it is looked at while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is left alone, to see which threads work without being asked to.
const IDLE: Duration = Duration::from_secs(1);

/// One processor's `arm-proxy`, with its counter and a folder for code.
pub(super) struct Side {
    pub(super) machine: Machine,
    pub(super) program: PathBuf,
    pub(super) cache: PathBuf,
}

/// What a proxy is to do.
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The module of its filter, with its configuration.
    pub(super) filter: Option<(PathBuf, String)>,
    /// True where the filter adds [`http::ASKED`] and [`http::ANSWERED`].
    pub(super) adds: bool,
}

/// One plan on both sides.
pub(super) fn count(arm: &Side, x86: &Side, plan: &Plan) -> anyhow::Result<Row> {
    let (arm, x86) = (arm.request(plan)?, x86.request(plan)?);
    Ok(Row { name: plan.name.to_owned(), about: plan.about.to_owned(), arm, x86 })
}

impl Side {
    /// Instructions of one request on the worker: of twice as many less once as many.
    fn request(&self, plan: &Plan) -> anyhow::Result<f64> {
        // Code is made and kept first. Under valgrind, whose processor has less than the machine: code for another is made anew, by
        // threads that do more than the worker does.
        let making = if self.machine.counts_all_along() { Counting::Off } else { Counting::On };
        Running::start(self, plan, making)?.end()?;
        let mut running = Running::start(self, plan, Counting::On)?;
        running.ask(WARM)?;
        if self.machine.counts_all_along() { running.in_one_run() } else { self.in_two_runs(running, plan) }
    }

    /// Where counts are known at the end only: `first` has been warmed up, and one like it is asked twice as much.
    fn in_two_runs(&self, mut first: Running, plan: &Plan) -> anyhow::Result<f64> {
        first.ask(REQUESTS)?;
        let once = first.end()?;
        let mut second = Running::start(self, plan, Counting::On)?;
        second.ask(WARM + REQUESTS * 2)?;
        let twice = second.end()?;
        let worker = most(growth(&once, &twice)).context("no thread worked")?;
        per_turn(of(&once, worker), of(&twice, worker), REQUESTS)
    }
}

/// A proxy that serves, with an origin behind it and a client's connection to it.
struct Running {
    process: Counted,
    client: TcpStream,
    /// Held for their `Drop` alone.
    _origin: Origin,
    _folder: TempDir,
}

impl Running {
    /// Starts one and waits until it does what the plan says.
    fn start(side: &Side, plan: &Plan, counting: Counting) -> anyhow::Result<Running> {
        let (folder, origin, address) = (tempfile::tempdir()?, Origin::start(None)?, free_address()?);
        let file = folder.path().join("tollgate.yaml");
        fs::write(&file, config(plan, address, origin.address(), &side.cache))?;
        let mut process = side.machine.start(&side.program, &[file.into()], counting)?;
        let client = reached(address, &mut process)?;
        let mut running = Running { process, client, _origin: origin, _folder: folder };
        running.prove(plan)?;
        Ok(running)
    }

    /// Looks at what the origin sees and at what comes back.
    fn prove(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let answer = exchange(&mut self.client, http::SEEN)?;
        let (head, seen) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let added = [http::has_field(seen, http::ASKED), http::has_field(head, http::ANSWERED)];
        ensure!(
            head.starts_with("HTTP/1.1 200 ") && added == [plan.adds; 2],
            "{}: fields should {}be added, but it answered {answer:?}",
            plan.name,
            if plan.adds { "" } else { "not " }
        );
        Ok(())
    }

    /// Makes so many requests, one after the other.
    fn ask(&mut self, requests: u64) -> anyhow::Result<()> {
        for _ in 0..requests {
            let answer = exchange(&mut self.client, "/")?;
            ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(http::BODY), "it answered {answer:?}");
        }
        Ok(())
    }

    /// What one request costs where counts can be read meanwhile. They lag behind by what a pipe holds, each time alike.
    fn in_one_run(mut self) -> anyhow::Result<f64> {
        let before = self.process.so_far();
        thread::sleep(IDLE);
        let (begun, idle) = (Instant::now(), self.process.so_far());
        self.ask(REQUESTS)?;
        let once = self.process.so_far();
        self.ask(REQUESTS * 2)?;
        let (thrice, busy) = (self.process.so_far(), begun.elapsed());
        self.end()?;
        let worker =
            worker((&growth(&before, &idle), IDLE), (&growth(&idle, &thrice), busy)).context("no thread worked")?;
        let grown = |from, to| of(&growth(from, to), worker);
        per_turn(grown(&idle, &once), grown(&once, &thrice), REQUESTS)
    }

    /// Tells it to end. What each of its threads executed.
    fn end(mut self) -> anyhow::Result<Vec<u64>> {
        // The proxy is rid of its only connection first, so that it has nothing to wait for.
        drop(self.client);
        self.process.signal(Signal::TERM)?;
        self.process.finish()
    }
}

fn config(plan: &Plan, address: SocketAddr, origin: SocketAddr, cache: &Path) -> String {
    // A filter has as much time as it takes to say what it does.
    let budget = "budget: { time: 10s, start: 300s }";
    let filters = plan.filter.as_ref().map(|(module, config)| {
        format!("filters:\n- wasm: {:?}\n  config: {config}\n  {budget}\n", module.to_string_lossy())
    });
    let filters = filters.unwrap_or_default();
    format!(
        "workers: 1\nadmin: off\ncache: {{ dir: {cache:?} }}\nlisten: {address}\n{filters}routes:\n- to: http://{origin}\n"
    )
}

/// A connection to a proxy, as soon as it takes one.
fn reached(address: SocketAddr, process: &mut Counted) -> anyhow::Result<TcpStream> {
    let deadline = Instant::now() + START;
    loop {
        match TcpStream::connect(address) {
            Ok(client) => {
                client.set_read_timeout(Some(ANSWER))?;
                client.set_nodelay(true)?;
                return Ok(client);
            }
            Err(error) if Instant::now() > deadline || process.has_ended() => {
                return Err(error).with_context(|| process.said()).context("the proxy does not listen");
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// One request, and its whole answer.
fn exchange(client: &mut TcpStream, path: &str) -> anyhow::Result<String> {
    client.write_all(&http::request(path))?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    while http::answer(&answer)?.is_none() {
        let read = client.read(&mut bytes).context("the proxy does not answer")?;
        ensure!(read > 0, "the proxy hung up");
        answer.extend_from_slice(bytes.get(..read).unwrap_or_default());
    }
    Ok(String::from_utf8(answer)?)
}

/// What each thread executed between two counts; a thread that came since has no count before.
fn growth(before: &[u64], after: &[u64]) -> Vec<u64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect()
}

fn of(counts: &[u64], thread: usize) -> u64 {
    counts.get(thread).copied().unwrap_or(0)
}

/// The thread that did the most.
fn most(counts: Vec<u64>) -> Option<usize> {
    let all = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
    all.max_by_key(|(_, count)| *count).map(|(thread, _)| thread)
}

/// The thread that did the most more than it does when nobody asks; of both, what each did and in which time. Others, such as
/// the one that ticks, execute as much either way, and under an emulator that is a lot.
fn worker(idle: (&[u64], Duration), busy: (&[u64], Duration)) -> Option<usize> {
    let rate = |(counts, time): (&[u64], Duration), thread| of(counts, thread) as f64 / time.as_secs_f64();
    let more = (0..busy.0.len()).map(|thread| (thread, rate(busy, thread) - rate(idle, thread)));
    more.filter(|(_, more)| *more > 0.0).max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(thread, _)| thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_worker_is_who_works_when_asked_and_not_who_always_does() {
        // The first ticks, the second serves.
        assert_eq!(worker((&[300_000, 10], SECOND), (&[900_000, 600_000], SECOND * 3)), Some(1));
        assert_eq!(worker((&[300_000, 10], SECOND), (&[900_000, 30], SECOND * 3)), None);
    }

    #[test]
    fn a_thread_that_came_later_counts_from_nothing() {
        assert_eq!(growth(&[5], &[7, 3]), [2, 3]);
        assert_eq!(growth(&[5, 1], &[7]), [2]);
    }

    #[test]
    fn the_busiest_is_none_where_nothing_was_done() {
        assert_eq!(most(vec![1, 3, 2]), Some(1));
        assert_eq!(most(vec![0, 0]), None);
    }

    #[test]
    fn a_plan_is_a_configuration_that_the_proxy_understands() {
        let filter = Some((PathBuf::from("/a b/\"x\".wasm"), "{ \"a\": 1 }".to_owned()));
        let plan = Plan { name: "one", about: "", filter, adds: false };

        let text = config(&plan, ([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into(), Path::new("/c d"));

        tollgate_config::parse(&text, Path::new("/proxy.yaml")).unwrap();
    }
}
