//! How the process leaves: when every thread has ended, or without those that never come back.
//!
//! When exchanges end is `drain`'s business. A guest cannot be told to stop before its budget is spent; the process does not
//! wait for it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a worker gets to end in once there is nothing to wait for any more: twenty of its rounds.
const GRACE: Duration = Duration::from_secs(2);
/// How often the end of a thread is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Returns when the control thread has ended, and the workers too or their grace is over. Those that are left are named in
/// the log; they end with the process.
pub(super) fn wait(control: JoinHandle<()>, workers: Vec<JoinHandle<()>>) {
    join(control);
    let deadline = Instant::now() + GRACE;
    for worker in workers {
        while !worker.is_finished() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        if worker.is_finished() {
            join(worker);
        } else {
            tracing::warn!(thread = worker.thread().name(), "ended without a worker that a filter still holds");
        }
    }
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        tracing::error!(thread = name, "a thread panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_worker_that_never_ends_is_left_and_the_others_are_waited_for() {
        let (_held, wait_for_ever) = mpsc::channel::<()>();
        let (end, told) = mpsc::channel::<()>();
        let stuck = std::thread::spawn(move || assert!(wait_for_ever.recv().is_err()));
        let late = std::thread::spawn(move || told.recv().unwrap());
        let control = std::thread::spawn(|| ());

        let waiting = std::thread::spawn(move || wait(control, vec![late, stuck]));
        end.send(()).unwrap();

        waiting.join().unwrap();
    }
}
