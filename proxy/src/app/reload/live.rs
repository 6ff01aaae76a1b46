//! The reloader at work: takes orders, publishes what is ready, and judges canaries.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tollgate_config::{self as config, Config, Ratio};

use super::plan::{self, Plan};
use super::{Answer, Asked, Done, LastReload, Order, Orders, Refused, Reloader};
use crate::app::listeners::Changes;
use crate::filter::digest::Digest;
use crate::filter::fault::Fault;
use crate::filter::generation::{Generation, Origin};
use crate::filter::modules::Fetched;
use crate::filter::rollout::{Base, Cause, Followed, Rollout, Step, Tally, Trigger, Verdict};
use crate::filter::slot::Slot;
use crate::filter::spares;
use crate::listener::Socket;
use crate::snapshot::{ListenerId, Snapshot};
use crate::telemetry::metrics::Track;
use crate::worker::Shared;

/// How often canaries are judged and what waits is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long it sleeps when there is nothing to look at.
const REST: Duration = Duration::from_secs(3600);
/// The shortest time between two publications: of faster changes the newest wins.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a worker is told about its sockets.
#[derive(Debug)]
pub(in crate::app) enum Change {
    /// Accept here too.
    Open(Vec<Socket>),
    /// Accept no more for this listener, and let its connections end.
    Close(ListenerId),
}

/// What the reloader acts on.
pub(in crate::app) struct Surroundings {
    /// What the workers read.
    pub(in crate::app) shared: Arc<Shared>,
    /// Where the starters of spare VMs run.
    pub(in crate::app) control: Handle,
    /// One for each worker.
    pub(in crate::app) hands: Vec<mpsc::UnboundedSender<Change>>,
    /// Which files are to be followed.
    pub(in crate::app) follow: watch::Sender<Vec<Followed>>,
}

/// See the module.
pub(in crate::app) struct Live {
    reloader: Reloader,
    around: Surroundings,
    sight: Arc<ArcSwap<super::Sight>>,
    asked: Receiver<Asked>,
    /// Taken from `asked` and not yet carried out.
    waiting: VecDeque<Asked>,
    deferred: Option<Deferred>,
    /// When the last snapshot was published.
    published: Instant,
    /// When it last looked around.
    looked: Instant,
}

/// A configuration that waits for replaced generations to end.
struct Deferred {
    config: Config,
    trigger: Trigger,
    /// The plugins that have too many of them.
    crowded: Vec<String>,
}

impl Live {
    /// A reloader at work, and where it takes orders.
    pub(in crate::app) fn new(reloader: Reloader, around: Surroundings) -> (Self, Orders) {
        let (send, asked) = channel();
        let sight = Arc::new(ArcSwap::from_pointee(reloader.sight()));
        let orders = Orders { send, sight: Arc::clone(&sight) };
        let (waiting, now) = (VecDeque::new(), Instant::now());
        let live = Self { reloader, around, sight, asked, waiting, deferred: None, published: now, looked: now };
        live.introduce(&live.reloader.slots());
        live.show();
        (live, orders)
    }

    /// Carries orders out until nobody is left to give any.
    pub(in crate::app) fn run(mut self) {
        loop {
            match self.next() {
                Ok(Some((order, reply))) => {
                    let answer = self.contained(|live| live.carry_out(order)).unwrap_or(Err(Refused::Bug));
                    self.show();
                    if let (Err(refused), None) = (&answer, &reply) {
                        tracing::error!("{refused}");
                    }
                    // Whoever asked may have gone.
                    drop(reply.map(|reply| reply.send(answer)));
                }
                Ok(None) => {
                    self.contained(Live::look);
                    // Afterwards, so that orders have their turn however long a look takes.
                    self.looked = Instant::now();
                }
                Err(()) => return,
            }
        }
    }

    /// A bug of ours ends what it strikes and not what comes after: whatever is changed is put in place as a whole.
    fn contained<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        // The hook has said what there is to say.
        outcome.inspect_err(|_| self.reloader.give_up()).ok()
    }

    /// The next order; `None` when it is time to look around; `Err` when there will be none.
    fn next(&mut self) -> Result<Option<Asked>, ()> {
        // However many orders come, rules are asked.
        if self.is_moving() && self.looked.elapsed() >= LOOK {
            return Ok(None);
        }
        if self.waiting.is_empty() {
            let patience = if self.is_moving() { LOOK } else { REST };
            match self.asked.recv_timeout(patience) {
                Ok(asked) => self.waiting.push_back(asked),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(()),
            }
        }
        self.waiting.extend(self.asked.try_iter());
        Ok(self.waiting.pop_front())
    }

    /// True while something may change without an order.
    fn is_moving(&self) -> bool {
        let reloader = &self.reloader;
        self.deferred.is_some() || !reloader.gone.is_empty() || reloader.rollouts.iter().any(Rollout::is_moving)
    }

    fn carry_out(&mut self, order: Order) -> Answer {
        match order {
            Order::Reload(trigger) => self.reload(Cause::now(trigger)),
            Order::Configure(config) => self.configure(*config, Cause::now(Trigger::Admin)),
            Order::Look(files) => self.look_at(&files, Cause::now(Trigger::File)),
            Order::Stage(name, bytes) => self.stage(&name, bytes, Cause::now(Trigger::Admin)),
            Order::Promote(name) => self.promote(&name, Cause::now(Trigger::Admin)),
            Order::Rollback(name) => self.roll_back(&name, Cause::now(Trigger::Admin)),
            Order::Canary(name, share) => self.try_out(&name, share, Cause::now(Trigger::Admin)),
        }
    }

    /// Reads the configuration and every module again. Reloads that were ordered meanwhile are this one.
    fn reload(&mut self, cause: Cause) -> Answer {
        self.waiting.retain(|(order, reply)| reply.is_some() || !matches!(order, Order::Reload(_)));
        let config = match &self.reloader.file.clone() {
            Some(file) => tollgate_config::text_again(file).and_then(|text| {
                self.reloader.read = Some(Digest::of(text.as_bytes()));
                tollgate_config::parse(&text, file)
            }),
            None => Ok(self.reloader.config.clone()),
        };
        let outcome = config.map_err(Refused::Config).and_then(|config| self.take_over(config, cause));
        self.close(cause.trigger, outcome)
    }

    fn configure(&mut self, config: Config, cause: Cause) -> Answer {
        let outcome = self.take_over(config, cause);
        self.close(cause.trigger, outcome)
    }

    /// Keeps how a reload went.
    fn close(&mut self, trigger: Trigger, outcome: Answer) -> Answer {
        // What waits is not in force, and is noted once it is.
        if matches!(outcome, Ok(Done::Waiting)) {
            return outcome;
        }
        let refused = outcome.as_ref().err().map(ToString::to_string);
        self.around.shared.registry.reloads().note(refused.is_none());
        self.reloader.last_reload = Some(LastReload { at: SystemTime::now(), trigger, refused });
        outcome
    }

    /// Makes everything ready that a configuration changes, then publishes it at once.
    fn take_over(&mut self, config: Config, cause: Cause) -> Answer {
        let reloader = &mut self.reloader;
        reloader.modules.configure(&config);
        let plans = match reloader.plans(&config) {
            Ok(plans) => plans,
            Err(faults) => {
                reloader.give_up();
                reloader.note(&faults, cause);
                return Err(Refused::Modules(faults));
            }
        };
        let crowded = reloader.crowded(&plans);
        if !crowded.is_empty() {
            reloader.give_up();
            self.deferred = Some(Deferred { config, trigger: cause.trigger, crowded });
            return Ok(Done::Waiting);
        }
        // Whoever connects to a socket that listens is to be served, so nothing may go wrong after this.
        let changes = match reloader.listeners.plan(&config.listeners, reloader.workers) {
            Ok(changes) => changes,
            Err(error) => {
                reloader.give_up();
                return Err(Refused::Bind(Box::new(error)));
            }
        };
        // The newest wins.
        self.deferred = None;
        for note in restarts(&reloader.config, &config) {
            tracing::warn!("{note} changes when the proxy starts again");
        }
        self.adopt(config, plans, changes, cause);
        Ok(Done::Serving)
    }

    fn adopt(&mut self, config: Config, plans: Vec<Plan>, changes: Changes, cause: Cause) {
        let taking_over = plan::taking_over(&plans);
        let mut before = self.reloader.rollouts.clone();
        let mut rollouts = Vec::new();
        for (plan, plugin) in plans.into_iter().zip(&config.plugins) {
            let known = before.iter().position(|rollout| rollout.plugin.name == plugin.name);
            #[cfg(test)]
            crate::telemetry::panics::sabotage::pass("adopt");
            let base = self.base(plugin, &plan.steps);
            let rollout = plan.carry_out(known.map(|place| before.swap_remove(place)), &base, cause);
            rollouts.push(rollout);
        }
        let reloader = &mut self.reloader;
        reloader.gone.extend(before.into_iter().flat_map(Rollout::into_draining));
        reloader.rollouts = rollouts;
        reloader.modules.settle(&config.plugins, &taking_over);
        reloader.dump = Arc::new(config.expanded.clone());
        reloader.config = config;
        let ids = changes.ids().to_vec();
        let (sockets, closed) = reloader.listeners.commit(changes, reloader.workers);
        self.publish(|before, reloader| Snapshot::new(before.number + 1, &reloader.config, &ids, reloader.slots()));
        for (hand, sockets) in self.around.hands.iter().zip(sockets) {
            // A worker that has ended accepts nothing.
            let _ = hand.send(Change::Open(sockets));
            closed.iter().for_each(|id| drop(hand.send(Change::Close(*id))));
        }
    }

    /// Takes over what these files hold.
    fn look_at(&mut self, files: &[PathBuf], cause: Cause) -> Answer {
        if self.reloader.file.as_ref().is_some_and(|file| files.contains(file)) {
            return self.reload(cause);
        }
        let mut done = Done::Unchanged;
        let mut faults = Vec::new();
        for place in 0..self.reloader.rollouts.len() {
            if !self.reloader.rollouts[place].reads(files) {
                continue;
            }
            match self.update(place, cause) {
                Ok(Done::Unchanged) => {}
                Ok(more) => done = more,
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(done) } else { Err(Refused::Modules(faults)) }
    }

    fn update(&mut self, place: usize, cause: Cause) -> Result<Done, Fault> {
        let Reloader { rollouts, modules, workers, .. } = &mut self.reloader;
        let rollout = &mut rollouts[place];
        let plugin = Arc::clone(&rollout.plugin);
        match Plan::update(modules, rollout, &plugin, *workers) {
            Ok(plan) => {
                plan.note(rollout);
                let done = self.step(place, plan.steps, cause);
                plan.fault.iter().for_each(|fault| self.reloader.rollouts[place].fail(fault, cause));
                Ok(done)
            }
            Err(fault) => {
                modules.forget();
                rollout.fail(&fault, cause);
                Err(fault)
            }
        }
    }

    /// Takes steps that are ready, at once or when there is room.
    fn step(&mut self, place: usize, steps: Vec<Step>, cause: Cause) -> Done {
        let base = self.base(&self.reloader.rollouts[place].plugin, &steps);
        let rollout = &mut self.reloader.rollouts[place];
        if steps.is_empty() {
            return Done::Unchanged;
        }
        if steps.iter().any(Step::waits) && rollout.is_crowded() {
            rollout.park(steps, cause);
            return Done::Waiting;
        }
        let done = if matches!(steps.last(), Some(Step::Try(..))) { Done::Canary } else { Done::Serving };
        let taking_over: Vec<_> = steps.iter().filter_map(Step::taking_over).map(Arc::clone).collect();
        rollout.take(steps, &base, cause);
        self.reloader.modules.settle(&self.reloader.config.plugins, &taking_over);
        self.publish(|before, reloader| before.with(reloader.slots()));
        done
    }

    fn stage(&mut self, name: &str, bytes: Vec<u8>, cause: Cause) -> Answer {
        let place = self.place(name)?;
        let Reloader { rollouts, modules, workers, .. } = &mut self.reloader;
        let rollout = &mut rollouts[place];
        let plugin = Arc::clone(&rollout.plugin);
        let fetched = Fetched::new(bytes, Origin::Upload);
        let made = plan::make(modules, &plugin, &fetched, None, (Track::Stable, *workers));
        modules.forget();
        match made {
            Ok(generation) => {
                rollout.stage(generation, cause);
                Ok(Done::Staged)
            }
            Err(fault) => {
                rollout.fail(&fault, cause);
                Err(Refused::Modules(vec![fault]))
            }
        }
    }

    /// What is staged serves, else the canary.
    fn promote(&mut self, name: &str, cause: Cause) -> Answer {
        let place = self.place(name)?;
        let rollout = &self.reloader.rollouts[place];
        if let Some(staged) = rollout.staged().map(Arc::clone) {
            self.reloader.reaches(&staged)?;
            return Ok(self.step(place, vec![Step::Serve(staged)], cause));
        }
        self.promote_canary(place, cause)
    }

    /// What is tried serves, whatever is staged: nobody has tried that.
    fn promote_canary(&mut self, place: usize, cause: Cause) -> Answer {
        let rollout = &self.reloader.rollouts[place];
        let canary = rollout.canary().map(Arc::clone);
        let nothing = || Refused::nothing(&rollout.plugin.name, "nothing is staged and no canary is tried");
        let canary = canary.ok_or_else(nothing)?;
        let generation = self.again(&canary, Track::Stable, cause)?;
        Ok(self.step(place, vec![Step::Serve(generation)], cause))
    }

    /// The canary goes, else the generation before serves again.
    fn roll_back(&mut self, name: &str, cause: Cause) -> Answer {
        let place = self.place(name)?;
        let rollout = &self.reloader.rollouts[place];
        if rollout.canary().is_some() {
            return Ok(self.step(place, vec![Step::EndTrial], cause));
        }
        let before = rollout.previous().map(Arc::clone);
        let before = before.ok_or_else(|| Refused::nothing(name, "there is no generation before this one"))?;
        let generation = self.again(&before, Track::Stable, cause)?;
        Ok(self.step(place, vec![Step::Back(generation)], cause))
    }

    fn try_out(&mut self, name: &str, share: Option<Ratio>, cause: Cause) -> Answer {
        let place = self.place(name)?;
        let rollout = &self.reloader.rollouts[place];
        let share = share.unwrap_or(rollout.plugin.rollout.share);
        let staged = rollout.staged().or(rollout.canary()).map(Arc::clone);
        let staged = staged.ok_or_else(|| Refused::nothing(name, "nothing is staged; upload a module first"))?;
        let generation = self.again(&staged, Track::Canary, cause)?;
        Ok(self.step(place, vec![Step::Try(generation, share)], cause))
    }

    /// A generation like another, with VMs that are ready.
    fn again(&mut self, like: &Arc<Generation>, track: Track, cause: Cause) -> Result<Arc<Generation>, Refused> {
        self.reloader.reaches(like)?;
        let Reloader { rollouts, modules, workers, .. } = &mut self.reloader;
        let generation = modules.again(like, track);
        let Err(fault) = generation.restock(*workers + spares::READY) else { return Ok(generation) };
        modules.forget();
        let rollout = rollouts.iter_mut().find(|rollout| rollout.plugin.name == fault.plugin);
        rollout.into_iter().for_each(|rollout| rollout.fail(&fault, cause));
        Err(Refused::Modules(vec![fault]))
    }

    fn place(&self, name: &str) -> Result<usize, Refused> {
        let rollouts = &self.reloader.rollouts;
        let known = || rollouts.iter().map(|rollout| rollout.plugin.name.clone()).collect();
        let place = rollouts.iter().position(|rollout| rollout.plugin.name == name);
        place.ok_or_else(|| Refused::Unknown { name: name.to_owned(), known: known() })
    }

    /// Where a trial begins, if one does.
    fn base(&self, plugin: &config::Plugin, steps: &[Step]) -> Base {
        if !steps.iter().any(|step| matches!(step, Step::Try(..))) {
            return Base::default();
        }
        let registry = &self.around.shared.registry;
        let series = |worker| registry.plugin(worker, (&plugin.name, Track::Canary), plugin.quota.metric_series);
        let series = (0..self.reloader.workers).map(series).collect();
        // Read once they are held: none of them begins anew after that.
        Base { tally: self.tally(&plugin.name), series }
    }

    /// What the canaries of a plugin have come to, over all workers.
    fn tally(&self, name: &str) -> Tally {
        let series = self.around.shared.registry.plugin_by_worker(name, Track::Canary);
        series.iter().fold(Tally::default(), |sum, (_, series)| Tally {
            exchanges: sum.exchanges + series.exchanges.get(),
            failures: sum.failures + series.denied.get() + series.skipped.get(),
        })
    }

    /// Judges canaries, and takes up what waited.
    fn look(&mut self) {
        for place in 0..self.reloader.rollouts.len() {
            let rollout = &mut self.reloader.rollouts[place];
            rollout.tidy();
            if let Some((steps, cause)) = rollout.unpark() {
                self.step(place, steps, cause);
            }
            self.judge(place);
        }
        self.reloader.gone.retain(|generation| generation.residents() > 0);
        self.resume();
        self.show();
    }

    /// Takes the configuration over that waits, once there is room.
    fn resume(&mut self) {
        let rollouts = &mut self.reloader.rollouts;
        let mut waits = |deferred: &mut Deferred| {
            let mut its_own = rollouts.iter_mut().filter(|rollout| deferred.crowded.contains(&rollout.plugin.name));
            its_own.any(Rollout::is_crowded)
        };
        let Some(Deferred { config, trigger, .. }) = self.deferred.take_if(|deferred| !waits(deferred)) else { return };
        if let Err(refused) = self.configure(config, Cause::now(trigger)) {
            tracing::error!("{refused}");
        }
    }

    fn judge(&mut self, place: usize) {
        let rollout = &self.reloader.rollouts[place];
        if rollout.canary().is_none() {
            return;
        }
        let name = rollout.plugin.name.clone();
        let tally = self.tally(&name);
        let outcome = match self.reloader.rollouts[place].judge(tally) {
            Verdict::Wait => return,
            Verdict::Promote => self.promote_canary(place, Cause::now(Trigger::Rule)),
            Verdict::Rollback => self.roll_back(&name, Cause::now(Trigger::Rule)),
        };
        match outcome {
            Ok(_) => tracing::warn!(filter = name, ?tally, "the rule of the canary decided"),
            Err(refused) => {
                tracing::error!(filter = name, "{refused}");
                self.reloader.rollouts[place].put_off();
            }
        }
    }

    /// One store; exchanges that begin from here on see it.
    fn publish(&mut self, snapshot: impl FnOnce(&Snapshot, &Reloader) -> Snapshot) {
        std::thread::sleep(INTERVAL.saturating_sub(self.published.elapsed()));
        let shared = &self.around.shared;
        let fresh = snapshot(&shared.snapshot.load(), &self.reloader);
        self.introduce(&fresh.slots);
        shared.snapshot.store(Arc::new(fresh));
        self.published = Instant::now();
    }

    /// Names what serves to whoever counts, and has its spares filled as long as there is one.
    fn introduce(&self, slots: &[Slot]) {
        let generations = || slots.iter().flat_map(Slot::generations);
        self.around.shared.registry.set_modules(generations().map(|generation| generation.describe()));
        for generation in generations().filter(|generation| generation.spares.begin()) {
            self.around.control.spawn(spares::keep(Arc::downgrade(generation), Arc::clone(&generation.spares)));
        }
    }

    fn show(&self) {
        self.sight.store(Arc::new(self.reloader.sight()));
        let files = self.reloader.files();
        self.around.follow.send_if_modified(|known| {
            let differs = *known != files;
            *known = files;
            differs
        });
    }
}

/// What a running proxy does not change.
fn restarts(before: &Config, after: &Config) -> Vec<&'static str> {
    let differs = [
        ("workers", before.workers != after.workers),
        ("admin", before.admin != after.admin || before.admin_token != after.admin_token),
        ("telemetry.access_log", before.telemetry != after.telemetry),
        ("node", before.node != after.node),
        ("cache", before.cache != after.cache),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
