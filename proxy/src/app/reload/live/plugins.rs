//! One plugin changed: by its files, by an operator, by the rule of its canary.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_config::{self as config, Ratio};

use super::Live;
use crate::app::reload::plan::{self, Plan};
use crate::app::reload::{Answer, Done, Refused, Reloader};
use crate::filter::fault::Fault;
use crate::filter::generation::{Generation, Origin};
use crate::filter::modules::Fetched;
use crate::filter::rollout::{Base, Cause, Step, Tally, Trigger, Verdict};
use crate::filter::spares;
use crate::telemetry::metrics::Track;

impl Live {
    /// Takes over what these files hold.
    pub(super) fn look_at(&mut self, files: &[PathBuf], cause: Cause) -> Answer {
        let (fresh, unfit) = self.reloader.tls.refresh(files, &self.around.shared.registry);
        let mut done = if fresh { Done::Serving } else { Done::Unchanged };
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
        match (faults.is_empty(), unfit.is_empty()) {
            (true, true) => Ok(done),
            (false, _) => Err(Refused::Modules(faults)),
            (true, false) => Err(Refused::Tls(unfit)),
        }
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
    pub(super) fn step(&mut self, place: usize, steps: Vec<Step>, cause: Cause) -> Done {
        let base = self.base(&self.reloader.rollouts[place].plugin, &steps);
        let rollout = &mut self.reloader.rollouts[place];
        if steps.is_empty() {
            return Done::Unchanged;
        }
        if cause.trigger == Trigger::Admin {
            rollout.obey(self.number, &steps);
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

    pub(super) fn stage(&mut self, name: &str, bytes: Bytes, cause: Cause) -> Answer {
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
    pub(super) fn promote(&mut self, name: &str, cause: Cause) -> Answer {
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
    pub(super) fn roll_back(&mut self, name: &str, cause: Cause) -> Answer {
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

    pub(super) fn try_out(&mut self, name: &str, share: Option<Ratio>, cause: Cause) -> Answer {
        let place = self.place(name)?;
        let rollout = &self.reloader.rollouts[place];
        if rollout.serving().is_none() {
            return Err(Refused::nothing(name, "nothing serves that a module could be tried beside; promote it"));
        }
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
    pub(super) fn base(&self, plugin: &config::Plugin, steps: &[Step]) -> Base {
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

    pub(super) fn judge(&mut self, place: usize) {
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
}
