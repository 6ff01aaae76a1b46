//! Resident memory of a process over time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tollgate_benches::fit::Line;
pub(crate) use tollgate_benches::memory::resident;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// What was seen while something else was done.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<(Duration, u64)>);

impl Seen {
    /// The most bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default()
    }

    /// How many bytes more a minute: the line that fits the later half best, in which caches are full.
    pub(crate) fn slope(&self) -> f64 {
        let late = self.0.get(self.0.len() / 2..).unwrap_or_default();
        let points: Vec<_> = late.iter().map(|(time, bytes)| (time.as_secs_f64() / 60.0, *bytes as f64)).collect();
        Line::through(&points).slope
    }
}

/// Looks at a process while `work` is done.
pub(crate) fn during<T>(process: u32, work: impl FnOnce() -> T) -> (T, Seen) {
    let (done, began) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                // A process that is gone is noticed by whoever talks to it.
                seen.extend(resident(process).ok().map(|bytes| (began.elapsed(), bytes)));
                thread::sleep(PERIOD);
            }
            Seen(seen)
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        (outcome, watching.join().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_of_the_later_half() {
        let grows = |minute: u64| (Duration::from_secs(minute * 60), minute * 10);
        let steep = (0..5).map(|minute| (Duration::from_secs(minute), minute * 1000));

        let seen = Seen(steep.chain((5..10).map(grows)).collect());

        assert!((seen.slope() - 10.0).abs() < 1e-6, "{}", seen.slope());
    }
}
