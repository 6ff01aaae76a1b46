//! A filter that fails, in every way it can: what its exchanges get for it, and that nobody else notices.

#[path = "common/common.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use common::client::Client;
use common::modules::{Guest, probes, probes_with};
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use common::until;
use tollgate::filter::spares::delay;

/// What a filter with this policy is set up with: its time is short, so that a loop ends soon.
fn settings(on_error: &str) -> String {
    format!("on_error: {on_error}, budget: {{ time: 100ms, memory: 16MiB }}")
}

/// The only route runs one probe named `bad`.
fn bad(on_error: &str, config: &str, to: &str) -> TestProxy {
    let filters = probes_with(&settings(on_error), &[("bad", config)]);
    TestProxy::with(&format!("{filters}routes: [{{ to: {to:?}, filters: [bad] }}]"))
}

fn failures(proxy: &TestProxy, kind: &str) -> f64 {
    proxy.metric("tollgate_filter_failures_total", &["filter=\"bad\"", &format!("kind=\"{kind}\"")])
}

fn applied(proxy: &TestProxy, policy: &str) -> f64 {
    proxy.metric("tollgate_filter_on_error_total", &["filter=\"bad\"", &format!("policy=\"{policy}\"")])
}

/// Every way to fail, as the probe's command, with the kind it is counted under.
const WAYS: [(&str, &str); 5] =
    [("trap", "trap"), ("panic ouch", "trap"), ("loop", "deadline"), ("recurse", "trap"), ("exit 1", "exit")];

#[test]
fn a_failure_is_503_and_is_counted_and_the_next_request_is_served() {
    for (way, kind) in WAYS {
        let origin = Origin::saying("x");
        let proxy = bad("deny", "{ request_headers: [] }", &origin.url());

        let failed = proxy.ask("/", &format!("x-probe-request-headers: {way}\r\n"));
        let next = proxy.get("/");

        assert_eq!((failed.status(), next.status()), (503, 200), "{way}");
        assert_eq!((failures(&proxy, kind), applied(&proxy, "deny")), (1.0, 1.0), "{way}: {}", proxy.metrics());
        assert_eq!(origin.requests().len(), 1, "{way}");
    }
}

#[test]
fn a_failed_filter_that_may_be_skipped_is_skipped() {
    for (way, kind) in WAYS {
        let origin = Origin::saying("x");
        let proxy = bad("skip", "{ request_headers: [\"set request-headers x-a b\"] }", &origin.url());

        let skipped = proxy.ask("/", &format!("x-probe-request-headers: {way}\r\n"));
        let next = proxy.get("/");

        assert_eq!([skipped.status(), next.status()], [200, 200], "{way}");
        assert_eq!((failures(&proxy, kind), applied(&proxy, "skip")), (1.0, 1.0), "{way}");
        assert_eq!(origin.requests()[1].field("x-a"), Some("b"), "{way}");
    }
}

#[test]
fn each_kind_of_failure_gets_its_own_policy() {
    for (on_error, loops, traps) in [("{ deadline: skip }", 200, 503), ("{ trap: skip }", 503, 200)] {
        let origin = Origin::saying("x");
        let proxy = bad(on_error, "{ request_headers: [] }", &origin.url());

        let looped = proxy.ask("/", "x-probe-request-headers: loop\r\n");
        let trapped = proxy.ask("/", "x-probe-request-headers: trap\r\n");

        assert_eq!((looped.status(), trapped.status()), (loops, traps), "{on_error}");
        assert_eq!((applied(&proxy, "skip"), applied(&proxy, "deny")), (1.0, 1.0), "{on_error}");
    }
}

#[test]
fn a_filter_gets_no_more_memory_than_its_budget() {
    let origin = Origin::saying("x");
    let proxy = bad("deny", "{ request_headers: [\"grow 33554432 -> request-headers x-grown\"] }", &origin.url());

    let answer = proxy.get("/");

    assert_eq!((answer.status(), origin.request().field("x-grown")), (200, Some("refused")));
}

#[test]
fn a_filter_that_keeps_memory_until_there_is_none_fails_alone() {
    let origin = Origin::saying("x");
    let proxy = bad("deny", "{ request_headers: [\"grow 1048576\"] }", &origin.url());

    let statuses: Vec<_> = (0..40).map(|_| proxy.get("/").status()).collect();

    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(proxy.metric("tollgate_filter_memory_bytes", &["filter=\"bad\""]) <= 16.0 * 1048576.0);
}

#[test]
fn a_failure_in_any_callback_before_the_answer_is_503() {
    for callback in ["request_body", "response_headers", "response_body"] {
        let origin = Origin::saying("answer");
        let proxy = bad("deny", &format!("{{ {callback}: [trap] }}"), &origin.url());

        let answer = proxy.post("/", "", "body");

        assert_eq!(answer.status(), 503, "{callback}");
        assert_eq!((failures(&proxy, "trap"), applied(&proxy, "deny")), (1.0, 1.0), "{callback}");
    }
}

#[test]
fn a_failure_after_the_answer_began_makes_it_visibly_broken() {
    let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("answer"));
    let origin = Origin::answering(answer);
    let proxy = bad("deny", "{ response_body: [trap] }", &origin.url());
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let outcome = client.try_answer();

    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn what_a_skipped_filter_held_or_changed_of_a_body_leaves_unchanged() {
    let commands = "[body-buffer, \"body-set changed\", trap]";
    for framed in ["content-length: 4\r\n\r\nbody", "transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"]
    {
        let origin = Origin::saying("answer");
        let list = [
            ("request", format!("{{ request_body: {commands} }}")),
            ("response", format!("{{ response_body: {commands} }}")),
        ];
        for (side, config) in list {
            let proxy = bad("skip", &config, &origin.url());

            let answer = proxy.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framed}"));

            assert_eq!((answer.status(), answer.text()), (200, "answer"), "{side}: {framed}");
            assert_eq!(origin.requests().last().unwrap().text(), "body", "{side}: {framed}");
            assert_eq!(applied(&proxy, "skip"), 1.0, "{side}: {framed}");
        }
    }
}

#[test]
fn a_failure_when_everything_is_over_harms_nobody() {
    for callback in ["done", "log"] {
        let origin = Origin::answering(ok("x"));
        let proxy = bad("deny", &format!("{{ {callback}: [trap] }}"), &origin.url());
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20));
        let statuses: Vec<_> = (0..20).map(|_| client.answer().status()).collect();

        assert_eq!(statuses, [200; 20], "{callback}");
        proxy.counts("tollgate_filter_failures_total", &["filter=\"bad\"", "kind=\"trap\""], 20.0);
    }
}

#[test]
fn the_paused_exchanges_of_a_filter_that_dies_get_its_policy_at_once() {
    for (on_error, status) in [("deny", 503), ("skip", 200)] {
        let origin = Origin::saying("x");
        let proxy = bad(on_error, "{ request_headers: [] }", &origin.url());
        let mut paused: Vec<_> = (0..5).map(|_| proxy.client()).collect();
        for client in &mut paused {
            client.send("GET / HTTP/1.1\r\nhost: a\r\nx-probe-request-headers: pause\r\n\r\n");
        }
        proxy.counts("tollgate_filter_calls_total", &["phase=\"request_headers\""], 5.0);

        let killer = proxy.ask("/", "x-probe-request-headers: trap\r\n");

        assert_eq!(killer.status(), status, "{on_error}");
        let statuses: Vec<_> = paused.iter_mut().map(|client| client.answer().status()).collect();
        assert_eq!(statuses, [status; 5], "{on_error}");
        assert_eq!((failures(&proxy, "trap"), applied(&proxy, on_error)), (1.0, 6.0), "{on_error}");
    }
}

#[test]
fn a_tick_that_fails_is_a_failure_and_a_fresh_vm_ticks_on() {
    let origin = Origin::saying("x");
    let proxy = bad("deny", "{ configure: [\"tick 10\"], tick: [trap] }", &origin.url());

    until("several ticks have failed", || failures(&proxy, "trap") > 2.0);

    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &["filter=\"bad\""]), 0.0);
}

#[test]
fn a_filter_that_dies_of_every_request_gets_no_fresh_vm_for_each() {
    let origin = Origin::saying("x");
    let proxy = bad("skip", "{ request_headers: [trap] }", &origin.url());
    let mut client = proxy.client();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
    };

    (0..99).for_each(|_| ask());
    assert_eq!(failures(&proxy, "trap"), 99.0);
    let held = (100..400).any(|asked| {
        ask();
        failures(&proxy, "trap") < f64::from(asked)
    });

    assert!(held, "every exchange had a fresh VM");
    assert_eq!(proxy.metric("tollgate_filter_exchanges_total", &["filter=\"bad\""]), failures(&proxy, "trap"));
}

#[test]
fn a_filter_whose_vms_were_held_back_serves_again_however_often_that_was() {
    let origin = Origin::saying("x");
    let proxy = bad("skip", "{ response_headers: [\"set response-headers x-seen yes\"] }", &origin.url());
    let served = || proxy.get("/").field("x-seen") == Some("yes");
    let entered = || proxy.metric("tollgate_filter_exchanges_total", &["filter=\"bad\""]);
    assert!(served());

    for hold in 1..=2 {
        // A request that the filter does not see is one that was held back.
        until(&format!("VMs are held back for the time {hold}"), || {
            let before = entered();
            assert_eq!(proxy.ask("/", "x-probe-request-headers: trap\r\n").status(), 200);
            entered() == before
        });
        // Over half of a hundred calls each time.
        assert!(failures(&proxy, "trap") > 50.0 * f64::from(hold), "{}", failures(&proxy, "trap"));

        until("it serves again", served);
        assert!((0..10).all(|_| served()));
    }
}

/// Neither starts nor lives through a request while the data that it shares says `on` under `ill`. It may drop a
/// segment: of such a module there is no image, and each VM is started.
const SICKLY: &str = r#"(module
    (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "ill")
    (data $unused "x")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func $drop (data.drop $unused))
    (func $suffer
        (if (i32.eqz (call $get (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 68) (i32.const 72))) (then
            (if (i32.eq (i32.load (i32.const 68)) (i32.const 2)) (then unreachable)))))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $suffer) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $suffer) (i32.const 0)))"#;

#[test]
fn a_filter_that_fails_to_start_is_started_less_and_less_often_until_it_works() {
    let guest = Guest::from_wat(SICKLY);
    let proxy = TestProxy::with(&format!(
        "{}  f: {{ wasm: {:?}, vm_id: shared }}\nroutes:\n\
         - {{ match: {{ path: /say }}, to: echo, filters: [probe] }}\n- {{ to: echo, filters: [f] }}\n",
        probes_with("vm_id: shared, budget: { time: 1s }", &[("probe", "{ request_headers: [] }")]),
        guest.path()
    ));
    let say = |word: &str| {
        let answer = proxy.ask("/say", &format!("x-probe-request-headers: shared-set ill {word}\r\n"));
        assert_eq!(answer.status(), 200);
    };
    let starts = || proxy.metric("tollgate_filter_calls_total", &["filter=\"f\"", "phase=\"vm_start\""]);
    assert_eq!((proxy.get("/").status(), starts()), (200, 2.0));
    let begun = Instant::now();

    say("on");
    // The worker's VM dies of the first request, and the one that was to spare of the second.
    let statuses = [(); 2].map(|()| proxy.get("/").status());
    until("it was tried to start it four times", || starts() >= 6.0);
    let tried = begun.elapsed();

    assert_eq!((statuses, proxy.get("/").status()), ([503; 2], 503));
    assert!(tried >= delay(1) + delay(2) + delay(3), "{tried:?}");
    say("off");
    until("it serves again", || proxy.get("/").status() == 200);
    let again = starts();
    // The worker's VM, and one to spare at once: nothing of the failures is left.
    until("there is one to spare", || starts() >= again.max(8.0));
    assert!((0..10).all(|_| proxy.get("/").status() == 200));
}

#[test]
fn a_failure_leaves_the_neighbours_of_its_chain_alone() {
    let origin = Origin::saying("x");
    let seen = "{ request_headers: [\"add request-headers x-seen yes\"], response_headers: [\"add response-headers x-seen yes\"] }";
    let filters = probes(&[("first", seen), ("last", seen)]);
    let bad = probes_with(&settings("skip"), &[("bad", "{ request_headers: [trap] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}{}routes: [{{ to: {:?}, filters: [first, bad, last] }}]",
        bad.trim_start_matches("filters:\n"),
        origin.url()
    ));

    let answer = proxy.get("/");

    assert_eq!(origin.request().all("x-seen"), ["yes", "yes"]);
    assert_eq!((answer.status(), answer.all("x-seen")), (200, vec!["yes", "yes"]));
}

/// Asks again and again on one connection until told to stop; every answer must be 200.
fn load(proxy: &TestProxy, stop: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (address, stop) = (proxy.address(), Arc::clone(stop));
    thread::spawn(move || {
        let (mut client, mut served) = (Client::connect(address), 0);
        while !stop.load(SeqCst) {
            client.send("POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
            let answer = client.answer();
            assert_eq!((answer.status(), answer.text(), answer.field("x-seen")), (200, "X", Some("yes")));
            served += 1;
        }
        served
    })
}

#[test]
fn a_healthy_filter_loses_nothing_while_others_fail_beside_it() {
    let origin = Origin::saying("x");
    let good = "{ response_headers: [\"set response-headers x-seen yes\"], response_body: [body-buffer, body-upper] }";
    let filters = probes(&[("good", good)]);
    let bad = probes_with(&settings("deny"), &[("bad", "{ request_headers: [] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}{}routes:\n\
         - {{ match: {{ path: /good }}, to: {to:?}, filters: [good] }}\n\
         - {{ match: {{ path: /bad }}, to: {to:?}, filters: [bad] }}\n",
        bad.trim_start_matches("filters:\n"),
        to = origin.url()
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..4).map(|_| load(&proxy, &stop)).collect();

    for (way, _) in WAYS.iter().cycle().take(30) {
        let failed = proxy.ask("/bad", &format!("x-probe-request-headers: {way}\r\n"));
        assert_eq!(failed.status(), 503, "{way}");
    }
    stop.store(true, SeqCst);

    let served: usize = loads.into_iter().map(|load| load.join().expect("nothing lost")).sum();
    assert!(served > 30, "{served}");
    let kinds = ["trap", "deadline", "exit"].map(|kind| failures(&proxy, kind));
    assert_eq!(kinds, [18.0, 6.0, 6.0]);
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &["filter=\"good\""]), 0.0);
}
