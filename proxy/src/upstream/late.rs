//! Work that has so much time, and knows when it is dropped that the time is over. What follows from that is not known here.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

/// What comes of `work` in its time; `None` once that is over. The cell is true then, and only then, when the work is dropped.
pub async fn in_time<T>(time: Duration, work: impl AsyncFnOnce(&Cell<bool>) -> T) -> Option<T> {
    let late = Cell::new(false);
    let mut working = pin!(work(&late));
    let done = tokio::time::timeout(time, working.as_mut()).await.ok();
    late.set(done.is_none());
    done
}
