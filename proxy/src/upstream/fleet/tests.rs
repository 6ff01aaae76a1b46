use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::names::Looker;
use super::*;
use crate::upstream::resolve::{Found, LookedUp, Resolve, Resolvers};

const CLUSTERS: &str = "clusters: { app: { hosts: [10.0.0.1:80, 'app.test:81'], health: { tcp: true } } }";

fn cluster(text: &str) -> config::Cluster {
    let text = format!("listen: 127.0.0.1:0\nroutes: [{{ to: app }}]\n{text}");
    let config = config::parse(&text, std::path::Path::new("test.yaml")).map_err(|faults| faults.to_string());
    config.unwrap().clusters.remove(0)
}

fn fleet(text: &str, before: Option<&Fleet>) -> Arc<Fleet> {
    Fleet::new(&cluster(text), 1, &Registry::new(1), before)
}

fn addresses(fleet: &Fleet) -> Vec<String> {
    fleet.roster().members.iter().map(|member| member.address.to_string()).collect()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

#[test]
fn a_name_has_no_endpoint_before_it_is_looked_up() {
    let fleet = fleet(CLUSTERS, None);
    assert_eq!(addresses(&fleet), ["10.0.0.1:80"]);
    assert!(!fleet.roster().settled);

    fleet.resolved("app.test", Some(vec![ip(2), ip(3)]));

    assert_eq!(addresses(&fleet), ["10.0.0.1:80", "127.0.0.2:81", "127.0.0.3:81"]);
    assert!(fleet.roster().settled);
}

#[test]
fn the_same_answer_again_changes_nothing() {
    let fleet = fleet(CLUSTERS, None);
    fleet.resolved("app.test", Some(vec![ip(2)]));
    let version = fleet.version();

    fleet.resolved("app.test", Some(vec![ip(2)]));
    fleet.resolved("app.test", None);

    assert_eq!((fleet.version(), addresses(&fleet).len()), (version, 2));
}

#[test]
fn the_last_good_answer_is_kept_from_when_there_was_none_however_old_it_is() {
    let (keep, begun) = (Duration::from_secs(300), Instant::now());
    let after = |found: Option<u8>, before, seconds| {
        Answer::after(found.map(|last| vec![ip(last)]), before, begun + Duration::from_secs(seconds), keep)
    };
    let good = after(Some(2), None, 0);

    // With the default, an answer is as old as that when it is asked for again.
    let lost = after(None, Some(&good), 300);
    let still = after(None, Some(&lost), 599);
    let gone = after(None, Some(&still), 600);
    let back = after(Some(3), Some(&still), 599);

    assert_eq!([&lost, &still, &gone].map(|answer| answer.addresses.len()), [1, 1, 0]);
    assert_eq!((back.addresses.as_slice(), after(None, Some(&back), 5000).addresses.len()), (&[ip(3)][..], 1));
    assert!(after(None, None, 0).addresses.is_empty() && after(None, Some(&gone), 601).addresses.is_empty());
}

#[test]
fn another_definition_keeps_what_is_known_of_the_endpoints_that_stay() {
    let before = fleet(CLUSTERS, None);
    before.resolved("app.test", Some(vec![ip(2)]));
    let sick = before.roster();
    sick.members[0].vitals.set_healthy(false);
    sick.members[1].vitals.set_ejected(true);

    let text =
        "clusters: { app: { hosts: ['app.test:81', 10.0.0.1:80, 10.0.0.2:80], health: { tcp: true }, outliers: {} } }";
    let after = fleet(text, Some(&before));

    let seen = after.roster();
    let usable: Vec<_> = seen.members.iter().map(|member| member.vitals.is_usable()).collect();
    assert_eq!((addresses(&after).len(), usable), (3, vec![false, false, true]));
    assert!(Arc::ptr_eq(&seen.members[0].vitals, &sick.members[1].vitals));
}

#[test]
fn a_definition_that_asks_for_nothing_holds_nothing_against_an_endpoint() {
    let before = fleet(CLUSTERS, None);
    before.roster().members[0].vitals.set_healthy(false);
    before.roster().members[0].vitals.set_ejected(true);

    let after = fleet("clusters: { app: { hosts: [10.0.0.1:80] } }", Some(&before));

    assert!(after.roster().members[0].vitals.is_usable());
}

#[test]
fn only_a_cluster_whose_definition_changed_is_another() {
    let registry = Registry::new(1);
    let one = cluster(CLUSTERS);
    let other = config::Cluster { panic: config::Ratio::of_percent(1), ..one.clone() };
    let before = succeed(&[], std::slice::from_ref(&one), (1, &registry));

    let same = succeed(&before, &[one], (1, &registry));
    let changed = succeed(&before, &[other], (1, &registry));

    assert!(Arc::ptr_eq(&before[0], &same[0]) && !Arc::ptr_eq(&before[0], &changed[0]));
}

#[test]
fn nobody_looks_after_endpoints_of_which_there_is_nothing_to_know() {
    assert!(!fleet("clusters: { app: { hosts: [10.0.0.1:80, '[::1]:80'] } }", None).is_kept());
    assert!(fleet("clusters: { app: { hosts: [10.0.0.1:80], outliers: {} } }", None).is_kept());
    assert!(fleet("clusters: { app: { hosts: ['a.test:80'] } }", None).is_kept());
}

/// Never answers, and holds what it is given.
#[derive(Debug)]
struct Silent {
    _held: Arc<()>,
}

impl Resolve for Silent {
    fn look_up<'a>(&'a self, _: &'a str) -> LookedUp<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn looking_after_endpoints_ends_with_their_cluster() {
    let (held, fleet) = (Arc::new(()), fleet(CLUSTERS, None));
    let resolver: Arc<dyn Resolve> = Arc::new(Silent { _held: Arc::clone(&held) });
    let control = tokio::runtime::Handle::current();
    fleet.keep(&control, &Resolvers::new(&control, Some(resolver)), None);
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&held), 2);

    fleet.retire();

    while Arc::strong_count(&held) > 1 {
        tokio::task::yield_now().await;
    }
}

const WINDOW: Duration = Duration::from_secs(3600);

/// Whether each endpoint gets less than its weight, in their order.
fn warming(fleet: &Fleet) -> Vec<bool> {
    fleet.roster().members.iter().map(|member| member.vitals.is_warming(WINDOW, now())).collect()
}

#[test]
fn what_comes_while_a_cluster_begins_starts_as_it_goes_on() {
    let fleet = fleet("clusters: { app: { hosts: [10.0.0.1:80, 'a.test:81', 'b.test:81'] } }", None);

    fleet.resolved("b.test", Some(vec![ip(2)]));
    fleet.resolved("a.test", Some(vec![ip(3)]));
    assert_eq!(warming(&fleet), [false, false, false]);
    fleet.resolved("a.test", Some(vec![ip(3), ip(4)]));

    assert_eq!(addresses(&fleet), ["10.0.0.1:80", "127.0.0.3:81", "127.0.0.4:81", "127.0.0.2:81"]);
    assert_eq!(warming(&fleet), [false, false, true, false]);
}

#[test]
fn a_name_that_a_definition_adds_brings_endpoints_that_are_new_among_others() {
    let before = fleet("clusters: { app: { hosts: [10.0.0.1:80] } }", None);

    let after = fleet("clusters: { app: { hosts: [10.0.0.1:80, 'a.test:81'] } }", Some(&before));
    assert!(!after.roster().settled);
    after.resolved("a.test", Some(vec![ip(3)]));

    assert_eq!(warming(&after), [false, true]);
}

#[test]
fn where_there_is_no_other_endpoint_none_is_new() {
    let fleet = fleet("clusters: { app: { hosts: ['a.test:81'] } }", None);
    fleet.resolved("a.test", None);
    assert!(fleet.roster().settled && fleet.roster().members.is_empty());

    fleet.resolved("a.test", Some(vec![ip(3), ip(4)]));

    assert_eq!(warming(&fleet), [false, false]);
}

#[test]
fn addresses_count_in_their_order_and_up_to_their_bound() {
    let fleet = fleet("clusters: { app: { hosts: ['a.test:81'] } }", None);

    fleet.resolved("a.test", Some(vec![ip(3), ip(2), ip(3)]));
    assert_eq!(addresses(&fleet), ["127.0.0.2:81", "127.0.0.3:81"]);
    fleet.resolved("a.test", Some((0..=u8::MAX).rev().map(ip).collect()));

    let members = fleet.roster().members.clone();
    assert_eq!((members.len(), members[63].address.to_string()), (64, "127.0.0.63:81".to_owned()));
}

#[test]
fn what_was_known_of_a_name_that_a_definition_lost_is_forgotten() {
    let before = fleet(CLUSTERS, None);
    before.resolved("app.test", Some(vec![ip(2)]));

    let between = fleet("clusters: { app: { hosts: [10.0.0.1:80] } }", Some(&before));
    let after = fleet(CLUSTERS, Some(&between));

    assert_eq!(addresses(&after), ["10.0.0.1:80"]);
}

/// Answers once it is told what, and counts what was begun and what came to its end.
#[derive(Debug)]
struct Late {
    told: watch::Receiver<Option<Vec<IpAddr>>>,
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Resolve for Late {
    fn look_up<'a>(&'a self, _: &'a str) -> LookedUp<'a> {
        Box::pin(async {
            self.begun.fetch_add(1, SeqCst);
            let mut told = self.told.clone();
            let told = told.wait_for(Option::is_some).await.map_err(std::io::Error::other)?;
            self.ended.fetch_add(1, SeqCst);
            Ok(Found { addresses: told.clone().unwrap_or_default(), ttl: Some(WINDOW) })
        })
    }
}

#[tokio::test]
async fn a_look_up_that_hangs_counts_as_no_answer_until_there_is_one() {
    let (tell, told) = watch::channel(None);
    let late = Arc::new(Late { told, begun: AtomicUsize::default(), ended: AtomicUsize::default() });
    let (fleet, resolver) = (fleet(CLUSTERS, None), Arc::clone(&late) as Arc<dyn Resolve>);
    let mut changed = fleet.watch();
    let mut looker = Looker::new(Arc::downgrade(&fleet), "app.test", resolver);
    looker.patience = Duration::from_millis(1);

    let looking = tokio::spawn(async move { looker.run().await });
    changed.wait_for(|()| fleet.roster().settled).await.unwrap();
    assert_eq!(addresses(&fleet), ["10.0.0.1:80"]);
    tell.send_replace(Some(vec![ip(2)]));
    changed.wait_for(|()| fleet.roster().members.len() == 2).await.unwrap();

    // It was the same one all the time.
    assert_eq!((late.begun.load(SeqCst), late.ended.load(SeqCst)), (1, 1));
    looking.abort();
}
