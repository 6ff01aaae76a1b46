//! How long one connection may still last: little by itself, more while it brings a module or waits for a change.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Who moves the end of a connection.
#[derive(Debug)]
pub(super) struct Patience(watch::Sender<Instant>);

/// Who waits for it.
#[derive(Debug)]
pub(super) struct End(watch::Receiver<Instant>);

impl Patience {
    /// The end is so far away.
    pub(super) fn new(time: Duration) -> (Self, End) {
        let (patience, end) = watch::channel(Instant::now() + time);
        (Self(patience), End(end))
    }

    /// From here on there is so much time, whatever there was.
    pub(super) fn allow(&self, time: Duration) {
        self.0.send_replace(Instant::now() + time);
    }
}

impl End {
    /// Completes when the time is over.
    pub(super) async fn come(mut self) {
        loop {
            let end = *self.0.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                Ok(()) = self.0.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_moves_either_way() {
        let (patience, end) = Patience::new(Duration::ZERO);
        let mut end = std::pin::pin!(end.come());

        patience.allow(Duration::from_secs(3600));
        assert!(tokio::time::timeout(Duration::ZERO, &mut end).await.is_err());

        patience.allow(Duration::ZERO);
        end.await;
    }
}
