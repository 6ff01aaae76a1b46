//! Minutes of load in which something goes wrong every second: bad successors, traps, storms of SIGHUP, an upstream that dies.
//!
//! Good swaps go on between them. No exchange may be lost but those of the upstream while it is dead, and those that trap; and
//! the proxy has to say of each bad successor what was wrong with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tollgate::filter::digest::Digest;
use tollgate_benches::http::SEEN;
use tollgate_benches::origin::Origin;

use crate::client::{Client, get};
use crate::guests::{BAD_KINDS, Bad, bad, stamper};
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
/// How long the proxy may take to say what was wrong with a bad successor, compilation included.
const TOLD: Duration = Duration::from_secs(20);
/// How often it is asked.
const ASK: Duration = Duration::from_millis(20);
/// Plugins beside the stamper that have bad successors too.
const OTHERS: [&str; 3] = ["pinned", "large", "tested"];

/// See the module.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Section> {
    let time = Duration::from_secs(if stage.short { 30 } else { 180 });
    let mut section = Section::new(&format!("faults: {} s in which something goes wrong every second", time.as_secs()));
    let core = stage.cores.map(|cores| cores.load);
    let (steady, fragile) = (stage.origin()?, stage.origin()?);
    let files = Files::place(stage)?;
    let proxy = stage.start(&said(&files, steady.address(), fragile.address()))?;
    let load = |path, rate: f64| {
        let (http1, h2c, streams) = (4, 2, 4);
        Traffic { address: proxy.address, path, http1, h2c, streams, rate: Some(rate), time, stamped: true }
    };
    let (found, seen) = memory::during(proxy.id(), || {
        thread::scope(|scope| {
            let at_steady = scope.spawn(|| load(SEEN, 2000.0).run());
            let at_fragile = scope.spawn(|| load(FRAGILE, 200.0).run());
            let faults = Faults::new(&proxy, files, core, fragile).run(time);
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

/// Modules in the folder.
struct Files {
    stamper: PathBuf,
    /// In the order of [`OTHERS`].
    others: Vec<PathBuf>,
    /// The bytes that those begin with.
    noop: Vec<u8>,
    probe: PathBuf,
}

impl Files {
    fn place(stage: &Stage) -> anyhow::Result<Files> {
        let noop = stage.filter("filter_noop.wasm")?;
        let others = OTHERS.map(|name| stage.place(&format!("{name}.wasm"), &noop));
        Ok(Files {
            stamper: stage.place("faulty.wasm", &stamper(1, 0)?)?,
            others: others.into_iter().collect::<Result<_, _>>()?,
            noop,
            probe: stage.place("probe.wasm", &stage.filter("filter_probe.wasm")?)?,
        })
    }

    /// The file of a plugin.
    fn of(&self, plugin: &str) -> &Path {
        let other = OTHERS.iter().zip(&self.others).find(|(name, _)| **name == plugin);
        other.map_or(&self.stamper, |(_, file)| file)
    }
}

/// What the proxy is told. Compiling has three seconds, where thirty are the default.
fn said(files: &Files, steady: SocketAddr, fragile: SocketAddr) -> String {
    let (stamper, probe) = (&files.stamper, &files.probe);
    let [pinned, large, tested] = OTHERS.map(|name| files.of(name));
    let sha256 = Digest::of(&files.noop);
    format!(
        "cache: off\nlimits: {{ compile_time: 3s }}\nfilters:\n\
         \x20 stamp: {{ wasm: {stamper:?}, budget: {{ start: 500ms }} }}\n\
         \x20 pinned: {{ wasm: {pinned:?}, sha256: {sha256} }}\n\
         \x20 large: {{ wasm: {large:?} }}\n\
         \x20 tested: {{ wasm: {tested:?}, selftest: [{{ request: {{}}, expect: {{ status: 200 }} }}] }}\n\
         \x20 probe: {{ wasm: {probe:?} }}\nroutes:\n\
         - {{ match: {{ path: / }}, to: \"http://{steady}\", filters: [stamp, pinned, large, tested] }}\n\
         - {{ match: {{ path: {FRAGILE} }}, to: \"http://{fragile}\", filters: [stamp] }}\n\
         - {{ match: {{ path: /probe/ }}, to: \"http://{steady}\", filters: [probe] }}\n"
    )
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
    for kind in 0..BAD_KINDS {
        let of = faults.told.iter().filter(|(place, ..)| *place == kind);
        let (name, sent) = (of.clone().next().map(|(_, name, _)| *name), of.clone().count());
        let Some(name) = name else { continue };
        let wrong: Vec<_> = of.filter_map(|(.., wrong)| wrong.as_deref()).collect();
        let found = wrong.first().map_or_else(|| format!("{sent} of {sent}"), ToString::to_string);
        section.must(format!("told by step, code and digest, and nothing changed: {name}"), wrong.is_empty(), found);
    }
    let unsent = BAD_KINDS - (0..BAD_KINDS).filter(|kind| faults.told.iter().any(|(place, ..)| place == kind)).count();
    section.none_of("kinds of bad successors that were not sent", u64::try_from(unsent).unwrap_or(u64::MAX));
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

/// From so long after the begin to the next whole second of it.
fn until_next(elapsed: Duration) -> Duration {
    BEAT - Duration::from_nanos(elapsed.subsec_nanos().into())
}

/// What was done to the proxy.
#[derive(Default)]
struct Done {
    /// Numbers of bad successors.
    bad: Vec<u64>,
    /// The kind of each, what is wrong with it, and what the proxy said that it should not have.
    told: Vec<(usize, &'static str, Option<String>)>,
    good: u64,
    traps: u64,
    unrecovered: u64,
    signals: usize,
    /// It lives until the load has ended.
    upstream: Option<Origin>,
    /// When the upstream was dead.
    dead: Vec<(Duration, Duration)>,
}

/// Who does it.
struct Faults<'a> {
    proxy: &'a Proxy,
    files: Files,
    core: Option<usize>,
    address: SocketAddr,
    /// None while it is dead.
    fragile: Option<Origin>,
    number: u64,
    began: Instant,
    done: Done,
}

impl<'a> Faults<'a> {
    fn new(proxy: &'a Proxy, files: Files, core: Option<usize>, fragile: Origin) -> Faults<'a> {
        let (address, began) = (fragile.address(), Instant::now());
        Faults { proxy, files, core, address, fragile: Some(fragile), number: 1, began, done: Done::default() }
    }

    fn run(mut self, time: Duration) -> anyhow::Result<Done> {
        let mut beat = 0;
        while self.began.elapsed() < time {
            self.beat(beat)?;
            beat += 1;
            // A beat that took longer than its second is followed by the next whole one, not by all that were missed at once.
            thread::sleep(until_next(self.began.elapsed()));
        }
        self.revive()?;
        self.done.upstream = self.fragile.take();
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
            return Ok(replace(&self.files.stamper, &stamper(self.number, 0)?)?);
        }
        let kind = usize::try_from(beat / 2)? % BAD_KINDS;
        let bad = bad(kind, self.number)?;
        self.done.bad.push(self.number);
        let serving = self.stands(bad.plugin)?.get("generation").cloned();
        replace(self.files.of(bad.plugin), &bad.bytes)?;
        let wrong = self.wrongly_told(&bad, serving)?;
        self.done.told.push((kind, bad.name, wrong));
        if bad.plugin != "stamp" {
            replace(self.files.of(bad.plugin), &self.files.noop)?;
        }
        Ok(())
    }

    /// What the proxy says of a bad successor that it should not, once it says anything; nothing where all is as it should be.
    fn wrongly_told(&self, bad: &Bad, serving: Option<Value>) -> anyhow::Result<Option<String>> {
        let (digest, began) = (Digest::of(&bad.bytes).to_string(), Instant::now());
        loop {
            let stands = self.stands(bad.plugin)?;
            let told = stands.get("last_error").cloned().unwrap_or_default();
            if told.get("digest").and_then(Value::as_str) == Some(&digest) {
                let said = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
                let (step, code) = bad.told;
                let well = said("step") == step && said("code") == code && stands.get("generation") == serving.as_ref();
                return Ok((!well).then(|| stands.to_string()));
            }
            if began.elapsed() > TOLD {
                return Ok(Some(format!("nothing after {TOLD:?}: {stands}")));
            }
            thread::sleep(ASK);
        }
    }

    /// A plugin, as the proxy shows it.
    fn stands(&self, plugin: &str) -> anyhow::Result<Value> {
        let page = get(self.proxy.admin, &format!("/filters/{plugin}"))?;
        let (_, body) = page.split_once("\r\n\r\n").context("no body")?;
        serde_json::from_str(body).with_context(|| format!("no JSON: {page}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_beat_comes_with_the_next_whole_second_however_many_were_missed() {
        let millis = Duration::from_millis;

        assert_eq!(until_next(millis(300)), millis(700));
        assert_eq!(until_next(millis(4_250)), millis(750));
        assert_eq!(until_next(millis(2_000)), BEAT);
    }
}
