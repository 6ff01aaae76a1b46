//! Turns of look-ups: a few at a time, and one that takes long gives its turn to others. How many have done so is bounded;
//! beyond that, those that hang keep their turns, and who comes next waits. Turns go in the order in which they are asked for.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    free: Semaphore,
    /// Room for those that have taken long.
    late: Semaphore,
    /// What is long.
    long: Duration,
}

impl Turns {
    /// So many turns at a time, and so many look-ups besides that have taken `long`.
    pub(super) fn new(free: usize, late: usize, long: Duration) -> Self {
        Self { free: Semaphore::new(free), late: Semaphore::new(late), long }
    }

    /// Does the work in its turn. Dropped, it gives up the work and its turn.
    pub(super) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        // Neither is ever closed.
        let turn = self.free.acquire().await.ok();
        if let Ok(done) = tokio::time::timeout(self.long, work.as_mut()).await {
            return done;
        }
        let late = self.late.try_acquire();
        let _turn = turn.filter(|_| late.is_err());
        work.await
    }

    /// Turns that are free, and room for those that have taken long.
    #[cfg(test)]
    pub(super) fn left(&self) -> (usize, usize) {
        (self.free.available_permits(), self.late.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    /// Turns of which so many are hanging, each for as long as the set is there.
    async fn hung(count: usize) -> (Arc<Turns>, JoinSet<()>) {
        let turns = Arc::new(Turns::new(2, 3, Duration::from_millis(5)));
        let mut hanging = JoinSet::new();
        for _ in 0..count {
            let turns = Arc::clone(&turns);
            hanging.spawn(async move { turns.take(pending()).await });
        }
        while turns.late.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (turns, hanging)
    }

    #[tokio::test]
    async fn what_hangs_holds_nobody_up() {
        let (turns, _hanging) = hung(3).await;

        assert_eq!(turns.take(async { "done" }).await, "done");
        assert_eq!(turns.left(), (2, 0));
    }

    #[tokio::test]
    async fn what_hangs_beyond_the_bound_keeps_its_turn_and_gives_it_back_when_it_is_given_up() {
        let (turns, mut hanging) = hung(5).await;
        assert!(tokio::time::timeout(Duration::from_millis(20), turns.take(async {})).await.is_err());

        hanging.shutdown().await;

        assert_eq!(turns.left(), (2, 3));
    }
}
