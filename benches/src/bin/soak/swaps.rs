//! A thousand swaps in a minute under load, in pairs with the same load without swaps.
//!
//! Every swap brings a stamper that was never seen before, so each is compiled; every tenth has the size of an SDK filter.
//! Every fourth time an SDK filter behind it is swapped too, every twentieth time for bytes that are new.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate_benches::http::{ANSWERED, ASKED, SEEN};
use tollgate_benches::origin::Origin;

use crate::guests::{SDK_SIZE, distinct, stamper};
use crate::memory::{self, Seen};
use crate::section::{Section, Times, mebibytes};
use crate::stage::{Proxy, Stage, replace};
use crate::traffic::{Outcome, Traffic};

/// The part of the worker's core that the load is to take.
const SHARE: f64 = 0.78;
/// The most of what it can do that is asked of the core that makes the load.
const PUSH: f64 = 0.92;
/// Swaps before anything is measured, so that what the proxy keeps of modules is kept already.
const WARM_SWAPS: u64 = 40;
/// Within which part of what it was the memory is to come back.
const BACK_WITHIN: f64 = 1.05;

/// How much longer than meant a run may take before its load counts as behind its pace.
const BEHIND: f64 = 1.02;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Runs without and with swaps.
    pub(crate) pairs: u16,
    /// How long each run takes.
    pub(crate) time: Duration,
    /// Swaps in each run that has them.
    pub(crate) swaps: u64,
}

/// See the module.
pub(crate) fn run(stage: &Stage, amount: Amount) -> anyhow::Result<Section> {
    let Amount { pairs, time, swaps } = amount;
    let title = format!("swaps: {pairs} × {swaps} swaps in {} s, and as long without", time.as_secs());
    let mut section = Section::new(&title);
    let origin = Origin::start(stage.cores.map(|cores| cores.load))?;
    let (mut swapper, proxy) = begin(stage, &origin)?;
    let resident = || memory::resident(proxy.id());
    let fresh = resident()?;
    let load = calibrate(&proxy, &mut swapper, &mut section)?;
    let before = resident()?;
    let serving = proxy.metric("tollgate_filter_generation", "filter=\"stamp\"")?;
    let (runs, seen) = memory::during(proxy.id(), || -> anyhow::Result<Vec<[Run; 2]>> {
        (0..pairs)
            .map(|_| {
                Ok([measure(&proxy, load, time, None)?, measure(&proxy, load, time, Some((&mut swapper, swaps)))?])
            })
            .collect()
    });
    let runs = runs?;
    judge(&mut section, &runs, amount);
    let made = proxy.metric("tollgate_filter_generation", "filter=\"stamp\"")? - serving;
    section.figure(
        "stampers that were given / generations that were made of them",
        format!("{} / {made}", u64::from(pairs) * swaps),
    );
    section.figure("swaps of the SDK filter behind them", swapper.others);
    thread::sleep(Duration::from_secs(10));
    remember(&mut section, (fresh, before, resident()?), &seen);
    let vms = proxy.metric("tollgate_filter_instances", "filter=\"stamp\"")?;
    section.must("VMs of the stamper 10 s after the last swap, one worker", vms == 1.0, vms);
    section.figure("lines of level ERROR in its log", proxy.lines_with(&["ERROR"]));
    section.must("SIGTERM ends the proxy", proxy.end(), "exit code 0");
    Ok(section)
}

/// One run.
struct Run {
    outcome: Outcome,
    /// Seconds; more than were meant where the load could not keep its pace.
    wall: f64,
    /// The part of its core that the worker used.
    worker: f64,
    /// The part of a core that the rest of the proxy used.
    rest: f64,
}

fn begin(stage: &Stage, origin: &Origin) -> anyhow::Result<(Swapper, Proxy)> {
    let other = stage.filter("filter_headers.wasm")?;
    let swapper = Swapper {
        stamper: stage.place("stamp.wasm", &stamper(1, 0)?)?,
        headers: stage.place("headers.wasm", &other)?,
        other,
        number: 1,
        others: 0,
    };
    let proxy = stage.start(&format!(
        "cache: off\nfilters:\n  stamp: {{ wasm: {:?} }}\n  headers:\n    wasm: {:?}\n    config:\n      \
         request: {{ add: {{ {}: \"{}\" }} }}\n      response: {{ add: {{ {}: \"{}\" }} }}\n\
         routes: [{{ to: \"http://{}\", filters: [stamp, headers] }}]\n",
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
fn calibrate(proxy: &Proxy, swapper: &mut Swapper, section: &mut Section) -> anyhow::Result<Traffic> {
    let time = Duration::from_secs(2);
    let load =
        Traffic { address: proxy.address, path: SEEN, http1: 8, h2c: 4, streams: 4, rate: None, time, stamped: true };
    let Run { outcome, worker, .. } = measure(proxy, load, time, Some((swapper, WARM_SWAPS)))?;
    anyhow::ensure!(outcome.answered > 0, "no answer: {:?}\n{}", outcome.first, proxy.last_words());
    let most = outcome.answered as f64 / time.as_secs_f64();
    let rate = most * (SHARE / worker).min(PUSH);
    section.figure(
        "as fast as load and proxy can",
        format!("{most:.0} requests/s, worker at {:.0} % of its core", worker * 100.0),
    );
    section.figure("pace", format!("{rate:.0} requests/s over 8 HTTP/1.1 and 4 h2c connections of 4 streams"));
    Ok(Traffic { rate: Some(rate), ..load })
}

fn measure(proxy: &Proxy, load: Traffic, time: Duration, swaps: Option<(&mut Swapper, u64)>) -> anyhow::Result<Run> {
    let (began, worker, all) = (Instant::now(), proxy.worker_cpu()?, proxy.cpu()?);
    let outcome = thread::scope(|scope| {
        let swapping = swaps.map(|(swapper, swaps)| scope.spawn(move || swapper.run(time, swaps)));
        let outcome = Traffic { time, ..load }.run()?;
        if let Some(swapping) = swapping {
            swapping.join().map_err(|_| anyhow::anyhow!("the swapping thread panicked"))??;
        }
        anyhow::Ok(outcome)
    })?;
    let wall = began.elapsed().as_secs_f64();
    let used = (proxy.worker_cpu()? - worker).as_secs_f64();
    let rest = proxy.cpu()?.saturating_sub(all).as_secs_f64() - used;
    Ok(Run { outcome, wall, worker: used / wall, rest: rest.max(0.0) / wall })
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

impl Swapper {
    fn run(&mut self, time: Duration, swaps: u64) -> anyhow::Result<()> {
        let (began, period) = (Instant::now(), time.div_f64(swaps as f64));
        for swap in 0..swaps {
            let due = began + period.mul_f64(swap as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.swap().context("cannot replace a module")?;
        }
        Ok(())
    }

    fn swap(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        let functions = if self.number.is_multiple_of(10) { SDK_SIZE } else { 0 };
        replace(&self.stamper, &stamper(self.number, functions)?)?;
        if self.number.is_multiple_of(4) {
            self.others += 1;
            let fresh = self.others.is_multiple_of(5);
            let variant = if fresh { self.others } else { self.others % 2 };
            replace(&self.headers, &distinct(&self.other, variant))?;
        }
        Ok(())
    }
}

fn judge(section: &mut Section, runs: &[[Run; 2]], amount: Amount) {
    let all = || runs.iter().flatten().map(|run| &run.outcome);
    let sum = |count: fn(&Outcome) -> u64| all().map(count).sum::<u64>();
    section.figure("exchanges", sum(|outcome| outcome.answered));
    section.none_of("failed exchanges", sum(|outcome| outcome.failed));
    section.none_of("exchanges whose request and answer met different generations", sum(|outcome| outcome.mixed));
    section.none_of(
        "answers of an older generation after a newer one's on one connection",
        sum(|outcome| outcome.backwards),
    );
    if let Some(first) = all().find_map(|outcome| outcome.first.as_ref()) {
        section.figure("the first failure", first);
    }
    for (place, pair) in runs.iter().enumerate() {
        compare(section, place + 1, pair, amount);
    }
}

fn compare(section: &mut Section, pair: usize, [quiet, swapping]: &[Run; 2], Amount { time, swaps, .. }: Amount) {
    let name = |what: &str| format!("pair {pair}: {what}");
    section.figure(name("generations that answered"), format!("{} of {swaps} swaps", swapping.outcome.seen.len()));
    let [before, after] = [quiet, swapping].map(|run| Times::of(run.outcome.times.iter().copied()));
    for (what, run, times) in [("without swaps", quiet, &before), ("with swaps", swapping, &after)] {
        let Run { wall, worker, rest, .. } = run;
        let (worker, rest) = (worker * 100.0, rest * 100.0);
        section.figure(
            name(what),
            format!("{times}; {wall:.1} s, worker {worker:.0} %, rest of the proxy {rest:.0} % of a core"),
        );
    }
    let ratio = after.per_mille(990).as_secs_f64() / before.per_mille(990).as_secs_f64();
    let behind = quiet.wall.max(swapping.wall) > time.as_secs_f64() * BEHIND;
    let note = if behind { " (THE LOAD FELL BEHIND ITS PACE: times of this pair say nothing)" } else { "" };
    section.figure(name("p99 with swaps over p99 without"), format!("{ratio:.2}{note}"));
}

fn remember(section: &mut Section, (fresh, before, after): (u64, u64, u64), seen: &Seen) {
    let part = after as f64 / before.max(1) as f64;
    let verdict = if part <= BACK_WITHIN { "within" } else { "not within" };
    section.figure(
        "resident memory after the start / before the runs / peak / 10 s after",
        format!("{} / {} / {} / {}", mebibytes(fresh), mebibytes(before), mebibytes(seen.peak()), mebibytes(after)),
    );
    section.figure("memory after over before", format!("{part:.3}, {verdict} 5 %"));
}
