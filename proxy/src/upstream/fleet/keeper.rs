//! Looks after the endpoints of one cluster, on the control side: looks names up, asks for health, and leaves those alone
//! for a while that workers report. Ends with the cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tollgate_config::{Health, Outliers};

use super::{Fleet, locked};
use crate::telemetry::panics::contained;
use crate::tls::client::Client;
use crate::upstream::balance::hash;
use crate::upstream::fleet::member::{Vitals, now};
use crate::upstream::fleet::names::Looker;
use crate::upstream::health::{self, Asked, Streak};
use crate::upstream::outliers;
use crate::upstream::resolve::{Resolve, Resolvers};

/// The most questions to endpoints of one cluster at a time.
const QUESTIONS: usize = 64;

impl Fleet {
    /// Has somebody look after the endpoints from now on, where there is something to look after.
    pub fn keep(self: &Arc<Self>, control: &Handle, resolvers: &Resolvers, tls: Option<Arc<Client>>) {
        let Some(reported) = locked(&self.reported).take() else { return };
        if !self.is_kept() {
            return;
        }
        let keeper = control.spawn(keep(Arc::downgrade(self), reported, resolvers.of(&self.config.dns), tls));
        *locked(&self.keeper) = Some(keeper.abort_handle());
    }
}

async fn keep(
    fleet: Weak<Fleet>,
    reported: mpsc::Receiver<SocketAddr>,
    resolver: Arc<dyn Resolve>,
    tls: Option<Arc<Client>>,
) {
    let Some(kept) = fleet.upgrade() else { return };
    // They end with this task.
    let mut tasks = JoinSet::new();
    for name in kept.names() {
        let (fleet, resolver) = (Weak::clone(&fleet), Arc::clone(&resolver));
        let mut looker = Looker::new(fleet, name, resolver);
        tasks.spawn(async move { while !contained(looker.run()).await {} });
    }
    if let Some(outliers) = kept.config.outliers {
        let (fleet, mut reported) = (Weak::clone(&fleet), reported);
        tasks.spawn(async move { while !contained(eject(&fleet, outliers, &mut reported)).await {} });
    }
    if let Some(health) = kept.config.health.clone() {
        let (fleet, health) = (Weak::clone(&fleet), Arc::new(health));
        tasks.spawn(async move { while !contained(examine(&fleet, &health, &tls)).await {} });
    }
    drop(kept);
    while tasks.join_next().await.is_some() {}
}

/// Leaves those alone for a while that were reported, and takes them back.
async fn eject(fleet: &Weak<Fleet>, outliers: Outliers, reported: &mut mpsc::Receiver<SocketAddr>) {
    loop {
        let Some(kept) = fleet.upgrade() else { return };
        let next = take_back(&kept, now());
        drop(kept);
        let wait = next.map(|until| Duration::from_millis(until.saturating_sub(now()).max(1)));
        let report = match wait {
            None => reported.recv().await,
            Some(wait) => tokio::time::timeout(wait, reported.recv()).await.unwrap_or_default(),
        };
        let (Some(address), Some(kept)) = (report, fleet.upgrade()) else { continue };
        leave_alone(&kept, outliers, address);
    }
}

fn leave_alone(fleet: &Fleet, outliers: Outliers, address: SocketAddr) {
    let members = distinct(fleet);
    let Some(vitals) = members.get(&address).filter(|vitals| !vitals.is_ejected()) else { return };
    let ejected = members.values().filter(|vitals| vitals.is_ejected()).count();
    if !outliers::may_eject(members.len(), ejected, outliers.max_ejected) {
        return;
    }
    let before = outliers::remembered(vitals.ejections.load(Relaxed), vitals.until.load(Relaxed), now(), outliers.max);
    let stay = outliers::stay(before, outliers);
    let stay = u64::try_from(stay.as_millis()).unwrap_or(u64::MAX);
    vitals.ejections.store(before.saturating_add(1), Relaxed);
    vitals.until.store(now().saturating_add(stay), Relaxed);
    vitals.set_ejected(true);
    tracing::warn!(cluster = fleet.config.name, %address, milliseconds = stay, "an endpoint fails and is left alone");
    fleet.touch();
}

/// Takes those back whose time has passed, and tells when the next one's does.
fn take_back(fleet: &Fleet, now: u64) -> Option<u64> {
    let mut next = None;
    for vitals in distinct(fleet).values().filter(|vitals| vitals.is_ejected()) {
        let until = vitals.until.load(Relaxed);
        if until > now {
            next = Some(next.map_or(until, |next: u64| next.min(until)));
        } else if vitals.set_ejected(false) {
            fleet.touch();
        }
    }
    next
}

/// Every address once.
fn distinct(fleet: &Fleet) -> HashMap<SocketAddr, Arc<Vitals>> {
    let roster = fleet.roster();
    roster.members.iter().map(|member| (member.address, Arc::clone(&member.vitals))).collect()
}

/// Asks every endpoint for its health, each on a task of its own, as long as it is one.
async fn examine(fleet: &Weak<Fleet>, health: &Arc<Health>, tls: &Option<Arc<Client>>) {
    let Some(mut changed) = fleet.upgrade().map(|fleet| fleet.watch()) else { return };
    let mut tasks = JoinSet::new();
    let mut asked: HashMap<SocketAddr, (Arc<Vitals>, AbortHandle)> = HashMap::new();
    let places = Arc::new(Semaphore::new(QUESTIONS));
    loop {
        changed.borrow_and_update();
        let Some(kept) = fleet.upgrade() else { return };
        let members = distinct(&kept);
        drop(kept);
        // An address that left and came back is another endpoint.
        let stays =
            |address: &SocketAddr, known: &Arc<Vitals>| members.get(address).is_some_and(|now| Arc::ptr_eq(now, known));
        for (_, (_, gone)) in asked.extract_if(|address, (vitals, _)| !stays(address, vitals)) {
            gone.abort();
        }
        for (address, vitals) in members {
            let (fleet, health, places) = (Weak::clone(fleet), Arc::clone(health), Arc::clone(&places));
            let asks = Asks { fleet, health, tls: tls.clone(), places };
            asked.entry(address).or_insert_with(|| {
                let own = Arc::clone(&vitals);
                (vitals, tasks.spawn(async move { while !contained(asks.ask(address, &own)).await {} }))
            });
        }
        if changed.changed().await.is_err() {
            return;
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// What asking an endpoint takes.
struct Asks {
    fleet: Weak<Fleet>,
    health: Arc<Health>,
    tls: Option<Arc<Client>>,
    places: Arc<Semaphore>,
}

impl Asks {
    /// Asks one endpoint over and over.
    async fn ask(&self, address: SocketAddr, vitals: &Vitals) {
        let health = &self.health;
        let mut streak = Streak::default();
        let mut random = hash::with(address.to_string().as_bytes(), now());
        while let Some(asked) = self.asked(address) {
            let Ok(place) = self.places.acquire().await else { return };
            let outcome = health::ask(health, &asked).await;
            drop(place);
            let Some(kept) = self.fleet.upgrade() else { return };
            let is_first = !vitals.asked.swap(true, Relaxed);
            let verdict = streak.take(outcome.is_ok(), vitals.is_healthy(), is_first, health);
            if verdict.is_some_and(|healthy| vitals.set_healthy(healthy)) {
                let why = outcome.err().unwrap_or_default();
                let (cluster, healthy) = (&kept.config.name, vitals.is_healthy());
                tracing::warn!(cluster, %address, healthy, why, "the health of an endpoint changed");
                kept.touch();
            }
            drop(kept);
            random = hash::mix(random);
            tokio::time::sleep(health::pause(health, random)).await;
        }
    }

    /// The endpoint at an address; `None` when there is none any more.
    fn asked(&self, address: SocketAddr) -> Option<Asked> {
        let fleet = self.fleet.upgrade()?;
        let roster = fleet.roster();
        let member = roster.members.iter().find(|member| member.address == address)?;
        Some(Asked::new(member, &fleet.config, self.tls.clone()))
    }
}
