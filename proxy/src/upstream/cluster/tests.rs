use std::path::Path;

use super::*;
use crate::telemetry::metrics::Registry;

/// A cluster of these hosts on the only worker.
fn cluster(hosts: &str) -> Cluster {
    let text = format!("listen: 127.0.0.1:0\nclusters: {{ app: {{ hosts: [{hosts}] }} }}\nroutes: [{{ to: app }}]");
    let config = tollgate_config::parse(&text, Path::new("t.yaml")).unwrap();
    let registry = Registry::new(1);
    let fleet = Fleet::new(&config.clusters[0], 1, &registry, None);
    let limits = PeerLimits { fields: 100, bytes: 1 << 16, streams: 100 };
    let series = registry.cluster(0, &fleet.config.name);
    Cluster::new((&fleet, None), limits, (0, 1), (series, &Rc::new(Clock::new())), None)
}

#[test]
fn news_of_the_same_endpoints_make_the_lineup_anew_and_nothing_else() {
    let cluster = cluster("127.0.0.1:1, 127.0.0.1:2");
    let made = || cluster.crew.borrow().endpoints.as_ptr();
    let before = made();
    cluster.crew.borrow_mut().lineup = Lineup::default();

    cluster.version.set(cluster.version.get().wrapping_add(1));

    assert!(cluster.pick(None, None).is_some());
    assert_eq!(made(), before);
}

#[tokio::test]
async fn an_address_that_is_named_twice_has_under_way_what_both_have() {
    let cluster = cluster("127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:1");
    let endpoints = cluster.crew.borrow().endpoints.clone();
    let mut permits = Vec::new();
    for (endpoint, count) in endpoints.iter().zip([1, 1, 2]) {
        for _ in 0..count {
            permits.push(endpoint.pool.permit().await.unwrap());
        }
    }

    cluster.sweep();

    let active: Vec<_> = endpoints.iter().map(|endpoint| endpoint.member.vitals.active()).collect();
    assert_eq!(active, [3, 1, 3]);
}

#[test]
fn requests_over_the_limit_find_no_place_until_one_is_free() {
    let mut cluster = cluster("127.0.0.1:1");
    cluster.requests = Some(2);
    let (first, _second) = (cluster.enter().unwrap(), cluster.enter().unwrap());

    assert!(cluster.enter().is_none());
    drop(first);

    assert!(cluster.enter().is_some());
    assert_eq!(cluster.active(), 1);
}
