//! Rounds: in each, every target is driven once, in an order that turns by one place from round to round.
//! Two targets are compared within a round, because between rounds the machine changes more than the targets differ.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::load::{Load, Tally};
use crate::target::Target;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// How often each target is driven.
    pub rounds: usize,
    /// How long each time.
    pub time: Duration,
    /// How long before that without being measured, so that connections exist on both sides.
    pub ramp: Duration,
    /// Connections of the load.
    pub connections: usize,
}

/// What one target did in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Requests with a good answer; there are no others in a sample.
    pub requests: u64,
    /// CPU time of the target's processes.
    pub cpu: Duration,
    /// How long it took.
    pub wall: Duration,
}

impl Sample {
    /// Microseconds of CPU time for one request.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }

    /// Requests in one second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// The part of one core that the target used.
    pub fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// The samples of every target, in the targets' order and the rounds'. One failed request and there are none.
pub fn run(targets: &mut [Target], amount: &Amount) -> Result<Vec<Vec<Sample>>, BenchError> {
    let mut samples = vec![Vec::new(); targets.len()];
    for round in 0..amount.rounds {
        for turn in 0..targets.len() {
            let place = (round + turn) % targets.len();
            if let (Some(target), Some(samples)) = (targets.get_mut(place), samples.get_mut(place)) {
                samples.push(sample(target, amount)?);
            }
        }
    }
    Ok(samples)
}

fn sample(target: &mut Target, amount: &Amount) -> Result<Sample, BenchError> {
    let reading = |target: &Target| target.cpu().map_err(BenchError::while_doing("reading CPU time"));
    let driving = || BenchError::while_doing("driving a target");
    let mut load = Load::open(target.address, amount.connections).map_err(driving())?;
    let ramp = load.run(amount.ramp).map_err(driving())?;
    let (used, started) = (reading(target)?, Instant::now());
    let measured = load.run(amount.time).map_err(driving())?;
    let sample =
        Sample { requests: measured.answered, wall: started.elapsed(), cpu: reading(target)?.saturating_sub(used) };
    let last = load.finish().map_err(driving())?;
    accept(target, [ramp, measured, last])?;
    Ok(sample)
}

fn accept(target: &mut Target, tallies: [Tally; 3]) -> Result<(), BenchError> {
    let failed = tallies.iter().map(|tally| tally.failed).sum();
    let answered: u64 = tallies.iter().map(|tally| tally.answered).sum();
    match tallies.into_iter().find_map(|tally| tally.first_failure) {
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
