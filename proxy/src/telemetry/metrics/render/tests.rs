//! What a scrape shows, read back by a strict reader of the text format.

mod reader;

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use tollgate_abi::{CallbackKind, MetricKind, Quota};

use self::reader::read;
use crate::telemetry::metrics::{
    CalloutKind, CalloutOutcome, CertificateInfo, DEFAULT_SERIES, FAMILIES, ModuleInfo, Registry, Track, class_index,
    phase_index,
};

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
    let route = registry.route(0, "l", "r", "c");
    route.upgrades.inc();
    let listener = registry.listener(0, "l");
    listener.tls.handshakes[0].inc();
    let not_after = UNIX_EPOCH + Duration::from_secs(5);
    let certificate = |not_after| CertificateInfo { kind: "listener", owner: "l".into(), name: "n".into(), not_after };
    registry.set_certificates([certificate(not_after)].into_iter());
    let _cluster = registry.cluster(0, "c");
    let plugin = registry.plugin(0, ("p", Track::Stable), DEFAULT_SERIES);
    plugin.duration[phase_index(CallbackKind::Log)].observe(Duration::from_micros(3));
    plugin.callout_duration.observe(Duration::from_micros(3));
    let _tcp = registry.tcp(0, "t");
    let _endpoint = registry.endpoint("c", "10.0.0.1:80");
    let callouts = registry.callouts(0, "p", "c");
    callouts.ended(CalloutKind::Http, CalloutOutcome::Ok).inc();
    registry.set_modules(std::iter::once(ModuleInfo {
        plugin: "p".into(),
        track: Track::Stable,
        digest: "ab".into(),
        abi: "0.2.1".into(),
        source: "p.wasm".into(),
        generation: 1,
    }));

    let page = registry.render();

    let shown: HashSet<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let declared: HashSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(shown, declared);
    assert!(page.contains(
        r#"tollgate_filter_module_info{filter="p",track="stable",digest="ab",abi="0.2.1",source="p.wasm"} 1"#
    ));
}

#[test]
fn guest_metrics_are_summed_and_carry_their_filter_and_labels() {
    let registry = Registry::new(2);
    let one = registry.plugin(0, ("auth", Track::Stable), DEFAULT_SERIES);
    let two = registry.plugin(1, ("auth", Track::Stable), DEFAULT_SERIES);
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
    let plugin = registry.plugin(0, ("greedy", Track::Stable), 20);

    for at in 0..21 {
        // The cap is on series, whatever they are called.
        let defined = plugin.custom.define(MetricKind::Counter, format!("m{};at={at}", at % 2).as_bytes());
        assert_eq!(defined.is_ok(), at < 20);
    }

    let page = registry.render();
    let guests = page.lines().filter(|line| line.starts_with("tollgate_guest_")).count();
    assert_eq!(guests, 20);
    assert_eq!(read(&page)[r#"tollgate_metrics_dropped_total{filter="greedy",track="stable"}"#], 1.0);
}

#[test]
fn the_cap_that_was_asked_for_last_holds_for_all_workers() {
    let registry = Registry::new(2);
    let one = registry.plugin(0, ("p", Track::Stable), 1);
    one.custom.define(MetricKind::Counter, b"a").unwrap();

    let _two = registry.plugin(1, ("p", Track::Stable), 2);

    assert!(one.custom.define(MetricKind::Counter, b"b").is_ok());
    assert!(one.custom.define(MetricKind::Counter, b"c").is_err());
}

#[test]
fn a_family_may_have_several_sets_of_labels_and_each_is_a_series() {
    let registry = Registry::new(1);
    let plugin = registry.plugin(0, ("p", Track::Stable), DEFAULT_SERIES);
    let names: [&[u8]; 6] =
        [b"hits", b"hits;a=1", b"hits;b=2;a=1", br#"hits{a="1",b="2"}"#, b"hits;a=", b"hits;other=x"];

    for name in names {
        let slot = plugin.custom.define(MetricKind::Counter, name).unwrap();
        plugin.custom.increment(slot, 1).unwrap();
    }

    let samples = read(&registry.render());
    let hits: Vec<_> = samples.iter().filter(|(series, _)| series.starts_with("tollgate_guest_hits")).collect();
    let expected = [
        (r#"tollgate_guest_hits{filter="p",a="1",b="2"}"#, 2.0),
        (r#"tollgate_guest_hits{filter="p",a="1"}"#, 1.0),
        (r#"tollgate_guest_hits{filter="p",other="x"}"#, 1.0),
        (r#"tollgate_guest_hits{filter="p"}"#, 2.0),
    ];
    assert_eq!(hits.len(), expected.len(), "{hits:?}");
    for (series, count) in expected {
        assert_eq!(samples[series], count, "{series}");
    }
}

#[test]
fn labels_of_guests_are_escaped_and_forge_no_line() {
    let registry = Registry::new(1);
    let plugin = registry.plugin(0, ("p", Track::Stable), DEFAULT_SERIES);
    let hostile = b"h;k=\\\"} 9\ntollgate_workers 7\n\x1b[2J,le=\"1\"\xff";

    plugin.custom.define(MetricKind::Histogram, hostile).unwrap();

    let page = registry.render();
    let samples = read(&page);
    let escaped = "h_count{filter=\"p\",k=\"\\\\\\\"} 9\\ntollgate_workers 7\\n\u{fffd}[2J,le=\\\"1\\\"\u{fffd}\"} 0";
    assert!(page.contains(escaped), "{page}");
    assert_eq!(samples["tollgate_workers"], 1.0);
}

#[test]
fn a_plugin_s_callouts_show_the_kinds_it_used_by_cluster() {
    let registry = Registry::new(2);
    let series = [registry.callouts(0, "auth", "users"), registry.callouts(1, "auth", "users")];
    let _unused = registry.callouts(0, "auth", "none");

    series[0].ended(CalloutKind::Grpc, CalloutOutcome::TooLarge).inc();
    series[1].ended(CalloutKind::Grpc, CalloutOutcome::TooLarge).inc();

    let samples = read(&registry.render());
    let shown: Vec<_> = samples.iter().filter(|(series, _)| series.starts_with("tollgate_filter_callouts")).collect();
    assert_eq!(shown.len(), CalloutOutcome::COUNT, "{shown:?}");
    let labels = r#"filter="auth",cluster="users",kind="grpc""#;
    assert_eq!(samples[&format!(r#"tollgate_filter_callouts_total{{{labels},outcome="too_large"}}"#)], 2.0);
    assert_eq!(samples[&format!(r#"tollgate_filter_callouts_total{{{labels},outcome="ok"}}"#)], 0.0);
}

#[test]
fn quotas_count_by_their_word() {
    let registry = Registry::new(1);
    let plugin = registry.plugin(0, ("p", Track::Stable), DEFAULT_SERIES);

    for (times, quota) in (1..).zip(Quota::ALL) {
        (0..times).for_each(|_| plugin.over_quota(quota));
    }

    let samples = read(&registry.render());
    for (times, quota) in (1..).zip(Quota::ALL) {
        let series =
            format!(r#"tollgate_filter_quota_exceeded_total{{filter="p",track="stable",quota="{}"}}"#, quota.as_str());
        assert_eq!(samples[&series], f64::from(times), "{series}");
    }
}

#[test]
fn only_callbacks_that_were_called_are_shown() {
    let registry = Registry::new(1);
    let plugin = registry.plugin(0, ("p", Track::Stable), DEFAULT_SERIES);

    plugin.calls[phase_index(CallbackKind::Tick)].inc();
    plugin.duration[phase_index(CallbackKind::Tick)].observe(Duration::from_micros(3));

    let samples = read(&registry.render());
    let calls: Vec<_> =
        samples.iter().filter(|(series, _)| series.starts_with("tollgate_filter_calls_total")).collect();
    assert_eq!(calls, [(&r#"tollgate_filter_calls_total{filter="p",track="stable",phase="tick"}"#.to_owned(), &1.0)]);
}

#[test]
fn a_listener_of_bytes_counts_them_by_direction() {
    let registry = Registry::new(1);
    let tcp = registry.tcp(0, "mqtt");

    tcp.connections.inc();
    tcp.active.add(1);
    tcp.bytes_in.add(3);
    tcp.bytes_out.add(5);

    let samples = read(&registry.render());
    for (series, value) in [
        (r#"connections_total{listener="mqtt"}"#, 1.0),
        (r#"connections_active{listener="mqtt"}"#, 1.0),
        (r#"bytes_total{listener="mqtt",direction="in"}"#, 3.0),
        (r#"bytes_total{listener="mqtt",direction="out"}"#, 5.0),
    ] {
        assert_eq!(samples[&format!("tollgate_listener_tcp_{series}")], value, "{series}");
    }
}

#[test]
fn one_name_used_for_several_kinds_stays_readable() {
    let registry = Registry::new(1);
    let one = registry.plugin(0, ("one", Track::Stable), DEFAULT_SERIES);
    let two = registry.plugin(0, ("two", Track::Stable), DEFAULT_SERIES);
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

#[test]
fn of_two_certificates_of_one_name_the_first_to_expire_is_shown() {
    let registry = Registry::new(1);
    let certificate = |seconds| CertificateInfo {
        kind: "listener",
        owner: "edge".to_owned(),
        name: "a.test".to_owned(),
        not_after: UNIX_EPOCH + Duration::from_secs(seconds),
    };

    registry.set_certificates([certificate(9), certificate(7), certificate(8)].into_iter());

    let samples = read(&registry.render());
    let labels = r#"kind="listener",owner="edge",name="a.test""#;
    assert_eq!(samples[&format!("tollgate_tls_certificate_not_after_timestamp_seconds{{{labels}}}")], 7.0);
}
