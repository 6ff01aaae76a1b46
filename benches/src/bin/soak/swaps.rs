//! A thousand swaps in a minute under load, in rounds with the same load without swaps, and with the same swaps in another
//! proxy beside it, which has no load: what those cost is the machine's.
//!
//! Every swap brings a stamper that was never seen before, so each is compiled. Every fourth time an SDK filter behind it is
//! swapped too, every twentieth time for bytes that are new. Filters that do nothing stand behind both: they keep the worker
//! busy at a pace that leaves compilations room on the core of the load.

mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate_benches::http::{ANSWERED, ASKED, SEEN};
use tollgate_benches::origin::Origin;

use crate::guests::{distinct, stamper};
use crate::memory;
use crate::section::Section;
use crate::stage::{Proxy, Stage, replace};
use crate::traffic::{Outcome, Traffic};

/// Filters that do nothing, by default.
pub(crate) const BALLAST: u16 = 48;
/// The part of the worker's core that the load is to take, by default.
pub(crate) const SHARE: f64 = 0.77;
/// The most of what it can do that is asked of the core that makes the load.
const PUSH: f64 = 0.92;
/// Swaps while the pace is found.
const WARM_SWAPS: u64 = 40;
/// The part of a run's time in which nothing happens before the memory is looked at.
const REST: u32 = 6;
/// The part of the swaps that is to be taken over: where two come at once, the newer wins.
const TAKEN: f64 = 0.95;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Runs without swaps, with swaps beside, and with swaps.
    pub(crate) rounds: u16,
    /// How long each run takes.
    pub(crate) time: Duration,
    /// Swaps in each run that has them.
    pub(crate) swaps: u64,
    /// Filters that do nothing.
    pub(crate) ballast: u16,
    /// The part of the worker's core that the load is to take.
    pub(crate) share: f64,
}

/// See the module.
pub(crate) fn run(stage: &Stage, amount: Amount) -> anyhow::Result<Section> {
    let Amount { rounds, time, swaps, ballast, share } = amount;
    let title = format!("swaps: {rounds} × {swaps} swaps in {} s, and as long without, twice", time.as_secs());
    let mut section = Section::new(&title);
    let origin = stage.origin()?;
    let (mut swapper, proxy) = begin(stage, &origin, "stamp", ballast)?;
    let resident = || memory::resident(proxy.id());
    let fresh = resident()?;
    let load = calibrate(&proxy, &mut swapper, share, &mut section)?;
    // Afterwards everything has been needed once that is kept: generations to go back to, room in the heap of each thread.
    measure(&proxy, load, time, Some((&mut swapper, swaps)))?;
    let (mut beside, other) = begin(stage, &origin, "beside", ballast)?;
    let before = resident()?;
    let generation = || proxy.metric("tollgate_filter_generation", "filter=\"stamp\"");
    let serving = generation()?;
    let (runs, seen) = memory::during(proxy.id(), || -> anyhow::Result<Vec<Round>> {
        let run = |swapper: Option<&mut Swapper>| measure(&proxy, load, time, swapper.map(|swapper| (swapper, swaps)));
        (0..rounds)
            .map(|_| {
                Ok(Round { quiet: run(None)?, beside: run(Some(&mut beside))?, swapping: run(Some(&mut swapper))? })
            })
            .collect()
    });
    report::judge(&mut section, &runs?, before, amount);
    let (made, given) = (generation()? - serving, u64::from(rounds) * swaps);
    section.must(
        "stampers that were given / generations that were made of them",
        made >= given as f64 * TAKEN,
        format!("{given} / {made}"),
    );
    section.figure("swaps of the SDK filter behind them", swapper.others);
    report::remember(&mut section, (fresh, before, resident()?), &seen);
    let vms = proxy.metric("tollgate_filter_instances", "filter=\"stamp\"")?;
    section.must("VMs of the stamper after the last swap, one worker", vms == 1.0, vms);
    section.figure("lines of level ERROR in its log", proxy.lines_with(&["ERROR"]));
    section.must("SIGTERM ends both proxies", proxy.end() && other.end(), "exit code 0");
    Ok(section)
}

/// Runs one after the other.
struct Round {
    /// Nothing is swapped.
    quiet: Run,
    /// The same is swapped in the other proxy.
    beside: Run,
    /// Swaps.
    swapping: Run,
}

/// One run.
struct Run {
    outcome: Outcome,
    /// Seconds; more than were meant where the load could not keep its pace.
    wall: f64,
    /// The part of its core that the worker used.
    worker: f64,
    /// How long the worker was ready to run and had no core.
    waited: Duration,
    /// The part of a core that the rest of the proxy used.
    rest: f64,
    /// Bytes of memory after a rest.
    resident: u64,
}

fn begin(stage: &Stage, origin: &Origin, name: &str, ballast: u16) -> anyhow::Result<(Swapper, Proxy)> {
    let other = stage.filter("filter_headers.wasm")?;
    let swapper = Swapper {
        stamper: stage.place(&format!("{name}.wasm"), &stamper(1, 0)?)?,
        headers: stage.place(&format!("{name}-headers.wasm"), &other)?,
        other,
        number: 1,
        others: 0,
    };
    let noop = stage.place("noop.wasm", &stage.filter("filter_noop.wasm")?)?;
    let ballast = |each: fn(u16, &Path) -> String| (0..ballast).map(|n| each(n, &noop)).collect::<String>();
    let named = ballast(|n, noop| format!("  noop{n}: {{ wasm: {noop:?} }}\n"));
    let listed = ballast(|n, _| format!(", noop{n}"));
    let proxy = stage.start(&format!(
        "cache: off\nfilters:\n{named}  stamp: {{ wasm: {:?} }}\n  headers:\n    wasm: {:?}\n    config:\n      \
         request: {{ add: {{ {}: \"{}\" }} }}\n      response: {{ add: {{ {}: \"{}\" }} }}\n\
         routes: [{{ to: \"http://{}\", filters: [stamp, headers{listed}] }}]\n",
        swapper.stamper,
        swapper.headers,
        ASKED.0,
        ASKED.1,
        ANSWERED.0,
        ANSWERED.1,
        origin.address()
    ))?;
    Ok((swapper, proxy))
}

/// Finds the pace at which the worker is as busy as it should be, and has some swaps done.
fn calibrate(proxy: &Proxy, swapper: &mut Swapper, share: f64, section: &mut Section) -> anyhow::Result<Traffic> {
    let time = Duration::from_secs(2);
    let load =
        Traffic { address: proxy.address, path: SEEN, http1: 8, h2c: 4, streams: 4, rate: None, time, stamped: true };
    let Run { outcome, worker, .. } = measure(proxy, load, time, Some((swapper, WARM_SWAPS)))?;
    anyhow::ensure!(outcome.answered > 0, "no answer: {:?}\n{}", outcome.first, proxy.last_words());
    let most = outcome.answered as f64 / time.as_secs_f64();
    let rate = most * (share / worker).min(PUSH);
    section.figure(
        "as fast as load and proxy can",
        format!("{most:.0} requests/s, worker at {:.0} % of its core", worker * 100.0),
    );
    section.figure("pace", format!("{rate:.0} requests/s over 8 HTTP/1.1 and 4 h2c connections of 4 streams"));
    Ok(Traffic { rate: Some(rate), ..load })
}

fn measure(proxy: &Proxy, load: Traffic, time: Duration, swaps: Option<(&mut Swapper, u64)>) -> anyhow::Result<Run> {
    let load = Traffic { time, ..load };
    let swapping = swaps.map(|(swapper, swaps)| swapper.prepare(swaps).map(|swaps| (&*swapper, swaps))).transpose()?;
    let (began, worker, all) = (Instant::now(), proxy.worker_cpu()?, proxy.cpu()?);
    let waited = proxy.worker_waited()?;
    let outcome = thread::scope(|scope| {
        let loading = scope.spawn(|| load.run());
        if let Some((swapper, swaps)) = swapping {
            swapper.run(time, &swaps)?;
        }
        loading.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    })?;
    let wall = began.elapsed().as_secs_f64();
    let used = (proxy.worker_cpu()? - worker).as_secs_f64();
    let rest = proxy.cpu()?.saturating_sub(all).as_secs_f64() - used;
    let waited = proxy.worker_waited()?.saturating_sub(waited);
    thread::sleep(time / REST);
    let resident = memory::resident(proxy.id())?;
    Ok(Run { outcome, wall, worker: used / wall, waited, rest: rest.max(0.0) / wall, resident })
}

/// Who replaces the files.
struct Swapper {
    stamper: PathBuf,
    headers: PathBuf,
    /// The bytes of the SDK filter.
    other: Vec<u8>,
    /// Of the last stamper.
    number: u64,
    /// Swaps of the SDK filter.
    others: u64,
}

/// What one swap brings.
struct Swap {
    stamper: Vec<u8>,
    other: Option<Vec<u8>>,
}

impl Swapper {
    /// Made before anything is measured: it takes longer than many a compilation.
    fn prepare(&mut self, swaps: u64) -> anyhow::Result<Vec<Swap>> {
        (0..swaps).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> anyhow::Result<Swap> {
        self.number += 1;
        let other = self.number.is_multiple_of(4).then(|| {
            self.others += 1;
            let fresh = self.others.is_multiple_of(5);
            distinct(&self.other, if fresh { self.others } else { self.others % 2 })
        });
        Ok(Swap { stamper: stamper(self.number, 0)?, other })
    }

    fn run(&self, time: Duration, swaps: &[Swap]) -> anyhow::Result<()> {
        let (began, period) = (Instant::now(), time.div_f64(swaps.len() as f64));
        for (place, swap) in swaps.iter().enumerate() {
            let due = began + period.mul_f64(place as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.swap(swap).context("cannot replace a module")?;
        }
        Ok(())
    }

    fn swap(&self, swap: &Swap) -> io::Result<()> {
        replace(&self.stamper, &swap.stamper)?;
        swap.other.iter().try_for_each(|other| replace(&self.headers, other))
    }
}
