//! A timer that wakes the load when a request is due: what epoll is told as the longest wait is rounded up to a whole
//! millisecond, in which some requests would leave late and several at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// What epoll tells when it goes off; no place of a connection.
pub(super) const MARK: u64 = u64::MAX;

/// See the module. Dropping it takes it out of the epoll set.
pub(super) struct Timer(OwnedFd);

impl Timer {
    /// One that is not set.
    pub(super) fn new(epoll: &OwnedFd) -> io::Result<Timer> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // Told once each time that it goes off, it need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &timer, epoll::EventData::new_u64(MARK), flags)?;
        Ok(Timer(timer))
    }

    /// Goes off then, at once where that is past, and not when it was told to before.
    pub(super) fn set(&self, at: Instant) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = left(at, Instant::now())?;
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: never, it_value: value })?;
        Ok(())
    }
}

/// How long it is until then, and never nothing at all, which would stop the timer.
fn left(at: Instant, now: Instant) -> io::Result<Timespec> {
    let left = at.saturating_duration_since(now).max(Duration::from_nanos(1));
    let seconds = left.as_secs().try_into().map_err(io::Error::other)?;
    Ok(Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_set_to_what_is_left_and_not_to_whole_milliseconds() {
        let now = Instant::now();
        let left = |after: Duration| left(now + after, now).map(|left| (left.tv_sec, left.tv_nsec)).unwrap();

        assert_eq!(left(Duration::from_micros(250)), (0, 250_000));
        assert_eq!(left(Duration::from_millis(1001)), (1, 1_000_000));
    }

    #[test]
    fn what_is_due_or_past_has_it_go_off_at_once() {
        let now = Instant::now();

        let past = left(now, now + Duration::from_secs(1)).unwrap();

        assert_eq!((past.tv_sec, past.tv_nsec), (0, 1));
    }
}
