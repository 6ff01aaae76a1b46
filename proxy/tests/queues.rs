//! What reaches a filter later and from elsewhere: word from shared queues across workers and plugins, one-shot timers,
//! and host names that were looked up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::{probes, probes_with};
use common::origin::Origin;
use common::proxy::TestProxy;
use common::{log, until};

/// Says for each message that it was told of it, and takes it.
const WORKER: &str =
    "configure: [\"queue-register jobs\"], queue_ready: [\"queue-get jobs\", \"metric counter told 1\"]";

fn proxy_of(workers: usize, filters: &str, chain: &str, to: &Origin) -> TestProxy {
    TestProxy::with(&format!("workers: {workers}\n{filters}routes: [{{ to: {:?}, filters: [{chain}] }}]", to.url()))
}

/// What a request finds in the queue.
fn left(proxy: &TestProxy, origin: &Origin) -> String {
    proxy.ask("/", "x-probe-request-headers: queue-get jobs -> request-headers x-left\r\n");
    origin.requests().last().unwrap().field("x-left").unwrap().to_owned()
}

#[test]
fn every_message_is_told_once_whichever_worker_it_comes_from() {
    let origin = Origin::saying("x");
    let filters = probes(&[("a", &format!("{{ {WORKER} }}"))]);
    let proxy = proxy_of(2, &filters, "a", &origin);

    // Who begins to listen is told of what waits already, so both have begun before anything does.
    proxy.counts("tollgate_filter_instances", &["filter=\"a\""], 2.0);

    // Connections come to either worker as the system pleases.
    (0..20).for_each(|_| drop(proxy.ask("/", "x-probe-request-headers: queue-put jobs x; queue-put jobs y\r\n")));

    proxy.counts("tollgate_guest_told", &[], 40.0);
    assert_eq!(left(&proxy, &origin), "status 7");
}

#[test]
fn a_queue_of_another_vm_id_is_filled_by_its_number() {
    let origin = Origin::saying("x");
    let sender = "{ request_headers: [\"raw proxy_resolve_shared_queue ptr:receiver ptr:jobs out -> request-headers x-queue\", \
                  \"raw proxy_enqueue_shared_queue 1 ptr:job -> request-headers x-put\", \
                  \"raw proxy_resolve_shared_queue ptr: ptr:jobs out -> request-headers x-own\"] }";
    let filters = probes(&[("receiver", &format!("{{ {WORKER} }}")), ("sender", sender)]);
    let proxy = proxy_of(1, &filters, "sender, receiver", &origin);

    proxy.get("/");

    let sent = origin.request();
    assert_eq!((sent.field("x-queue"), sent.field("x-put"), sent.field("x-own")), (Some("0 1"), Some("0"), Some("1")));
    proxy.counts("tollgate_guest_told", &["filter=\"receiver\""], 1.0);
}

#[test]
fn plugins_of_one_vm_id_share_a_queue_with_the_largest_of_their_quotas() {
    let origin = Origin::saying("x");
    let small = probes_with("budget: { time: 1s }, vm_id: v, quota: { queue_messages: 1 }", &[("small", "{}")]);
    let large = probes_with(
        "budget: { time: 1s }, vm_id: v, quota: { queue_messages: 3 }",
        &[("large", "{ configure: [\"queue-register jobs\"] }")],
    );
    let filters = format!("{small}{}", large.strip_prefix("filters:\n").unwrap());
    let proxy = proxy_of(1, &filters, "small, large", &origin);

    // Both filters read the header, so each puts four.
    proxy.ask(
        "/",
        "x-probe-request-headers: queue-put jobs 1; queue-put jobs 2; queue-put jobs 3; queue-put jobs 4\r\n",
    );

    assert_eq!(proxy.metric("tollgate_filter_quota_exceeded_total", &["quota=\"queue\"", "filter=\"small\""]), 1.0);
    assert_eq!(proxy.metric("tollgate_filter_quota_exceeded_total", &["quota=\"queue\"", "filter=\"large\""]), 4.0);
}

#[test]
fn what_waits_when_a_vm_dies_is_told_to_the_next() {
    let origin = Origin::saying("x");
    let filters = probes(&[("a", &format!("{{ {WORKER} }}"))]);
    let proxy = proxy_of(1, &filters, "a", &origin);

    let failed = proxy.ask("/", "x-probe-request-headers: queue-put jobs x; queue-put jobs y; trap\r\n");

    assert_eq!(failed.status(), 503);
    proxy.counts("tollgate_guest_told", &[], 2.0);
    assert_eq!(left(&proxy, &origin), "status 7");
}

#[test]
fn a_message_that_kills_its_reader_does_not_kill_the_next() {
    let origin = Origin::saying("x");
    let config = "{ configure: [\"queue-register jobs\"], queue_ready: [\"metric counter told 1\", trap] }";
    let proxy = proxy_of(1, &probes(&[("a", config)]), "a", &origin);

    proxy.ask("/", "x-probe-request-headers: queue-put jobs x; queue-put jobs y\r\n");

    proxy.counts("tollgate_filter_failures_total", &["kind=\"trap\""], 2.0);
    until("there is a VM again", || proxy.get("/").status() == 200);
    assert_eq!((left(&proxy, &origin).as_str(), left(&proxy, &origin).as_str()), ("x", "y"));
    assert_eq!(proxy.metric("tollgate_guest_told", &[]), 2.0);
}

#[test]
fn a_queue_told_by_a_callback_of_its_own_plugin_is_not_entered_twice() {
    let origin = Origin::saying("x");
    let config = "{ configure: [\"queue-register jobs\"], \
                  queue_ready: [\"queue-get jobs\", \"metric counter told 1\", \"shared-get more\"], tick: [\"queue-put jobs x\"] }";
    let proxy = proxy_of(2, &probes(&[("a", config)]), "a", &origin);

    (0..5).for_each(|_| {
        drop(proxy.ask("/", "x-probe-request-headers: queue-put jobs x\r\nx-probe-response-headers: tick 10\r\n"))
    });

    until("ticks are told", || proxy.metric("tollgate_guest_told", &[]) >= 20.0);
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &[]), 0.0);
}

#[test]
fn a_timer_fires_once_whether_it_was_set_before_the_vm_served_or_later() {
    let origin = Origin::saying("x");
    let timer = "\"foreign tollgate.set_timer %05%00%00%00\"";
    let config = format!(
        "{{ configure: [{timer}, \"tick 10\"], tick: [{timer}, \"tick 0\"], foreign_function: [\"metric counter fired 1\"] }}"
    );
    let proxy = proxy_of(1, &probes(&[("a", &config)]), "a", &origin);

    proxy.counts("tollgate_guest_fired", &[], 2.0);

    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(proxy.metric("tollgate_guest_fired", &[]), 2.0);
}

#[test]
fn timers_have_a_quota() {
    let origin = Origin::saying("x");
    let timer = "\"foreign tollgate.set_timer %ff%ff%00%00 -> request-headers x-timer\"";
    let filters = probes_with(
        "budget: { time: 1s }, quota: { timers: 1 }",
        &[(
            "a",
            &format!("{{ configure: [\"foreign tollgate.set_timer %ff%ff%00%00\"], request_headers: [{timer}] }}"),
        )],
    );
    let proxy = proxy_of(1, &filters, "a", &origin);

    proxy.get("/");

    assert_eq!(origin.request().field("x-timer"), Some("status 10"));
    assert_eq!(proxy.metric("tollgate_filter_quota_exceeded_total", &["quota=\"timer\""]), 1.0);
}

#[test]
fn a_listed_host_is_looked_up_and_no_other() {
    log::keep();
    let origin = Origin::saying("x");
    let config = "{ request_headers: [\"foreign tollgate.resolve_dns 127.0.0.2 -> request-headers x-other\", \
                  \"foreign tollgate.resolve_dns 127.0.0.1\", pause, \"resume-after-ticks 2\"], configure: [\"tick 100\"], \
                  foreign_function: [\"body-get\", \"metric counter resolved 1\"] }";
    let filters = probes_with("budget: { time: 1s }, allow: { resolve: [\"127.0.0.1\"] }", &[("a", config)]);
    let proxy = proxy_of(1, &filters, "a", &origin);

    assert_eq!(proxy.get("/").status(), 200);

    assert_eq!(origin.request().field("x-other"), Some("status 2"));
    proxy.counts("tollgate_guest_resolved", &[], 1.0);
    // One record, sixty seconds, and the address with its NUL.
    assert_eq!(log::lines_with("010000003c0000003132372e302e302e3100").len(), 1);
}
