//! Rounds: in each, every job is done once in a closed loop, and then every job that has one once at its pace, in an order that
//! turns by one place from round to round. Two jobs are compared within a round, because between rounds the machine changes
//! more than the targets differ: so what is compared comes close together, and there are many short rounds rather than few
//! long ones.

use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::gettid;

use crate::cores;
use crate::error::BenchError;
use crate::load::{Ask, Load, Paced, Tally};
use crate::origin::Origin;
use crate::results::Round;
use crate::target::Target;
use crate::times::Times;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// How often each job is done.
    pub rounds: usize,
    /// How long each time, in a closed loop and then at a pace.
    pub time: Duration,
    /// How long before that without being measured, so that connections exist on both sides.
    pub ramp: Duration,
}

/// What is asked of one target.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its place among the targets.
    pub target: usize,
    /// What is asked; the address is the target's.
    pub ask: Ask,
    /// Requests a second, where latencies are measured too.
    pub rate: Option<f64>,
}

/// What came of a job: its rounds so far, or why there are none.
type Found = Result<Vec<Round>, BenchError>;

/// What came of each job, in the jobs' order and the rounds'. One failed request and there is nothing of that job, which is
/// not done again; the others go on. Targets whose turn it is not stand still. In a closed loop the load
/// serves `origin` if it has one, and does not sleep then.
pub fn run(targets: &mut [Target], jobs: &[Job], amount: &Amount, origin: Option<&Origin>) -> Vec<Found> {
    let mut found: Vec<Found> = jobs.iter().map(|_| Ok(Vec::new())).collect();
    let are_paced = jobs.iter().any(|job| job.rate.is_some());
    targets.iter().for_each(Target::pause);
    for round in 0..amount.rounds {
        pass(round, targets, jobs, &mut found, |target, job, rounds| {
            rounds.push(closed_loop(target, &job.ask, amount, origin)?);
            Ok(())
        });
        if are_paced {
            pass(round, targets, jobs, &mut found, |target, job, rounds| late(target, job, amount, rounds.last_mut()));
        }
    }
    targets.iter().for_each(Target::resume);
    found
}

/// Has the turn of each job come once, unless it has failed.
fn pass(
    round: usize,
    targets: &mut [Target],
    jobs: &[Job],
    found: &mut [Found],
    act: impl Fn(&mut Target, &Job, &mut Vec<Round>) -> Result<(), BenchError>,
) {
    for turn in order(round, jobs.len()) {
        let Some((job, found)) = jobs.get(turn).zip(found.get_mut(turn)) else { continue };
        let Some((target, rounds)) = targets.get_mut(job.target).zip(found.as_mut().ok()) else { continue };
        target.resume();
        let done = act(target, job, rounds);
        target.pause();
        if let Err(error) = done {
            *found = Err(error);
        }
    }
}

/// The places of the jobs in a round.
fn order(round: usize, jobs: usize) -> impl Iterator<Item = usize> {
    (0..jobs).map(move |turn| (round + turn) % jobs)
}

/// As fast as the target can.
fn closed_loop(target: &mut Target, ask: &Ask, amount: &Amount, origin: Option<&Origin>) -> Result<Round, BenchError> {
    let reading = |target: &Target| target.cpu().map_err(BenchError::while_doing("reading CPU time"));
    let driving = || BenchError::while_doing("driving a target");
    let mut load = Load::open(ask).map_err(driving())?.beside(origin.map(Origin::take));
    let ramp = load.run(amount.ramp).map_err(driving())?;
    let (used, idle, started) = (reading(target)?, load.idle(), Instant::now());
    let measured = load.run(amount.time).map_err(driving())?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), reading(target)?.saturating_sub(used).as_secs_f64());
    let idle = load.idle().saturating_sub(idle).as_secs_f64();
    let requests = measured.answered;
    let last = load.finish().map_err(driving())?;
    accept(target, &[ramp, measured, last])?;
    let each = requests.max(1) as f64;
    let (share, load) = (cpu / wall, Some(1.0 - idle / wall));
    Ok(Round { requests, cpu_micros: cpu * 1e6 / each, rate: each / wall, share, load, latency: None })
}

/// Notes in the round how late answers were, where the job has a pace.
fn late(target: &mut Target, job: &Job, amount: &Amount, round: Option<&mut Round>) -> Result<(), BenchError> {
    let Some((rate, round)) = job.rate.zip(round) else { return Ok(()) };
    let paced = at_pace(&job.ask, rate, amount).map_err(BenchError::while_doing("driving a target"))?;
    accept(target, &[paced.tally])?;
    round.latency = Some(percentiles(paced.latencies));
    Ok(())
}

/// The load comes first on its core, where that is allowed: it is to find out how long others take. It sleeps between requests,
/// as what never does is not let onto its core at once whenever it wants.
fn at_pace(ask: &Ask, rate: f64, amount: &Amount) -> std::io::Result<Paced> {
    let load = || {
        // Whether it may is told by `machine`.
        let _ = cores::put_first(gettid());
        let mut load = Load::open(ask)?;
        load.keep_pace(rate, amount.ramp)?;
        load.keep_pace(rate, amount.time)
    };
    let paced = thread::scope(|scope| scope.spawn(load).join());
    paced.map_err(|_| std::io::Error::other("the load panicked"))?
}

/// Microseconds that half, 99 in a hundred and 999 in a thousand are not above.
fn percentiles(latencies: Vec<Duration>) -> [f64; 3] {
    let times = Times::of(latencies);
    [500, 990, 999].map(|part| times.per_mille(part).as_secs_f64() * 1e6)
}

/// Refuses what is not whole.
pub fn accept(target: &mut Target, tallies: &[Tally]) -> Result<(), BenchError> {
    let failed = tallies.iter().map(|tally| tally.failed).sum();
    let answered: u64 = tallies.iter().map(|tally| tally.answered).sum();
    match tallies.iter().find_map(|tally| tally.first_failure.clone()) {
        None if answered > 0 => Ok(()),
        first => Err(BenchError::Failed {
            target: target.name.clone(),
            failed,
            sent: answered + failed,
            first: first.unwrap_or_else(|| "no answer came".to_owned()),
            fate: target.fate(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_turns_by_one_place_from_round_to_round() {
        let orders = [0, 1, 2].map(|round| order(round, 3).collect::<Vec<_>>());

        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(order(2, 0).count(), 0);
    }

    #[test]
    fn percentiles_are_counted_from_the_least() {
        let latencies = (1..=1000).rev().map(Duration::from_micros).collect();

        assert_eq!(percentiles(latencies).map(|micros| format!("{micros:.0}")), ["500", "990", "999"]);
        assert_eq!(percentiles(Vec::new()), [0.0; 3]);
    }
}
