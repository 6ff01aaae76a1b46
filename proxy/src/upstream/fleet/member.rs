//! One endpoint as the whole process knows it: its address, and whether it is worth a request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tollgate_config as config;

use crate::telemetry::metrics::EndpointSeries;
use crate::upstream::balance::Seat;

/// One address of a cluster.
#[derive(Debug)]
pub struct Member {
    /// The host as it is written: a name, or the address.
    pub host: String,
    /// Where connections go.
    pub address: SocketAddr,
    /// How many requests it gets, compared with its neighbours.
    pub weight: u32,
    /// The lower the sooner it is used.
    pub priority: u32,
    /// What is known of its health; members with one address share it.
    pub vitals: Arc<Vitals>,
}

impl Member {
    /// An address of a host.
    pub(super) fn new(endpoint: &config::Endpoint, address: SocketAddr, vitals: &Arc<Vitals>) -> Self {
        let config::Endpoint { host, weight, priority, .. } = endpoint.clone();
        Self { host, address, weight, priority, vitals: Arc::clone(vitals) }
    }

    /// An address that is no host's of a configuration.
    pub fn alone(address: SocketAddr, vitals: &Arc<Vitals>) -> Self {
        Self { host: address.ip().to_string(), address, weight: 1, priority: 0, vitals: Arc::clone(vitals) }
    }

    /// What picking sees of it. During a slow start, of `slow`, its weight grows from a tenth.
    pub fn seat(&self, slow: Option<Duration>, now: u64) -> Seat {
        // Tenths of tenths, so that a weight of one can be a part of itself; all of a cluster are scaled alike.
        let weight = match slow {
            None => self.weight,
            Some(window) => self.weight.saturating_mul(self.vitals.warmth(window, now)),
        };
        Seat { healthy: self.vitals.is_usable(), weight: weight.max(1), priority: self.priority }
    }
}

/// What is known of an endpoint's health: written on the control side, but for what each worker has under way.
#[derive(Debug)]
pub struct Vitals {
    series: Arc<EndpointSeries>,
    healthy: AtomicBool,
    ejected: AtomicBool,
    /// True once it was asked for its health: the first answer alone decides.
    pub(super) asked: AtomicBool,
    /// When it came, or came back; zero: with its cluster.
    since: AtomicU64,
    /// Until when it is left alone.
    pub(super) until: AtomicU64,
    /// How often in a row it was.
    pub(super) ejections: AtomicU32,
    /// What each worker had under way when it last looked.
    active: Box<[AtomicUsize]>,
}

impl Vitals {
    /// Of an endpoint that came at `since`.
    pub fn new(workers: usize, series: Arc<EndpointSeries>, since: u64) -> Self {
        series.healthy.set(1);
        Self {
            series,
            healthy: AtomicBool::new(true),
            ejected: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            since: AtomicU64::new(since),
            until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            active: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// True while it is worth a request.
    pub fn is_usable(&self) -> bool {
        self.is_healthy() && !self.is_ejected()
    }

    /// True while it answers the proxy's own questions well, or there are none.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// True while it is left alone because it failed clients.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// True when that changed something.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        let before = self.healthy.swap(healthy, Relaxed);
        self.changed(before != healthy)
    }

    /// True when that changed something.
    pub(super) fn set_ejected(&self, ejected: bool) -> bool {
        let before = self.ejected.swap(ejected, Relaxed);
        self.changed(before != ejected)
    }

    fn changed(&self, changed: bool) -> bool {
        let usable = self.is_usable();
        if changed && usable {
            self.since.store(now(), Relaxed);
        }
        self.series.healthy.set(i64::from(usable));
        changed
    }

    /// True while its slow start lasts.
    pub fn is_warming(&self, window: Duration, now: u64) -> bool {
        self.warmth(window, now) < 100
    }

    /// Percent of its weight: ten when it came, a hundred once the window has passed.
    fn warmth(&self, window: Duration, now: u64) -> u32 {
        let since = self.since.load(Relaxed);
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let age = now.saturating_sub(since);
        if since == 0 || age >= window {
            return 100;
        }
        u32::try_from(age.saturating_mul(100) / window).unwrap_or(100).max(10)
    }

    /// A worker says what it has under way.
    pub fn set_active(&self, worker: usize, active: usize) {
        if let Some(own) = self.active.get(worker) {
            own.store(active, Relaxed);
        }
    }

    /// What is under way on all workers, as they last said.
    pub fn active(&self) -> usize {
        self.active.iter().map(|own| own.load(Relaxed)).sum()
    }
}

/// Milliseconds of the life of this process, from one on.
pub fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(since: u64) -> Vitals {
        Vitals::new(2, Arc::default(), since)
    }

    #[test]
    fn an_endpoint_that_comes_gets_a_tenth_at_first_and_all_of_its_weight_in_the_end() {
        let (window, vitals) = (Duration::from_secs(10), vitals(1000));

        let warmth = [1000, 1500, 6000, 10_999, 11_000, 99_000].map(|now| vitals.warmth(window, now));

        assert_eq!(warmth, [10, 10, 50, 99, 100, 100]);
    }

    #[test]
    fn an_endpoint_that_came_with_its_cluster_is_warm() {
        assert!(!vitals(0).is_warming(Duration::from_secs(3600), 2));
    }

    #[test]
    fn an_endpoint_is_worth_a_request_while_nothing_speaks_against_it() {
        let vitals = vitals(0);
        assert!(vitals.is_usable());

        assert!(vitals.set_healthy(false) && vitals.set_ejected(true) && !vitals.set_healthy(false));
        assert!(vitals.set_healthy(true) && !vitals.is_usable());
        assert!(vitals.set_ejected(false) && vitals.is_usable());

        // Coming back is a start.
        assert!(vitals.is_warming(Duration::from_secs(3600), now()));
    }

    #[test]
    fn what_is_under_way_is_summed_over_workers() {
        let vitals = vitals(0);

        vitals.set_active(0, 2);
        vitals.set_active(1, 3);
        vitals.set_active(7, 9);

        assert_eq!(vitals.active(), 5);
    }
}
