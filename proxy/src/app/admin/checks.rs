//! What `/live` and `/ready` stand on: one line for each thing that may be wrong with the process.
//!
//! A change that did not come about leaves what was there serving, so it is told of and takes no traffic away.

use std::time::{Duration, SystemTime};

use super::{AdminState, Stage};
use crate::app::memory::said;
use crate::app::reload::{LastReload, Sight, tls};
use crate::filter::rollout::View;
use crate::pressure::{Memory, Pressure};
use crate::telemetry::metrics::{Pulse, Registry};
use crate::telemetry::timestamp::Timestamp;

/// A process that was stopped as a whole finds all its workers late when it goes on; they get this to come round.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// One thing that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) name: String,
    /// Whether it is as it should be.
    pub(super) finding: Finding,
    /// What was found, in a few words.
    pub(super) text: String,
}

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is as it should be.
    Good,
    /// An operator should know, traffic need not.
    Noted,
    /// No traffic should come.
    Bad,
}

impl Finding {
    /// What stands before a line.
    fn mark(self) -> char {
        match self {
            Self::Good => '+',
            Self::Noted => '!',
            Self::Bad => '-',
        }
    }
}

/// The workers that are stuck; none when the process lives.
pub(super) async fn stuck(registry: &Registry) -> Vec<Check> {
    let workers = pulses(registry).await.into_iter().enumerate();
    workers.filter(|(_, pulse)| pulse.is_stuck()).map(|(worker, pulse)| of_worker(worker, pulse)).collect()
}

/// Everything that traffic depends on.
pub(super) async fn all(state: &AdminState) -> Vec<Check> {
    let workers = pulses(&state.registry).await.into_iter().enumerate();
    let mut checks = vec![of_stage(state.readiness.stage())];
    checks.extend(workers.map(|(worker, pulse)| of_worker(worker, pulse)));
    let sight: &Sight = &state.orders.sight();
    checks.push(of_memory(state.registry.memory()));
    checks.push(of_config(sight.last_reload.as_ref()));
    checks.extend(sight.plugins.iter().map(of_filter));
    checks.extend(sight.tls.iter().map(|view| of_tls(view, SystemTime::now())));
    checks
}

/// What is wrong, or else `fine`; with `verbose`, every check follows on a line of its own.
pub(super) fn page(checks: &[Check], fine: &str, verbose: bool) -> (bool, String) {
    let wrong: Vec<_> = checks.iter().filter(|check| check.finding == Finding::Bad).map(line).collect();
    let mut page = if wrong.is_empty() { format!("{fine}\n") } else { wrong.concat() };
    if verbose {
        let marked = |check: &Check| format!("[{}] {}", check.finding.mark(), line(check));
        page.extend(checks.iter().map(marked));
    }
    (wrong.is_empty(), page)
}

fn line(check: &Check) -> String {
    format!("{}: {}\n", check.name, check.text)
}

async fn pulses(registry: &Registry) -> Vec<Pulse> {
    let pulses = registry.pulses();
    if !pulses.iter().any(|pulse| pulse.is_stuck()) {
        return pulses;
    }
    tokio::time::sleep(SECOND_LOOK).await;
    registry.pulses()
}

fn of_stage(stage: Stage) -> Check {
    let (finding, text) = match stage {
        Stage::Ready => (Finding::Good, "ready"),
        Stage::Starting => (Finding::Bad, "starting, not every worker serves yet"),
        Stage::Draining => (Finding::Bad, "draining, the process is about to end"),
    };
    Check { name: "stage".to_owned(), finding, text: text.to_owned() }
}

fn of_worker(worker: usize, pulse: Pulse) -> Check {
    let (finding, text) = match pulse {
        Pulse::Starting => (Finding::Bad, "starting".to_owned()),
        Pulse::Beating => (Finding::Good, "serving".to_owned()),
        Pulse::Ended => (Finding::Good, "ended".to_owned()),
        Pulse::Stuck(silent) => {
            (Finding::Bad, format!("stuck for {:.1} s, most likely in a filter", silent.as_secs_f64()))
        }
    };
    Check { name: format!("worker {worker}"), finding, text }
}

/// Others would have no memory either, if all of them were given up.
fn of_memory(memory: Memory) -> Check {
    let finding = if memory.pressure == Pressure::Calm { Finding::Good } else { Finding::Noted };
    let bound = memory.bound.map_or_else(|| "no bound".to_owned(), |bound| said(bound).to_string());
    let text = format!("{} of {bound}, {}", said(memory.resident), memory.pressure.measure());
    Check { name: "memory".to_owned(), finding, text }
}

fn of_config(last: Option<&LastReload>) -> Check {
    let (finding, text) = match last {
        None => (Finding::Good, "as at the start".to_owned()),
        Some(LastReload { at, trigger, refused: None }) => {
            (Finding::Good, format!("reloaded at {} by {}", Timestamp(*at), trigger.as_str()))
        }
        Some(LastReload { at, trigger, refused: Some(why) }) => {
            // Further lines show the text of the configuration, which may hold secrets.
            let why = why.lines().next().unwrap_or_default();
            (Finding::Noted, format!("reload at {} by {} refused: {why}", Timestamp(*at), trigger.as_str()))
        }
    };
    Check { name: "config".to_owned(), finding, text }
}

fn of_tls(view: &tls::View, now: SystemTime) -> Check {
    let first = view.shown.iter().min_by_key(|(_, not_after)| *not_after);
    let text = first.map(|(name, not_after)| {
        let verb = if *not_after < now { "expired at" } else { "good until" };
        format!("certificate {name} {verb} {}", Timestamp(*not_after))
    });
    let refused = view.refused.as_ref().map(|(at, why)| {
        let why = why.lines().next().unwrap_or_default();
        format!("change at {} refused: {why}", Timestamp(*at))
    });
    let is_good = refused.is_none() && first.is_none_or(|(_, not_after)| *not_after >= now);
    let text: Vec<_> = [text, refused].into_iter().flatten().collect();
    let text = if text.is_empty() { "spoken without a certificate".to_owned() } else { text.join("; ") };
    let finding = if is_good { Finding::Good } else { Finding::Noted };
    Check { name: format!("tls of {} {}", view.kind, view.owner), finding, text }
}

fn of_filter(view: &View) -> Check {
    let serving = view.serving.as_ref().map(|serving| format!("serving generation {}", serving.number));
    let failed = view.last_error.as_ref().map(|incident| {
        let message = incident.message.lines().next().unwrap_or_default();
        format!("failed: step {}, error[{}]: {message}", incident.step, incident.code)
    });
    let finding = if serving.is_some() && failed.is_none() { Finding::Good } else { Finding::Noted };
    let text = [serving, failed].into_iter().flatten().collect::<Vec<_>>().join("; last module ");
    Check { name: format!("filter {}", view.name), finding, text }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::filter::rollout::Trigger;

    fn check(name: &str, finding: Finding, text: &str) -> Check {
        Check { name: name.to_owned(), finding, text: text.to_owned() }
    }

    #[test]
    fn the_page_says_what_is_wrong_and_with_verbose_what_is_right() {
        let checks = [check("stage", Finding::Good, "ready"), check("worker 0", Finding::Bad, "stuck")];

        assert_eq!(page(&checks, "ready", false), (false, "worker 0: stuck\n".to_owned()));
        let verbose = "worker 0: stuck\n[+] stage: ready\n[-] worker 0: stuck\n";
        assert_eq!(page(&checks, "ready", true), (false, verbose.to_owned()));
        assert_eq!(page(&checks[..1], "ready", true), (true, "ready\n[+] stage: ready\n".to_owned()));
    }

    #[test]
    fn what_is_noted_takes_no_traffic_away() {
        let checks = [check("config", Finding::Noted, "refused")];

        assert_eq!(page(&checks, "ready", true), (true, "ready\n[!] config: refused\n".to_owned()));
    }

    #[test]
    fn a_stuck_worker_is_named_with_its_time() {
        let stuck = of_worker(3, Pulse::Stuck(Duration::from_millis(3250)));

        assert_eq!(stuck, check("worker 3", Finding::Bad, "stuck for 3.2 s, most likely in a filter"));
    }

    #[test]
    fn memory_that_is_short_is_noted_with_what_is_done_about_it() {
        let memory = |bound, pressure| of_memory(Memory { resident: 500 << 20, bound, pressure });

        let calm = check("memory", Finding::Good, "500MiB of no bound, nothing is refused");
        assert_eq!(memory(None, Pressure::Calm), calm);
        let over = check("memory", Finding::Noted, "500MiB of 450MiB, requests are refused (overloaded)");
        assert_eq!(memory(Some(450 << 20), Pressure::Over), over);
    }

    #[test]
    fn of_a_refused_reload_only_the_first_line_is_told() {
        let refused = "error[TG0103]: unknown key\n  --> a.yaml:1:1\n 1 | secret".to_owned();
        let last = LastReload { at: SystemTime::UNIX_EPOCH, trigger: Trigger::Signal, refused: Some(refused) };

        let text = "reload at 1970-01-01T00:00:00.000Z by signal refused: error[TG0103]: unknown key";
        assert_eq!(of_config(Some(&last)), check("config", Finding::Noted, text));
    }
}
