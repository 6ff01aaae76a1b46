//! A whole configuration taken over: made ready, then published at once, or kept until there is room.

use std::sync::Arc;
use std::time::SystemTime;

use tollgate_config::Config;

use super::{Change, Live};
use crate::app::listeners::{Changes, Committed};
use crate::app::reload::plan::{self, Plan};
use crate::app::reload::{Answer, Done, LastReload, Refused, tls};
use crate::app::{descriptors, marks};
use crate::filter::digest::Digest;
use crate::filter::generation::Generation;
use crate::filter::rollout::{Cause, Rollout, Trigger};
use crate::snapshot::Snapshot;

/// A configuration that waits for replaced generations to end.
pub(super) struct Deferred {
    config: Config,
    trigger: Trigger,
    /// The plugins that have too many of them.
    crowded: Vec<String>,
    /// What it was made ready as: their code is there when it is made ready once more.
    _made: Vec<Arc<Generation>>,
}

impl Live {
    /// Reads the configuration and every module again.
    pub(super) fn reload(&mut self, cause: Cause) -> Answer {
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

    pub(super) fn configure(&mut self, config: Config, cause: Cause) -> Answer {
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
        if refused.is_none() {
            tracing::info!(trigger = trigger.as_str(), "configuration taken over");
        }
        self.around.shared.registry.reloads().note(refused.is_none());
        self.reloader.last_reload = Some(LastReload { at: SystemTime::now(), trigger, refused });
        outcome
    }

    /// Makes everything ready that a configuration changes, then publishes it at once.
    fn take_over(&mut self, config: Config, cause: Cause) -> Answer {
        let reloader = &mut self.reloader;
        if reloader.listeners.are_left() {
            return Err(Refused::Ending);
        }
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
            let _made = plan::taking_over(&plans);
            self.deferred = Some(Deferred { config, trigger: cause.trigger, crowded, _made });
            return Ok(Done::Waiting);
        }
        let tls = match reloader.tls.plan(&config) {
            Ok(tls) => tls,
            Err(faults) => {
                reloader.give_up();
                return Err(Refused::Tls(faults));
            }
        };
        // Whoever connects to a socket that listens is to be served, so nothing may go wrong after this.
        let planned = marks::check(&config).and_then(|()| reloader.listeners.plan(&config.listeners, reloader.workers));
        let changes = match planned {
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
        descriptors::beyond(&config, self.around.shared.room).iter().for_each(|line| tracing::warn!("{line}"));
        self.adopt(config, plans, (changes, tls), cause);
        Ok(Done::Serving)
    }

    fn adopt(&mut self, config: Config, plans: Vec<Plan>, (changes, tls): (Changes, tls::Plan), cause: Cause) {
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
        reloader.tls.adopt(tls, &self.around.shared.registry);
        reloader.dump = Arc::new(config.expanded.clone());
        reloader.man(&config.clusters);
        reloader.config = config;
        let ids = changes.ids().to_vec();
        let Committed { sockets, mut closed, copies } = reloader.listeners.commit(changes, reloader.workers);
        self.keep();
        self.around.shared.own.store(Arc::new(self.reloader.listeners.addresses()));
        self.publish(|before, reloader| {
            let config = &reloader.config;
            let around = (reloader.fleets.clone(), reloader.tls.parties(config));
            Snapshot::new(Some(before), config, &ids, reloader.slots(), around)
        });
        for (hand, sockets) in self.around.hands.iter().zip(sockets) {
            // A worker that has ended accepts nothing.
            let _ = hand.send(Change::Open(sockets));
        }
        // Only now: whoever has what is kept closed must be heard after this.
        closed.extend(self.reloader.listeners.keep(copies));
        let closes = self.around.hands.iter().flat_map(|hand| closed.iter().map(move |id| (hand, id)));
        closes.for_each(|(hand, id)| drop(hand.send(Change::Close(*id))));
    }

    /// Takes the configuration over that waits, once there is room.
    pub(super) fn resume(&mut self) {
        let rollouts = &mut self.reloader.rollouts;
        let mut waits = |deferred: &mut Deferred| {
            let mut its_own = rollouts.iter_mut().filter(|rollout| deferred.crowded.contains(&rollout.plugin.name));
            its_own.any(Rollout::is_crowded)
        };
        let Some(Deferred { config, trigger, _made, .. }) = self.deferred.take_if(|deferred| !waits(deferred)) else {
            return;
        };
        if let Err(refused) = self.configure(config, Cause::now(trigger)) {
            tracing::error!("{refused}");
        }
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
