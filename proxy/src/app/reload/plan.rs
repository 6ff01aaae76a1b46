//! What a configuration asks of one plugin, made ready before anything changes.

use std::sync::Arc;

use tollgate_config::{self as config, Canary};

use crate::filter::digest::Digest;
use crate::filter::fault::Fault;
use crate::filter::generation::Generation;
use crate::filter::modules::{self, Fetched, Modules};
use crate::filter::rollout::{Base, Cause, Rollout, Step};
use crate::filter::selftest;
use crate::filter::spares;
use crate::telemetry::metrics::Track;

/// See the module.
pub(super) struct Plan {
    plugin: Arc<config::Plugin>,
    /// What the files of the module and of its canary hold.
    seen: (Option<Digest>, Option<Digest>),
    /// None: everything stays.
    pub(super) steps: Vec<Step>,
    /// Why something does not serve or is not tried, where the configuration allows that.
    pub(super) fault: Option<Fault>,
}

/// Bytes → a generation with a VM for each worker and one to spare, that has passed its tests.
pub(super) fn make(
    modules: &mut Modules,
    plugin: &Arc<config::Plugin>,
    fetched: &Fetched,
    pin: Option<[u8; 32]>,
    (track, workers): (Track, usize),
) -> Result<Arc<Generation>, Fault> {
    let generation = modules.prepare(plugin, fetched, pin, track)?;
    generation.stock(workers + spares::READY)?;
    selftest::run(&generation)?;
    Ok(generation)
}

/// Every generation that serves once these plans are carried out, and did not before.
pub(super) fn taking_over(plans: &[Plan]) -> Vec<Arc<Generation>> {
    plans.iter().flat_map(|plan| &plan.steps).filter_map(Step::taking_over).map(Arc::clone).collect()
}

impl Plan {
    fn new(plugin: &config::Plugin) -> Self {
        Self { plugin: Arc::new(plugin.clone()), seen: (None, None), steps: Vec::new(), fault: None }
    }

    /// For a plugin that is new or other than before. Where the configuration lets the proxy run without it, a fault is
    /// part of the plan.
    pub(super) fn fresh(modules: &mut Modules, plugin: &config::Plugin, workers: usize) -> Result<Plan, Fault> {
        let mut plan = Plan::new(plugin);
        match plan.load(modules, workers) {
            Err(fault) if plan.plugin.on_error.load.is_some() => {
                tracing::error!(filter = fault.plugin, "{fault}");
                plan.fault = Some(fault);
                Ok(plan)
            }
            outcome => outcome.map(|()| plan),
        }
    }

    fn load(&mut self, modules: &mut Modules, workers: usize) -> Result<(), Fault> {
        let plugin = Arc::clone(&self.plugin);
        let fetched = modules.fetch(&plugin, &plugin.module)?;
        self.seen.0 = Some(fetched.digest);
        self.serve(modules, &fetched, workers)?;
        match &plugin.rollout.canary {
            Some(canary) => self.try_out(modules, canary, workers),
            None => Ok(()),
        }
    }

    /// For a plugin that there is: only what changed is made anew.
    pub(super) fn update(
        modules: &mut Modules,
        rollout: &Rollout,
        plugin: &config::Plugin,
        workers: usize,
    ) -> Result<Plan, Fault> {
        let Some(serving) = rollout.serving().filter(|serving| modules.fits(serving, plugin)) else {
            return Plan::fresh(modules, plugin, workers);
        };
        let mut plan = Plan::new(plugin);
        let fetched = modules.fetch(plugin, &plugin.module)?;
        modules::verify(plugin, &fetched, plugin.sha256)?;
        plan.seen.0 = Some(fetched.digest);
        // What was uploaded serves until the file says something new.
        if rollout.seen != plan.seen.0 && serving.digest != fetched.digest {
            plan.serve(modules, &fetched, workers)?;
        }
        plan.update_canary(modules, rollout, workers)?;
        Ok(plan)
    }

    fn update_canary(&mut self, modules: &mut Modules, rollout: &Rollout, workers: usize) -> Result<(), Fault> {
        let plugin = Arc::clone(&self.plugin);
        let Some(canary) = &plugin.rollout.canary else {
            if rollout.plugin.rollout.canary.is_some() {
                self.steps.push(Step::EndTrial);
            }
            return Ok(());
        };
        let fetched = modules.fetch(&plugin, &canary.module)?;
        // A canary whose trial is over is not tried again before its file or the configuration says something else.
        if rollout.seen_canary == Some(fetched.digest) && rollout.plugin.rollout == plugin.rollout {
            self.seen.1 = rollout.seen_canary;
            return Ok(());
        }
        self.try_out(modules, canary, workers)
    }

    fn serve(&mut self, modules: &mut Modules, fetched: &Fetched, workers: usize) -> Result<(), Fault> {
        let generation = make(modules, &self.plugin, fetched, self.plugin.sha256, (Track::Stable, workers))?;
        self.steps.push(Step::Serve(generation));
        Ok(())
    }

    fn try_out(&mut self, modules: &mut Modules, canary: &Canary, workers: usize) -> Result<(), Fault> {
        let fetched = modules.fetch(&self.plugin, &canary.module)?;
        let generation = make(modules, &self.plugin, &fetched, canary.sha256, (Track::Canary, workers))?;
        self.seen.1 = Some(fetched.digest);
        self.steps.push(Step::Try(generation, self.plugin.rollout.share));
        Ok(())
    }

    /// True for a plan of that plugin.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.plugin.name == name
    }

    /// The books of the plugin after all but the steps and the fault, which come next.
    pub(super) fn note(&self, rollout: &mut Rollout) {
        rollout.plugin = Arc::clone(&self.plugin);
        let says_new = self.seen.0.is_some() && self.seen.0 != rollout.seen;
        if says_new && self.steps.is_empty() && self.fault.is_none() {
            rollout.forget_waiting();
        }
        rollout.seen = self.seen.0.or(rollout.seen);
        rollout.seen_canary = self.seen.1;
    }

    /// The books of the plugin after everything. `base`: where a trial begins.
    pub(super) fn carry_out(self, before: Option<Rollout>, base: &Base, cause: Cause) -> Rollout {
        let mut rollout = before.unwrap_or_else(|| Rollout::new(Arc::clone(&self.plugin)));
        self.note(&mut rollout);
        rollout.take(self.steps, base, cause);
        // What serves from here on has nothing to do with what does not.
        self.fault.iter().for_each(|fault| rollout.fail(fault, cause));
        rollout
    }
}
