//! What `/live` and `/ready` stand on: one line for each thing that may be wrong with the process.

use std::time::Duration;

use super::{AdminState, Stage};
use crate::telemetry::metrics::{Pulse, Registry};

/// A process that was stopped as a whole finds all its workers late when it goes on; they get this to come round.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// One thing that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in a few words.
    pub text: String,
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
    checks
}

/// What is wrong, or else `fine`; with `verbose`, every check follows on a line of its own.
pub(super) fn page(checks: &[Check], fine: &str, verbose: bool) -> (bool, String) {
    let wrong: Vec<_> = checks.iter().filter(|check| !check.ok).map(line).collect();
    let mut page = if wrong.is_empty() { format!("{fine}\n") } else { wrong.concat() };
    if verbose {
        let marked = |check: &Check| format!("[{}] {}", if check.ok { '+' } else { '-' }, line(check));
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
    let (ok, text) = match stage {
        Stage::Ready => (true, "ready"),
        Stage::Starting => (false, "starting, not every worker serves yet"),
        Stage::Draining => (false, "draining, the process is about to end"),
    };
    Check { name: "stage".to_owned(), ok, text: text.to_owned() }
}

fn of_worker(worker: usize, pulse: Pulse) -> Check {
    let (ok, text) = match pulse {
        Pulse::Starting => (false, "starting".to_owned()),
        Pulse::Beating => (true, "serving".to_owned()),
        Pulse::Ended => (true, "ended".to_owned()),
        Pulse::Stuck(silent) => (false, format!("stuck for {:.1} s, most likely in a filter", silent.as_secs_f64())),
    };
    Check { name: format!("worker {worker}"), ok, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, ok: bool, text: &str) -> Check {
        Check { name: name.to_owned(), ok, text: text.to_owned() }
    }

    #[test]
    fn the_page_says_what_is_wrong_and_with_verbose_what_is_right() {
        let checks = [check("stage", true, "ready"), check("worker 0", false, "stuck")];

        assert_eq!(page(&checks, "ready", false), (false, "worker 0: stuck\n".to_owned()));
        let verbose = "worker 0: stuck\n[+] stage: ready\n[-] worker 0: stuck\n";
        assert_eq!(page(&checks, "ready", true), (false, verbose.to_owned()));
        assert_eq!(page(&checks[..1], "ready", true), (true, "ready\n[+] stage: ready\n".to_owned()));
    }

    #[test]
    fn a_stuck_worker_is_named_with_its_time() {
        let stuck = of_worker(3, Pulse::Stuck(Duration::from_millis(3250)));

        assert_eq!(stuck, check("worker 3", false, "stuck for 3.2 s, most likely in a filter"));
    }
}
