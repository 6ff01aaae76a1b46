//! What a scrape shows, read back by a strict reader of the text format.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tollgate_abi::{CallbackKind, MetricKind};

use crate::telemetry::metrics::{FAMILIES, MAX_SERIES, ModuleInfo, Registry, class_index, phase_index};

/// Samples by `name{labels}`, after checking that every line is one the format allows and belongs to the family above it.
fn read(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = HashSet::new();
    let mut family = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} twice");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(&family).unwrap();
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
            let fresh = samples.insert(series.to_owned(), value.parse().unwrap());
            assert!(fresh.is_none(), "{series} twice");
        }
    }
    samples
}

#[test]
fn counters_of_two_workers_are_summed() {
    let registry = Registry::new(2);
    let one = registry.route(0, "edge", "api", "app");
    let two = registry.route(1, "edge", "api", "app");

    one.requests[class_index(Some(200))].add(2);
    two.requests[class_index(Some(200))].inc();
    one.active.add(1);
    two.active.add(-1);

    let samples = read(&registry.render());
    let labels = r#"listener="edge",route="api",cluster="app""#;
    assert_eq!(samples[&format!(r#"tollgate_http_requests_total{{{labels},class="2xx"}}"#)], 3.0);
    assert_eq!(samples[&format!(r#"tollgate_http_requests_total{{{labels},class="none"}}"#)], 0.0);
    assert_eq!(samples[&format!("tollgate_http_active_requests{{{labels}}}")], 0.0);
}

#[test]
fn histogram_buckets_are_cumulative_over_workers() {
    let registry = Registry::new(2);
    let one = registry.cluster(0, "app");
    let two = registry.cluster(1, "app");

    one.duration.observe(Duration::from_millis(1));
    two.duration.observe(Duration::from_millis(2));
    two.duration.observe(Duration::from_secs(90));

    let samples = read(&registry.render());
    let bucket =
        |le: &str| samples[&format!(r#"tollgate_upstream_duration_seconds_bucket{{cluster="app",le="{le}"}}"#)];
    assert_eq!(
        [bucket("0.0005"), bucket("0.001"), bucket("0.0025"), bucket("60"), bucket("+Inf")],
        [0.0, 1.0, 2.0, 2.0, 3.0]
    );
    assert_eq!(samples[r#"tollgate_upstream_duration_seconds_count{cluster="app"}"#], 3.0);
    assert_eq!(samples[r#"tollgate_upstream_duration_seconds_sum{cluster="app"}"#], 90.003);
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::new(1);
    let _series = registry.listener(0, "a\"b\\c\nd");

    let page = registry.render();

    assert!(page.contains(r#"tollgate_connections_total{listener="a\"b\\c\nd"} 0"#), "{page}");
    read(&page);
}

#[test]
fn every_family_on_the_page_is_in_the_table_and_every_row_of_the_table_is_on_the_page() {
    let registry = Registry::new(1);
    let _route = registry.route(0, "l", "r", "c");
    let _listener = registry.listener(0, "l");
    let _cluster = registry.cluster(0, "c");
    let plugin = registry.plugin(0, "p");
    plugin.duration[phase_index(CallbackKind::Log)].observe(Duration::from_micros(3));
    registry.set_module(ModuleInfo {
        plugin: "p".into(),
        digest: "ab".into(),
        abi: "0.2.1".into(),
        source: "p.wasm".into(),
        generation: 1,
    });

    let page = registry.render();

    let shown: HashSet<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let declared: HashSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(shown, declared);
    assert!(page.contains(r#"tollgate_filter_module_info{filter="p",digest="ab",abi="0.2.1",source="p.wasm"} 1"#));
}

#[test]
fn guest_metrics_are_summed_and_carry_their_filter_and_labels() {
    let registry = Registry::new(2);
    let one = registry.plugin(0, "auth");
    let two = registry.plugin(1, "auth");
    let slot = one.custom.define(MetricKind::Counter, b"hits;tenant=acme").unwrap();
    two.custom.define(MetricKind::Counter, b"hits;tenant=acme").unwrap();

    one.custom.increment(slot, 2).unwrap();
    two.custom.increment(slot, 3).unwrap();

    let samples = read(&registry.render());
    assert_eq!(samples[r#"tollgate_guest_hits{filter="auth",tenant="acme"}"#], 5.0);
}

#[test]
fn a_guest_metric_over_the_cap_is_dropped_and_counted() {
    let registry = Registry::new(1);
    let plugin = registry.plugin(0, "greedy");

    for at in 0..=MAX_SERIES {
        plugin.custom.define(MetricKind::Counter, format!("m{at}").as_bytes());
    }

    let page = registry.render();
    let guests = page.lines().filter(|line| line.starts_with("tollgate_guest_")).count();
    assert_eq!(guests, MAX_SERIES);
    assert_eq!(read(&page)[r#"tollgate_metrics_dropped_total{filter="greedy"}"#], 1.0);
}

#[test]
fn one_name_used_for_several_kinds_stays_readable() {
    let registry = Registry::new(1);
    let one = registry.plugin(0, "one");
    let two = registry.plugin(0, "two");
    one.custom.define(MetricKind::Histogram, b"time").unwrap();
    one.custom.define(MetricKind::Counter, b"time").unwrap();
    two.custom.define(MetricKind::Gauge, b"time").unwrap();
    two.custom.define(MetricKind::Counter, b"time_count").unwrap();
    two.custom.define(MetricKind::Histogram, b"time").unwrap();

    let samples = read(&registry.render());

    for series in [
        r#"tollgate_guest_time_count{filter="one"}"#,
        r#"tollgate_guest_time_counter{filter="one"}"#,
        r#"tollgate_guest_time_gauge{filter="two"}"#,
        r#"tollgate_guest_time_count_counter{filter="two"}"#,
        r#"tollgate_guest_time_count{filter="two"}"#,
    ] {
        assert!(samples.contains_key(series), "{series}");
    }
}
