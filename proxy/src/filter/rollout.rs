//! One plugin over time: the generation that serves, one that is tried beside it, one that is staged, and those before.
//!
//! It keeps the books of the control side; making generations is `modules`' work, publishing them `app::reload`'s.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use tollgate_config::{self as config, Policy, Ratio};

use crate::filter::digest::Digest;
use crate::filter::fault::Fault;
use crate::filter::generation::Generation;
use crate::filter::modules::Fetched;
use crate::filter::slot::Slot;
use crate::telemetry::metrics::PluginSeries;

/// Generations before the one that serves that can be gone back to.
const PREVIOUS: usize = 3;
/// Replaced generations that may still have exchanges: a further swap waits for one of them to end.
const DRAINING: usize = 4;
/// Swaps that are remembered.
const HISTORY: usize = 20;
/// Exchanges below which a canary's failures are counted as if there had been so many.
const TRIAL: u64 = 100;
/// Before a canary that could not take over is to do so again: each try starts VMs.
const AGAIN: Duration = Duration::from_secs(60);

/// A file whose change means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The file.
    pub path: PathBuf,
    /// What was last read of it, if it could be.
    pub read: Option<Digest>,
}

/// What had a plugin looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The start of the process.
    Start,
    /// A file that changed.
    File,
    /// SIGHUP.
    Signal,
    /// The admin endpoints.
    Admin,
    /// A rule of the configuration about the canary.
    Rule,
}

impl Trigger {
    /// A word for logs and screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::File => "file",
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::Rule => "rule",
        }
    }
}

/// What a generation is, to whoever asks.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its module.
    pub digest: Digest,
    /// Where the module came from.
    pub origin: String,
    /// The version of proxy-wasm that the module speaks.
    pub abi: String,
    pub(crate) residents: Arc<AtomicUsize>,
}

impl Brief {
    fn of(generation: &Arc<Generation>) -> Self {
        Self {
            number: generation.number(),
            digest: generation.digest,
            origin: generation.origin.to_string(),
            abi: generation.abi(),
            residents: Arc::clone(&generation.residents),
        }
    }

    /// Workers that have it at this moment; one that replaces a worn VM counts twice until the exchanges of the old one have
    /// ended.
    pub fn workers(&self) -> usize {
        self.residents.load(Relaxed)
    }
}

/// Why the plugin's last module did not take over.
#[derive(Clone, Debug)]
pub struct Incident {
    /// When it was known.
    pub at: SystemTime,
    /// The step that failed, in a word.
    pub step: &'static str,
    /// The code of the error.
    pub code: &'static str,
    /// What the bytes hash to, if they were read.
    pub digest: Option<Digest>,
    /// Where the module came from.
    pub origin: String,
    /// What failed.
    pub message: String,
    /// What the filter itself wrote.
    pub lines: Vec<String>,
    /// Frames of the guest, innermost first.
    pub backtrace: Vec<String>,
}

impl Incident {
    /// A fault that is known from here on.
    pub fn of(fault: &Fault) -> Self {
        Self {
            at: SystemTime::now(),
            step: fault.kind.step(),
            code: fault.kind.code(),
            digest: fault.digest,
            origin: fault.module.clone(),
            message: fault.kind.to_string(),
            lines: fault.lines.clone(),
            backtrace: fault.kind.backtrace().to_vec(),
        }
    }
}

/// One entry of a plugin's history.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What led to it.
    pub trigger: Trigger,
    /// What happened: `serving`, `canary`, `rolled back`, `failed` and the like.
    pub what: &'static str,
    /// The generation, if there was one.
    pub generation: Option<u64>,
    /// What its module hashes to, if it was read.
    pub digest: Option<Digest>,
    /// How long it took from the trigger.
    pub took: Duration,
}

/// A plugin as others see it.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// What serves.
    pub serving: Option<Brief>,
    /// What is tried, and with which share.
    pub canary: Option<(Brief, Ratio)>,
    /// What waits to be promoted.
    pub staged: Option<Brief>,
    /// What waits for a replaced generation to end.
    pub waiting: Option<Brief>,
    /// Replaced generations that still have exchanges.
    pub draining: Vec<Brief>,
    /// What can be gone back to, latest first.
    pub previous: Vec<Brief>,
    /// Why the last module did not take over; absent once one did.
    pub last_error: Option<Incident>,
    /// Latest first.
    pub history: Vec<Event>,
}

/// A generation that is tried.
#[derive(Clone)]
struct Trial {
    generation: Arc<Generation>,
    share: Ratio,
    since: Instant,
    base: Base,
    /// When it was to take over last and could not.
    refused: Option<Instant>,
}

/// What a canary came to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Exchanges that it saw.
    pub exchanges: u64,
    /// Exchanges that it failed.
    pub failures: u64,
}

/// Where a trial begins.
#[derive(Clone, Default)]
pub struct Base {
    /// What the series of the plugin's canaries had counted before.
    pub tally: Tally,
    /// Those series, held so that they count on whoever else lets go of them.
    pub series: Vec<Arc<PluginSeries>>,
}

/// What is to become of a plugin; everything in it is ready.
#[derive(Clone)]
pub enum Step {
    /// This serves in place of what does, which can be gone back to.
    Serve(Arc<Generation>),
    /// This serves, which is like the latest generation before.
    Back(Arc<Generation>),
    /// This is tried with that share.
    Try(Arc<Generation>, Ratio),
    /// Nothing is tried.
    EndTrial,
}

impl Step {
    fn generation(&self) -> Option<&Arc<Generation>> {
        match self {
            Self::Serve(generation) | Self::Back(generation) | Self::Try(generation, _) => Some(generation),
            Self::EndTrial => None,
        }
    }

    /// The generation that serves from then on, if the step is about that.
    pub fn taking_over(&self) -> Option<&Arc<Generation>> {
        match self {
            Self::Serve(generation) | Self::Back(generation) => Some(generation),
            Self::Try(..) | Self::EndTrial => None,
        }
    }

    /// True when the step waits for room. Whoever ends a trial or goes back has a reason that does not.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Try(..))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serving",
            Self::Back(_) => "rolled back",
            Self::Try(..) => "canary",
            Self::EndTrial => "canary rolled back",
        }
    }
}

/// What led to something, and when it began.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// What led to it.
    pub trigger: Trigger,
    /// When it began.
    pub began: Instant,
}

impl Cause {
    /// Something that begins now.
    pub fn now(trigger: Trigger) -> Self {
        Self { trigger, began: Instant::now() }
    }
}

/// What becomes of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried on.
    Wait,
    /// It takes over.
    Promote,
    /// It goes.
    Rollback,
}

/// The rule of a canary that has been tried for so long.
fn verdict(rules: &config::Rollout, tried: Duration, tally: Tally) -> Verdict {
    if let Some(most) = rules.rollback_on {
        // At a hundred exchanges and more this is the share of failures; below, one failure is no percentage yet.
        let allowed = u128::from(tally.exchanges.max(TRIAL)) * u128::from(most.parts_per_million());
        if u128::from(tally.failures) * 1_000_000 > allowed {
            return Verdict::Rollback;
        }
    }
    match rules.promote_after {
        Some(after) if tried >= after => Verdict::Promote,
        _ => Verdict::Wait,
    }
}

/// See the module.
#[derive(Clone)]
pub struct Rollout {
    /// What the configuration says of the plugin.
    pub plugin: Arc<config::Plugin>,
    /// What the file of the module held when it was last looked at.
    pub seen: Option<Digest>,
    /// The same for the canary's file.
    pub seen_canary: Option<Digest>,
    /// The number of the last order by which an operator said what serves, and the same for what is tried.
    word: (u64, u64),
    serving: Option<Arc<Generation>>,
    canary: Option<Trial>,
    staged: Option<Arc<Generation>>,
    /// What is ready and waits for room.
    waiting: Option<(Vec<Step>, Cause)>,
    /// Latest last.
    previous: VecDeque<Arc<Generation>>,
    draining: Vec<Arc<Generation>>,
    last_error: Option<Incident>,
    /// Latest first.
    history: VecDeque<Event>,
}

impl Rollout {
    /// A plugin that nothing serves yet.
    pub fn new(plugin: Arc<config::Plugin>) -> Self {
        Self {
            plugin,
            seen: None,
            seen_canary: None,
            word: (0, 0),
            serving: None,
            canary: None,
            staged: None,
            waiting: None,
            previous: VecDeque::new(),
            draining: Vec::new(),
            last_error: None,
            history: VecDeque::new(),
        }
    }

    /// What serves.
    pub fn serving(&self) -> Option<&Arc<Generation>> {
        self.serving.as_ref()
    }

    /// What is tried.
    pub fn canary(&self) -> Option<&Arc<Generation>> {
        self.canary.as_ref().map(|trial| &trial.generation)
    }

    /// What waits to be promoted.
    pub fn staged(&self) -> Option<&Arc<Generation>> {
        self.staged.as_ref()
    }

    /// The files of its module and of its canary.
    pub fn files(&self) -> impl Iterator<Item = Followed> + '_ {
        let module = Followed { path: self.plugin.module.clone(), read: self.seen };
        let canary = self.plugin.rollout.canary.iter();
        let canary = canary.map(|canary| Followed { path: canary.module.clone(), read: self.seen_canary });
        std::iter::once(module).chain(canary)
    }

    /// True when one of these files is its module's or its canary's.
    pub fn reads(&self, files: &[PathBuf]) -> bool {
        let canary = self.plugin.rollout.canary.as_ref().map(|canary| &canary.module);
        files.iter().any(|file| *file == self.plugin.module || Some(file) == canary)
    }

    /// An operator said this, by the order of that number.
    pub fn obey(&mut self, number: u64, steps: &[Step]) {
        if !steps.is_empty() {
            self.word.1 = number;
        }
        if steps.iter().any(|step| matches!(step, Step::Serve(_) | Step::Back(_))) {
            self.word.0 = number;
        }
    }

    /// What an order of that number has read of files counts as known where an operator spoke since.
    pub fn overrule(&mut self, number: u64, read: &[Fetched]) {
        let held = |file: &PathBuf| read.iter().find(|fetched| fetched.is_of(file)).map(|fetched| fetched.digest);
        if self.word.0 > number {
            self.seen = held(&self.plugin.module).or(self.seen);
        }
        if let Some(canary) = self.plugin.rollout.canary.as_ref().filter(|_| self.word.1 > number) {
            self.seen_canary = held(&canary.module).or(self.seen_canary);
        }
    }

    /// True when that was read of that file before.
    pub fn has_seen(&self, fetched: &Fetched) -> bool {
        let canary = self.plugin.rollout.canary.as_ref().map(|canary| &canary.module);
        let module = fetched.is_of(&self.plugin.module) && self.seen == Some(fetched.digest);
        let tried = canary.is_some_and(|file| fetched.is_of(file)) && self.seen_canary == Some(fetched.digest);
        module || tried
    }

    /// What the snapshot is to say.
    pub fn slot(&self) -> Slot {
        Slot {
            name: self.plugin.name.as_str().into(),
            serving: self.serving.clone(),
            canary: self.canary.as_ref().map(|trial| (Arc::clone(&trial.generation), trial.share)),
            load: self.plugin.on_error.load.unwrap_or(Policy::Deny),
        }
    }

    /// True while so many replaced generations have exchanges that a further one would have to wait.
    pub fn is_crowded(&mut self) -> bool {
        self.tidy();
        self.draining.len() >= DRAINING
    }

    /// True while something may change without anybody's doing.
    pub fn is_moving(&self) -> bool {
        !self.draining.is_empty() || self.waiting.is_some() || self.canary.is_some()
    }

    /// Lets go of replaced generations that have ended.
    pub fn tidy(&mut self) {
        self.draining.retain(|generation| generation.residents() > 0);
    }

    /// The plugin is no longer in the configuration: everything of it, to be let go of when it has ended.
    pub fn into_draining(self) -> Vec<Arc<Generation>> {
        let trial = self.canary.map(|trial| trial.generation);
        self.draining.into_iter().chain(self.serving).chain(trial).collect()
    }

    /// Takes steps, one after the other. `base`: where a trial among them begins.
    pub fn take(&mut self, steps: Vec<Step>, base: &Base, cause: Cause) {
        // A rule only knows of the canary that it ends; what an operator or a file asked for goes on waiting.
        if !steps.is_empty() && cause.trigger != Trigger::Rule {
            self.waiting = None;
        }
        for step in steps {
            // Nor does it know of what is staged.
            if step.taking_over().is_some() && cause.trigger != Trigger::Rule {
                self.staged = None;
            }
            self.note(step.word(), step.generation().or(self.canary()).map(Arc::clone).as_ref(), cause);
            match step {
                Step::Serve(generation) => self.serve(generation),
                Step::Back(generation) => {
                    self.previous.pop_back();
                    drop(self.replace(generation));
                }
                Step::Try(generation, share) => {
                    self.staged = None;
                    self.end_trial();
                    self.canary =
                        Some(Trial { generation, share, since: Instant::now(), base: base.clone(), refused: None });
                }
                Step::EndTrial => self.end_trial(),
            }
        }
    }

    fn serve(&mut self, generation: Arc<Generation>) {
        let Some(before) = self.replace(generation) else { return };
        if self.previous.len() >= PREVIOUS {
            self.previous.pop_front();
        }
        self.previous.push_back(before);
    }

    fn replace(&mut self, generation: Arc<Generation>) -> Option<Arc<Generation>> {
        self.end_trial();
        self.last_error = None;
        let before = self.serving.replace(generation);
        self.draining.extend(before.clone());
        before
    }

    fn end_trial(&mut self) {
        self.draining.extend(self.canary.take().map(|trial| trial.generation));
    }

    /// The latest generation before the one that serves.
    pub fn previous(&self) -> Option<&Arc<Generation>> {
        self.previous.back()
    }

    /// Keeps steps until there is room; the newest win.
    pub fn park(&mut self, steps: Vec<Step>, cause: Cause) {
        let generation = steps.iter().find_map(Step::generation).map(Arc::clone);
        self.note("waiting", generation.as_ref(), cause);
        self.waiting = Some((steps, cause));
    }

    /// The file is what serves again: nothing is to take its place any more.
    pub fn forget_waiting(&mut self) {
        self.waiting = None;
    }

    /// What waited, once there is room.
    pub fn unpark(&mut self) -> Option<(Vec<Step>, Cause)> {
        if self.waiting.is_none() || self.is_crowded() {
            return None;
        }
        self.waiting.take()
    }

    /// Keeps a generation until somebody promotes it.
    pub fn stage(&mut self, generation: Arc<Generation>, cause: Cause) {
        self.note("staged", Some(&generation), cause);
        self.last_error = None;
        self.staged = Some(generation);
    }

    /// What becomes of the canary, if there is one. It does not take over while something waits or would have to.
    pub fn judge(&mut self, tally: Tally) -> Verdict {
        let waits = self.waiting.is_some() || self.is_crowded();
        let Some(trial) = &self.canary else { return Verdict::Wait };
        let waits = waits || trial.refused.is_some_and(|at| at.elapsed() < AGAIN);
        let since = Tally {
            exchanges: tally.exchanges.saturating_sub(trial.base.tally.exchanges),
            failures: tally.failures.saturating_sub(trial.base.tally.failures),
        };
        match verdict(&self.plugin.rollout, trial.since.elapsed(), since) {
            Verdict::Promote if waits => Verdict::Wait,
            verdict => verdict,
        }
    }

    /// The canary was to take over and could not: its rule is asked again after a while.
    pub fn put_off(&mut self) {
        self.canary.iter_mut().for_each(|trial| trial.refused = Some(Instant::now()));
    }

    /// A module did not take over.
    pub fn fail(&mut self, fault: &Fault, cause: Cause) {
        self.remember("failed", None, fault.digest, cause);
        self.last_error = Some(Incident::of(fault));
    }

    fn note(&mut self, what: &'static str, generation: Option<&Arc<Generation>>, cause: Cause) {
        let (number, digest) = (generation.map(|known| known.number()), generation.map(|known| known.digest));
        self.remember(what, number, digest, cause);
    }

    fn remember(&mut self, what: &'static str, generation: Option<u64>, digest: Option<Digest>, cause: Cause) {
        let Cause { trigger, began } = cause;
        self.history.truncate(HISTORY - 1);
        let (at, took) = (SystemTime::now(), began.elapsed());
        // What failed is told where it failed, with all that its author needs; the start of the process has words of its own.
        if generation.is_some() && trigger != Trigger::Start {
            let (filter, trigger) = (self.plugin.name.as_str(), trigger.as_str());
            tracing::info!(filter, generation, trigger, took_ms = took.as_millis(), "module: {what}");
        }
        self.history.push_front(Event { at, trigger, what, generation, digest, took });
    }

    /// The plugin as others see it.
    pub fn view(&self) -> View {
        View {
            name: self.plugin.name.clone(),
            serving: self.serving.as_ref().map(Brief::of),
            canary: self.canary.as_ref().map(|trial| (Brief::of(&trial.generation), trial.share)),
            staged: self.staged.as_ref().map(Brief::of),
            waiting: self.waiting.iter().flat_map(|(steps, _)| steps).find_map(Step::generation).map(Brief::of),
            draining: self.draining.iter().filter(|known| known.residents() > 0).map(Brief::of).collect(),
            previous: self.previous.iter().rev().map(Brief::of).collect(),
            last_error: self.last_error.clone(),
            history: self.history.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> config::Rollout {
        config::Rollout {
            promote_after: Some(Duration::from_secs(60)),
            rollback_on: Some(Ratio::of_percent(1)),
            ..config::Rollout::default()
        }
    }

    fn judged(seconds: u64, exchanges: u64, failures: u64) -> Verdict {
        verdict(&rules(), Duration::from_secs(seconds), Tally { exchanges, failures })
    }

    #[test]
    fn a_canary_goes_when_more_fail_than_the_rule_allows() {
        assert_eq!(judged(1, 1_000, 10), Verdict::Wait);
        assert_eq!(judged(1, 1_000, 11), Verdict::Rollback);
        assert_eq!(judged(1, 3, 1), Verdict::Wait);
        assert_eq!(judged(1, 3, 2), Verdict::Rollback);
    }

    #[test]
    fn a_canary_takes_over_when_its_time_is_over() {
        assert_eq!(judged(59, 1_000, 0), Verdict::Wait);
        assert_eq!(judged(60, 1_000, 10), Verdict::Promote);
        assert_eq!(judged(60, 1_000, 11), Verdict::Rollback);
    }

    #[test]
    fn without_rules_a_canary_is_tried_until_somebody_decides() {
        let tally = Tally { exchanges: 10, failures: 10 };
        assert_eq!(verdict(&config::Rollout::default(), Duration::from_secs(1 << 30), tally), Verdict::Wait);
    }
}
