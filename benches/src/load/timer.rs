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
        // Nothing at all would stop it.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let seconds = left.as_secs().try_into().map_err(io::Error::other)?;
        let value = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: never, it_value: value })?;
        Ok(())
    }
}
