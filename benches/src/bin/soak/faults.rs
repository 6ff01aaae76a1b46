//! Minutes of load in which something goes wrong every second: bad successors, traps, storms of SIGHUP, an upstream that dies.
//!
//! Good swaps go on between them. No exchange may be lost but those of the upstream while it is dead, and those that trap.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate_benches::http::SEEN;
use tollgate_benches::origin::Origin;

use crate::client::Client;
use crate::guests::{bad, stamper};
use crate::memory;
use crate::section::{Section, Times, mebibytes};
use crate::stage::{Proxy, Stage, replace};
use crate::traffic::{Outcome, Traffic};

/// The part of [`SEEN`] that leads to the upstream that dies.
const FRAGILE: &str = "/seen/fragile/";
/// A second.
const BEAT: Duration = Duration::from_secs(1);
/// How long after its return an upstream's failures are still put down to its death.
const SLACK: Duration = Duration::from_millis(500);
/// Signals in one storm.
const STORM: usize = 20;

/// See the module.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Section> {
    let time = Duration::from_secs(if stage.short { 20 } else { 180 });
    let mut section = Section::new(&format!("faults: {} s in which something goes wrong every second", time.as_secs()));
    let core = stage.cores.map(|cores| cores.load);
    let (steady, fragile) = (stage.origin()?, stage.origin()?);
    let module = stage.place("faulty.wasm", &stamper(1, 0)?)?;
    let probe = stage.place("probe.wasm", &stage.filter("filter_probe.wasm")?)?;
    let proxy = stage.start(&format!(
        "cache: off\nfilters:\n  stamp: {{ wasm: {module:?}, budget: {{ start: 500ms }} }}\n  probe: {{ wasm: {probe:?} }}\nroutes:\n\
         - {{ match: {{ path: / }}, to: \"http://{}\", filters: [stamp] }}\n\
         - {{ match: {{ path: {FRAGILE} }}, to: \"http://{}\", filters: [stamp] }}\n\
         - {{ match: {{ path: /probe/ }}, to: \"http://{}\", filters: [probe] }}\n",
        steady.address(), fragile.address(), steady.address()
    ))?;
    let load = |path, rate: f64| {
        let (http1, h2c, streams) = (4, 2, 4);
        Traffic { address: proxy.address, path, http1, h2c, streams, rate: Some(rate), time, stamped: true }
    };
    let (found, seen) = memory::during(proxy.id(), || {
        thread::scope(|scope| {
            let at_steady = scope.spawn(|| load(SEEN, 2000.0).run());
            let at_fragile = scope.spawn(|| load(FRAGILE, 200.0).run());
            let faults = Faults::new(&proxy, module, core, fragile).run(time);
            let join = |load: thread::ScopedJoinHandle<'_, anyhow::Result<Outcome>>| {
                load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
            };
            anyhow::Ok((join(at_steady)?, join(at_fragile)?, faults?))
        })
    });
    let (at_steady, at_fragile, faults) = found?;
    judge(&mut section, &at_steady, &at_fragile, &faults);
    section.figure("lines of level ERROR in its log", proxy.lines_with(&["ERROR"]));
    section.figure("resident memory, most", mebibytes(seen.peak()));
    section.figure(
        "resident memory, slope of the later half",
        format!("{:+.2} MiB a minute", seen.slope() / f64::from(1 << 20)),
    );
    section.must("SIGTERM ends the proxy", proxy.end(), "exit code 0");
    Ok(section)
}

fn judge(section: &mut Section, steady: &Outcome, fragile: &Outcome, faults: &Done) {
    section.figure(
        "exchanges with the upstream that lives / that dies",
        format!("{} / {}", steady.answered, fragile.answered),
    );
    section.none_of("lost exchanges with the upstream that lives", steady.failed);
    let beyond = |at: &&Duration| !faults.dead.iter().any(|(from, to)| (*from..=*to + SLACK).contains(*at));
    let beyond = fragile.failures_at.iter().filter(beyond).count();
    section.none_of("lost exchanges with the other while it lived", u64::try_from(beyond).unwrap_or(u64::MAX));
    section.figure("lost exchanges while it was dead", fragile.failed - u64::try_from(beyond).unwrap_or_default());
    section.none_of("exchanges of mixed generations", steady.mixed + fragile.mixed);
    section.none_of("older answers after newer ones on one connection", steady.backwards + fragile.backwards);
    let bad = faults.bad.iter().filter(|number| steady.seen.contains(number) || fragile.seen.contains(number)).count();
    section.none_of("bad successors that answered", u64::try_from(bad).unwrap_or(u64::MAX));
    section.none_of("traps whose next request was not answered well", faults.unrecovered);
    section.figure(
        "bad successors / good ones / generations that answered",
        format!("{} / {} / {}", faults.bad.len(), faults.good, steady.seen.len()),
    );
    section.figure(
        "traps / signals / deaths of the upstream",
        format!("{} / {} / {}", faults.traps, faults.signals, faults.dead.len()),
    );
    section.figure("with the upstream that lives", Times::of(steady.times.iter().map(|(_, took)| *took)));
    for (what, outcome) in [("lives", steady), ("dies", fragile)] {
        if let Some(first) = &outcome.first {
            section.figure(format!("the first failure with the upstream that {what}"), first);
        }
    }
}

/// What was done to the proxy.
#[derive(Default)]
struct Done {
    /// Numbers of bad successors.
    bad: Vec<u64>,
    good: u64,
    traps: u64,
    unrecovered: u64,
    signals: usize,
    /// When the upstream was dead.
    dead: Vec<(Duration, Duration)>,
}

/// Who does it.
struct Faults<'a> {
    proxy: &'a Proxy,
    module: PathBuf,
    core: Option<usize>,
    address: SocketAddr,
    /// None while it is dead.
    fragile: Option<Origin>,
    number: u64,
    began: Instant,
    done: Done,
}

impl<'a> Faults<'a> {
    fn new(proxy: &'a Proxy, module: PathBuf, core: Option<usize>, fragile: Origin) -> Faults<'a> {
        let (address, began) = (fragile.address(), Instant::now());
        Faults { proxy, module, core, address, fragile: Some(fragile), number: 1, began, done: Done::default() }
    }

    fn run(mut self, time: Duration) -> anyhow::Result<Done> {
        let mut beat = 0;
        while self.began.elapsed() < time {
            self.beat(beat)?;
            beat += 1;
            thread::sleep((self.began + BEAT * beat).saturating_duration_since(Instant::now()));
        }
        self.revive()?;
        Ok(self.done)
    }

    /// One second: a swap always, and whatever else is due.
    fn beat(&mut self, beat: u32) -> anyhow::Result<()> {
        self.swap(beat)?;
        self.trap()?;
        if beat % 5 == 2 {
            self.done.signals += STORM;
            (0..STORM).try_for_each(|_| self.proxy.reload())?;
        }
        match beat % 10 {
            6 => self.kill(),
            7 => self.revive()?,
            _ => {}
        }
        Ok(())
    }

    fn swap(&mut self, beat: u32) -> anyhow::Result<()> {
        self.number += 1;
        if beat.is_multiple_of(2) {
            self.done.good += 1;
            return Ok(replace(&self.module, &stamper(self.number, 0)?)?);
        }
        let kinds = bad(self.number)?;
        let kind = usize::try_from(beat / 2)? % kinds.len();
        let (_, bytes) = kinds.get(kind).context("no bad successor")?;
        self.done.bad.push(self.number);
        Ok(replace(&self.module, bytes)?)
    }

    fn trap(&mut self) -> anyhow::Result<()> {
        let mut client = Client::connect(self.proxy.address)?;
        client.ask("/probe/", "x-probe-request-headers: trap\r\n")?;
        self.done.traps += 1;
        self.done.unrecovered += u64::from(client.ask("/probe/", "")?.status != 200);
        Ok(())
    }

    fn kill(&mut self) {
        if self.fragile.take().is_some() {
            let now = self.began.elapsed();
            // The origin's thread ends up to a tenth of a second before the drop returns.
            self.done.dead.push((now.saturating_sub(SLACK), now));
        }
    }

    fn revive(&mut self) -> anyhow::Result<()> {
        if self.fragile.is_none() {
            self.fragile = Some(Origin::start_at(self.address, self.core).context("the upstream does not come back")?);
            if let Some((_, to)) = self.done.dead.last_mut() {
                *to = self.began.elapsed();
            }
        }
        Ok(())
    }
}
