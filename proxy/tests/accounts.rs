//! What filters are charged for: a share of a worker, memory, time; and what comes of spending too much.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::mpsc::Sender;

use common::access::AccessLog;
use common::client::Client;
use common::modules::{Guest, probes_with};
use common::origin::Origin;
use common::proxy::TestProxy;
use common::until;
use common::wire::Message;

const PAGE: usize = 64 << 10;
const MIB: usize = 1 << 20;

fn count(proxy: &TestProxy, name: &str, label: &str) -> f64 {
    proxy.metric(&format!("tollgate_filter_{name}_total"), &["filter=\"f\"", label])
}

// budget.share

/// Computes for half a second at each request with a body, and signs every answer. Bodies grow its memory by as many
/// pages as they have bytes.
fn spender(more: &str) -> Guest {
    Guest::from_wat(&format!(
        r#"(module
        (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "x-by")
        (data (i32.const 32) "spender")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func $now (result i64) (drop (call $time (i32.const 0))) (i64.load (i32.const 0)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $begun i64)
            (if (local.get 2) (then (return (i32.const 0))))
            (local.set $begun (call $now))
            (loop $again
                (br_if $again (i64.lt_u (i64.sub (call $now) (local.get $begun)) (i64.const 500000000))))
            (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (drop (memory.grow (local.get 1))) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 16) (i32.const 4) (i32.const 32) (i32.const 7)))
            (i32.const 0))
        {more})"#
    ))
}

/// The spender on the only worker, beside a route without filters whose exchanges wait until they are told to end.
struct Stage {
    proxy: TestProxy,
    origin: Origin,
    say: Sender<()>,
}

impl Stage {
    fn new(share: &str) -> Stage {
        Stage::of(&spender(""), &format!("share: {share}"), "", "")
    }

    fn of(guest: &Guest, budget: &str, settings: &str, around: &str) -> Stage {
        let filter = format!("wasm: {:?}, budget: {{ time: 10s, {budget} }}, {settings}", guest.path());
        Stage::with(&format!("filters: {{ f: {{ {filter} }} }}\n{around}"))
    }

    fn with(filters: &str) -> Stage {
        let (origin, say) = Origin::held("late");
        let to = origin.url();
        let proxy = TestProxy::with(&format!(
            "workers: 1\n{filters}\nroutes:\n\
             - {{ match: {{ path: /neighbour }}, to: {to:?} }}\n\
             - {{ match: {{ path: /own }}, to: {to:?}, filters: [f] }}\n\
             - {{ match: {{ path: /twice }}, to: echo, filters: [f, f] }}\n\
             - {{ to: echo, filters: [f] }}\n"
        ));
        Stage { proxy, origin, say }
    }

    /// The filter spends half a second, and its exchange is over.
    fn spend(&self) {
        assert_eq!(self.proxy.post("/", "", "x").status(), 200);
        self.is_idle();
    }

    fn is_idle(&self) {
        self.proxy.counts("tollgate_http_active_requests", &[], 0.0);
    }

    /// An exchange that waits for its upstream.
    fn waits(&self, path: &str) -> Client {
        let before = self.origin.requests().len();
        let mut client = self.proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        until("the upstream was asked", || self.origin.requests().len() > before);
        client
    }

    fn ends(&self, waiting: &mut Client) {
        self.say.send(()).unwrap();
        assert_eq!(waiting.answer().status(), 200);
        self.is_idle();
    }

    /// An exchange that costs the filter nothing.
    fn ask(&self) -> Message {
        self.proxy.get("/")
    }

    fn shed(&self) -> f64 {
        count(&self.proxy, "shed", "")
    }
}

#[test]
fn a_filter_over_its_share_is_shed_while_another_exchange_waits() {
    for isolation in ["worker", "request"] {
        let stage = Stage::of(&spender(""), "share: 1%", &format!("isolation: {isolation}"), "");
        stage.spend();
        let mut neighbour = stage.waits("/neighbour");
        assert_eq!(stage.shed(), 0.0, "{isolation}");

        assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0), "{isolation}");
        assert_eq!((stage.ask().status(), stage.shed()), (503, 2.0), "{isolation}");

        assert_eq!(count(&stage.proxy, "on_error", "policy=\"deny\""), 2.0, "{isolation}");
        assert_eq!(count(&stage.proxy, "exchanges", ""), 1.0, "{isolation}: it saw what was shed");
        assert_eq!(count(&stage.proxy, "failures", ""), 0.0, "{isolation}");
        stage.say.send(()).unwrap();
        assert_eq!(neighbour.answer().text(), "late", "{isolation}");
    }
}

#[test]
fn a_filter_over_its_share_serves_where_nobody_else_waits() {
    let stage = Stage::new("1%");
    stage.spend();

    for _ in 0..3 {
        assert_eq!(stage.ask().field("x-by"), Some("spender"));
        stage.is_idle();
    }
    assert_eq!(stage.shed(), 0.0);

    // It was over all the time.
    let mut neighbour = stage.waits("/neighbour");
    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
    stage.ends(&mut neighbour);
    assert_eq!((stage.ask().status(), stage.shed()), (200, 1.0));
}

#[test]
fn the_exchanges_of_a_filter_are_not_the_others_that_it_is_shed_for() {
    let stage = Stage::new("1%");
    stage.spend();

    let _own = [stage.waits("/own"), stage.waits("/own")];
    assert_eq!((stage.ask().status(), stage.shed()), (200, 0.0));

    let _neighbour = stage.waits("/neighbour");
    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
}

#[test]
fn a_filter_that_is_not_over_its_share_is_not_shed_whoever_waits() {
    // A whole worker may be spent a second of at once, which nothing here does.
    for (share, spends, status) in [("100%", false, 200), ("off", true, 200), ("1%", true, 503)] {
        let stage = Stage::new(share);
        if spends {
            stage.spend();
        }
        let _neighbour = stage.waits("/neighbour");

        let answers: Vec<_> = (0..5).map(|_| stage.ask().status()).collect();

        assert_eq!((&answers[..], stage.shed() > 0.0), (&[status; 5][..], status == 503), "{share}");
    }
}

#[test]
fn a_filter_that_was_shed_serves_again_once_its_share_has_paid() {
    let stage = Stage::new("10%");
    let _neighbour = stage.waits("/neighbour");
    assert_eq!(stage.proxy.post("/", "", "x").status(), 200);

    // A machine that stands still meanwhile lets the debt be paid; then there is another.
    until("it is shed", || stage.proxy.post("/", "", "x").status() == 503);

    until("it serves again", || stage.ask().status() == 200);
    assert!(stage.shed() > 0.0);
}

#[test]
fn a_filter_that_is_shed_gets_its_policy_for_lateness() {
    let only = |kind: &str, policy: &str| {
        let other = if policy == "skip" { "deny" } else { "skip" };
        let of = |each: &str| format!("{each}: {}", if each == kind { policy } else { other });
        format!("on_error: {{ {} }}", ["trap", "deadline", "memory"].map(of).join(", "))
    };
    for (policy, status) in [("skip", 200), ("deny", 503)] {
        let stage = Stage::of(&spender(""), "share: 1%", &only("deadline", policy), "");
        stage.spend();
        let _neighbour = stage.waits("/neighbour");

        let answer = stage.ask();

        assert_eq!((answer.status(), answer.field("x-by")), (status, None), "{policy}");
        assert_eq!(stage.shed(), 1.0, "{policy}");
        assert_eq!(count(&stage.proxy, "on_error", &format!("policy=\"{policy}\"")), 1.0, "{policy}");
    }
}

#[test]
fn the_access_log_tells_that_a_filter_was_over_its_share() {
    let log = AccessLog::new();
    let stage = Stage::of(&spender(""), "share: 1%", "", &log.yaml());
    stage.spend();
    let _neighbour = stage.waits("/neighbour");

    assert_eq!(stage.ask().status(), 503);

    let line = log.lines(2).pop().unwrap();
    assert_eq!((line["status"].as_u64(), &line["reason"]), (Some(503), &"filter_over_share:f".into()));
}

#[test]
fn the_death_of_its_vm_pays_nothing_of_what_a_filter_owes() {
    let filters = probes_with("on_error: deny, budget: { time: 300ms, share: 1% }", &[("f", "{}")]);
    let stage = Stage::with(&filters);
    assert_eq!(stage.proxy.ask("/", "x-probe-request-headers: loop\r\n").status(), 503);
    stage.is_idle();
    assert_eq!((count(&stage.proxy, "failures", "kind=\"deadline\""), stage.ask().status()), (1.0, 200));
    stage.is_idle();

    let _neighbour = stage.waits("/neighbour");

    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
}

#[test]
fn a_filter_is_shed_however_many_of_its_contexts_linger() {
    let lingers = r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))"#;
    let stage = Stage::of(&spender(lingers), "share: 1%", "", "");
    stage.spend();
    let _neighbour = stage.waits("/neighbour");

    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
}

#[test]
fn a_fresh_vm_pays_nothing_of_what_its_filter_owes() {
    let stage = Stage::of(&spender(""), "share: 1%, recycle: 64KiB", "", "");
    stage.spend();
    stage.proxy.counts("tollgate_filter_recycled_total", &[], 1.0);
    let _neighbour = stage.waits("/neighbour");

    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
}

#[test]
fn the_exchanges_of_a_vm_that_was_replaced_are_not_the_others_either() {
    let stage = Stage::of(&spender(""), "share: 1%, recycle: 64KiB", "", "");
    let mut own = stage.proxy.client();
    own.send("POST /own HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    until("it is held", || stage.origin.requests().len() == 1);
    stage.proxy.counts("tollgate_filter_recycled_total", &[], 1.0);

    // What the VM before has spent may count or not: this one has spent enough itself.
    let answers = [stage.proxy.post("/", "", "x").status(), stage.ask().status()];

    assert_eq!((answers, stage.shed()), ([200, 200], 0.0));
    let _neighbour = stage.waits("/neighbour");
    assert_eq!((stage.ask().status(), stage.shed()), (503, 1.0));
}

#[test]
fn a_filter_that_is_twice_in_a_chain_is_shed_like_any_other() {
    let stage = Stage::new("1%");
    stage.spend();
    assert_eq!(stage.proxy.get("/twice").all("x-by").len(), 2);
    stage.is_idle();

    let _neighbour = stage.waits("/neighbour");

    assert_eq!((stage.proxy.get("/twice").status(), stage.shed()), (503, 1.0));
}

// budget.recycle

/// Says on every answer how many requests its VM has seen by then, nine at most. Bodies grow its memory by as many
/// pages as they have bytes; it begins with one.
fn counting() -> Guest {
    Guest::from_wat(
        r#"(module
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "x-seen")
        (data (i32.const 16) "0")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1)))
            (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (drop (memory.grow (local.get 1))) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 1)))
            (i32.const 0)))"#,
    )
}

/// The counting filter on every route; `/held` leads to `to`.
fn counted(guest: &Guest, budget: &str, to: &Origin) -> TestProxy {
    TestProxy::with(&format!(
        "workers: 1\nfilters: {{ f: {{ wasm: {:?}, budget: {{ time: 1s, memory: 16MiB, {budget} }} }} }}\nroutes:\n\
         - {{ match: {{ path: /held }}, to: {:?}, filters: [f] }}\n- {{ to: echo, filters: [f] }}\n",
        guest.path(),
        to.url()
    ))
}

fn seen(proxy: &TestProxy) -> String {
    let answer = proxy.get("/");
    assert_eq!(answer.status(), 200);
    answer.field("x-seen").unwrap().to_owned()
}

fn grow(proxy: &TestProxy, pages: usize) {
    assert_eq!(proxy.post("/", "", &"x".repeat(pages)).status(), 200);
}

/// Waits until the worker has looked at the filter's memory and found so much, and asks whether that is too much.
fn is_found(proxy: &TestProxy, pages: usize) {
    let bytes = u32::try_from(pages * PAGE).unwrap();
    proxy.counts("tollgate_filter_memory_bytes", &["filter=\"f\""], bytes.into());
}

fn recycled(proxy: &TestProxy) -> f64 {
    count(proxy, "recycled", "")
}

#[test]
fn a_vm_above_its_mark_is_replaced_once_and_an_exchange_that_is_held_upstream_ends_in_it() {
    let (guest, (origin, say)) = (counting(), Origin::held("late"));
    let proxy = counted(&guest, "recycle: 4MiB", &origin);
    assert_eq!([seen(&proxy), seen(&proxy)], ["1", "2"]);

    let mut held = proxy.client();
    let body = "x".repeat(100);
    held.send(format!("POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{body}"));
    until("it is held", || origin.requests().len() == 1);
    proxy.counts("tollgate_filter_recycled_total", &["filter=\"f\""], 1.0);

    assert_eq!([seen(&proxy), seen(&proxy)], ["1", "2"]);
    assert_eq!(proxy.metric("tollgate_filter_instances", &["filter=\"f\""]), 2.0);
    say.send(()).unwrap();
    let answer = held.answer();
    assert_eq!((answer.status(), answer.text(), answer.field("x-seen")), (200, "late", Some("3")));

    proxy.counts("tollgate_filter_instances", &["filter=\"f\""], 1.0);
    // A little more is no reason to replace the fresh one.
    grow(&proxy, 20);
    is_found(&proxy, 21);
    assert_eq!((seen(&proxy), recycled(&proxy)), ("4".to_owned(), 1.0));
    assert_eq!((count(&proxy, "failures", ""), count(&proxy, "on_error", "")), (0.0, 0.0));
}

#[test]
fn an_exchange_that_is_paused_in_a_vm_above_its_mark_goes_on_in_it() {
    let ((auth, say), origin) = (Origin::held("late"), Origin::saying("x"));
    let settings = "allow: { calls: [auth] }, budget: { time: 1s, memory: 16MiB, recycle: 8MiB }";
    let config = "{ call_response: [\"body-get -> request-headers x-user\", \"continue request\"] }";
    let proxy = TestProxy::with(&format!(
        "workers: 1\n{}clusters: {{ auth: {{ hosts: [\"{}\"] }} }}\nroutes: [{{ to: {:?}, filters: [f] }}]",
        probes_with(settings, &[("f", config)]),
        auth.address(),
        origin.url()
    ));

    let mut paused = proxy.client();
    let (kept, more) = (10 * MIB, 5 * MIB);
    paused.send(format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-probe-request-headers: grow {kept}; call auth 15000 / ''; pause\r\n\r\n"
    ));
    until("the callout is out", || auth.requests().len() == 1);
    proxy.counts("tollgate_filter_recycled_total", &["filter=\"f\""], 1.0);
    // No VM may have both.
    let next = proxy.ask("/", &format!("x-probe-response-headers: grow {more} -> response-headers x-grown\r\n"));
    assert_eq!((next.status(), next.field("x-grown")), (200, Some("ok")));
    say.send(()).unwrap();

    assert_eq!(paused.answer().status(), 200);
    assert_eq!(origin.requests()[1].field("x-user"), Some("late"));
    proxy.counts("tollgate_filter_instances", &["filter=\"f\""], 1.0);
    assert_eq!((recycled(&proxy), count(&proxy, "failures", "")), (1.0, 0.0));
}

#[test]
fn a_vm_is_replaced_above_its_mark_and_not_at_it() {
    // Nine tenths of 16 MiB are less than 231 pages.
    for (budget, at) in [("recycle: 4MiB", 64), ("recycle: 25%", 64), ("", 230)] {
        let (guest, origin) = (counting(), Origin::silent());
        let proxy = counted(&guest, budget, &origin);

        grow(&proxy, at - 1);
        is_found(&proxy, at);
        assert_eq!((seen(&proxy), recycled(&proxy)), ("2".to_owned(), 0.0), "{budget}");

        grow(&proxy, 1);
        proxy.counts("tollgate_filter_recycled_total", &["filter=\"f\""], 1.0);
        assert_eq!(seen(&proxy), "1", "{budget}");
        is_found(&proxy, 1);
    }
}

#[test]
fn a_vm_that_is_never_to_be_replaced_keeps_all_that_it_may_have() {
    let (guest, origin) = (counting(), Origin::silent());
    let proxy = counted(&guest, "recycle: off", &origin);

    grow(&proxy, 255);
    is_found(&proxy, 256);

    assert_eq!((seen(&proxy), recycled(&proxy)), ("2".to_owned(), 0.0));
    // Which is not what happens unless it is said.
    let proxy = counted(&guest, "", &origin);
    grow(&proxy, 255);
    proxy.counts("tollgate_filter_recycled_total", &["filter=\"f\""], 1.0);
}

// time

#[test]
fn the_time_of_a_filter_that_loops_is_its_own() {
    let settings = "on_error: deny, budget: { time: 300ms }";
    let filters = probes_with(settings, &[("idle", "{}"), ("busy", "{ request_headers: [loop] }")]);
    let proxy = TestProxy::with(&format!("{filters}routes: [{{ to: echo, filters: [idle, busy] }}]"));
    let spent = |name: &str| proxy.metric("tollgate_filter_cpu_seconds_total", &[&format!("filter=\"{name}\"")]);
    let before = ["idle", "busy"].map(spent);

    assert_eq!(proxy.get("/").status(), 503);

    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    let [idle, busy] = ["idle", "busy"].map(spent);
    let calls = proxy.metric("tollgate_filter_calls_total", &["filter=\"idle\"", "phase=\"request_headers\""]);
    assert_eq!(calls, 1.0);
    assert!(busy > 0.0 && idle < busy, "{idle} {busy}");
    assert!(idle - before[0] < busy - before[1], "{before:?} {idle} {busy}");
}

// on_error

/// A probe that may have 16 MiB.
fn bounded(on_error: &str) -> TestProxy {
    let settings = format!("on_error: {on_error}, budget: {{ time: 1s, memory: 16MiB }}");
    let filters = probes_with(&settings, &[("f", "{}")]);
    TestProxy::with(&format!("{filters}routes: [{{ to: echo, filters: [f] }}]"))
}

const REFUSED: &str = "grow 33554432";

#[test]
fn a_trap_after_refused_memory_gets_the_policy_for_memory_and_another_that_for_traps() {
    let policies = [("{ memory: skip, trap: deny }", [200, 503]), ("{ memory: deny, trap: skip }", [503, 200])];
    for (on_error, statuses) in policies {
        let proxy = bounded(on_error);

        let refused = proxy.ask("/", &format!("x-probe-request-headers: {REFUSED}; trap\r\n"));
        let plain = proxy.ask("/", "x-probe-request-headers: trap\r\n");

        assert_eq!([refused.status(), plain.status()], statuses, "{on_error}");
        let kinds = ["kind=\"memory\"", "kind=\"trap\"", ""].map(|kind| count(&proxy, "failures", kind));
        assert_eq!(kinds, [1.0, 1.0, 2.0], "{on_error}");
        let policies = ["policy=\"skip\"", "policy=\"deny\""].map(|policy| count(&proxy, "on_error", policy));
        assert_eq!(policies, [1.0, 1.0], "{on_error}");
    }
}

#[test]
fn only_a_trap_in_the_call_that_was_refused_memory_is_for_lack_of_it() {
    let at_once = |commands: &str| format!("x-probe-request-headers: {commands}\r\n");
    let ways = [
        (at_once(&format!("{REFUSED}; panic ouch")), "memory", 200),
        (at_once("grow 1048576; trap"), "trap", 503),
        (at_once(&format!("{REFUSED}; exit 1")), "exit", 503),
        (at_once(&format!("{REFUSED}; loop")), "deadline", 503),
        (format!("{}x-probe-response-headers: trap\r\n", at_once(REFUSED)), "trap", 503),
    ];
    for (way, kind, status) in ways {
        let proxy = bounded("{ memory: skip, trap: deny, deadline: deny }");

        let answer = proxy.ask("/", &way);

        let kinds = ["", &format!("kind=\"{kind}\"")].map(|kind| count(&proxy, "failures", kind));
        assert_eq!((answer.status(), kinds), (status, [1.0, 1.0]), "{way}: {}", proxy.metrics());
    }
}
