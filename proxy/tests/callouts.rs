//! What filters ask of other clusters: who may be asked, what is sent, what becomes of the exchange that waits for the
//! answer, and how each way to fail is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use common::modules::probes_with;
use common::origin::{Origin, ok, refusing};
use common::proxy::TestProxy;
use common::{log, until};

const SETTINGS: &str = "budget: { time: 1s }, allow: { calls: [auth] }";

/// The only route runs one probe that may call the cluster `auth`.
fn calling(auth: &str, to: &Origin, config: &str) -> TestProxy {
    calling_with(SETTINGS, auth, to, config)
}

fn calling_with(settings: &str, auth: &str, to: &Origin, config: &str) -> TestProxy {
    let (filters, to) = (probes_with(settings, &[("a", config)]), to.url());
    TestProxy::with(&format!(
        "{filters}clusters: {{ auth: {{ hosts: [\"{auth}\"] }}, other: {{ hosts: [\"{auth}\"] }} }}\n\
         routes: [{{ to: {to:?}, filters: [a] }}]"
    ))
}

fn ended(proxy: &TestProxy, cluster: &str, outcome: &str) -> f64 {
    let labels = [format!("cluster=\"{cluster}\""), format!("outcome=\"{outcome}\"")];
    proxy.metric("tollgate_filter_callouts_total", &["filter=\"a\"", "kind=\"http\"", &labels[0], &labels[1]])
}

#[test]
fn an_answer_resumes_a_paused_request_and_gives_it_a_header() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("alice"));
    let proxy = calling(
        &auth.address().to_string(),
        &origin,
        "{ request_headers: [\"call auth 5000 /check?q token :authority=id.local x-a=1 content-length=99\", pause], \
         call_response: [\"body-get -> request-headers x-user\", \"copy call-headers :status -> request-headers x-status\", \
         \"continue request\"] }",
    );

    let answer = proxy.get("/");

    let (asked, sent) = (auth.request(), origin.request());
    assert_eq!((answer.status(), answer.text()), (200, "upstream"));
    assert_eq!((sent.field("x-user"), sent.field("x-status")), (Some("alice"), Some("200")));
    assert_eq!((asked.start.as_str(), asked.text()), ("POST /check?q HTTP/1.1", "token"));
    assert_eq!((asked.all("host"), asked.all("content-length")), (vec!["id.local"], vec!["5"]));
    assert_eq!((asked.field("x-a"), asked.field("x-tollgate-callout-hops")), (Some("1"), Some("1")));
    assert_eq!(ended(&proxy, "auth", "ok"), 1.0);
}

#[test]
fn trailers_of_either_side_travel_where_they_are_announced() {
    let answer =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nx-sum: 2\r\n\r\n";
    let (origin, auth) = (Origin::saying("upstream"), Origin::answering(answer));
    let config = "{ request_headers: [\"call auth 5000 / body trailer:x-sum=1\", pause], \
                  call_response: [\"copy call-trailers x-sum -> request-headers x-sum\", \"continue request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    proxy.get("/");

    assert_eq!((auth.request().text(), auth.request().trailer("x-sum")), ("body", Some("1")));
    assert_eq!(origin.request().field("x-sum"), Some("2"));
}

#[test]
fn callouts_use_connections_again() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("alice"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [\"continue request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    for _ in 0..3 {
        assert_eq!(proxy.get("/").status(), 200);
    }

    assert_eq!((auth.requests().len(), auth.connections()), (3, 1));
}

#[test]
fn every_pause_can_be_ended_by_an_answer() {
    for (callback, half) in [
        ("request_headers", "request"),
        ("request_body", "request"),
        ("response_headers", "response"),
        ("response_body", "response"),
    ] {
        let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
        let config = format!(
            "{{ {callback}: [\"call auth 5000 / ''\", pause], call_response: [\"continue {half}\", \"log info woke\"] }}"
        );
        let proxy = calling(&auth.address().to_string(), &origin, &config);

        let answer = proxy.post("/", "", "body");

        assert_eq!((answer.status(), answer.text()), (200, "upstream"), "{callback}");
        assert_eq!(origin.request().text(), "body", "{callback}");
        assert!(!auth.requests().is_empty(), "{callback}");
    }
}

#[test]
fn an_answer_may_be_turned_into_a_reply() {
    for callback in ["request_headers", "request_body", "response_headers"] {
        let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
        let config =
            format!("{{ {callback}: [\"call auth 5000 / ''\", pause], call_response: [\"reply 403 no x-a=b\"] }}");
        let proxy = calling(&auth.address().to_string(), &origin, &config);

        let answer = proxy.post("/", "", "body");

        assert_eq!((answer.status(), answer.text(), answer.field("x-a")), (403, "no", Some("b")), "{callback}");
    }
}

#[test]
fn an_answer_may_close_the_exchange() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [\"close request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

    assert!(client.try_answer().is_err());
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_cluster_that_is_not_listed_or_not_there_is_not_called() {
    log::keep();
    let (origin, other) = (Origin::saying("upstream"), Origin::saying("x"));
    for name in ["other", "nobody", "Auth"] {
        let config = format!("{{ request_headers: [\"call {name} 1000 / '' -> request-headers x-call\"] }}");
        let proxy = calling(&other.address().to_string(), &origin, &config);

        let answer = proxy.get("/");

        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(ended(&proxy, "none", "unknown_upstream"), 1.0, "{name}");
        let line = format!("unknown upstream {name:?}; this filter may call: auth");
        assert!(!log::lines_with(&line).is_empty(), "{line}");
    }
    assert_eq!(other.requests().len(), 0);
    assert!(origin.requests().iter().all(|request| request.field("x-call") == Some("status 2")));
}

#[test]
fn nothing_is_called_without_leave() {
    let (origin, other) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"call other 1000 / '' -> request-headers x-call\"] }";
    let proxy = calling_with("budget: { time: 1s }", &other.address().to_string(), &origin, config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-call"), Some("status 2"));
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn a_request_that_the_wire_would_refuse_is_not_sent() {
    for headers in [":method=G%20ET", ":path=relative", ":authority=a%40b", "x=a%0d%0ab:%20c", "x%20y=1", ":scheme=ftp"]
    {
        let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
        let config = format!("{{ request_headers: [\"call auth 1000 / '' {headers} -> request-headers x-call\"] }}");
        let proxy = calling(&auth.address().to_string(), &origin, &config);

        proxy.get("/");

        assert_eq!(origin.request().field("x-call"), Some("status 2"), "{headers}");
        assert_eq!(ended(&proxy, "none", "invalid"), 1.0, "{headers}");
        assert_eq!(auth.requests().len(), 0, "{headers}");
    }
}

/// What the guest is told when the callout to `auth` does not succeed, and what is counted.
fn fails(auth: &str, timeout: u32, word: &str, outcome: &str) {
    let origin = Origin::saying("upstream");
    let config = format!(
        "{{ request_headers: [\"call auth {timeout} / ''\", pause], call_response: [\"pairs call-headers -> request-headers x-reply\", \
         \"raw proxy_get_status out out-bytes -> request-headers x-why\", \"continue request\"] }}"
    );
    let settings = "budget: { time: 1s }, allow: { calls: [auth] }, quota: { callout_body: 10B }";
    let proxy = calling_with(settings, auth, &origin, &config);

    let answer = proxy.get("/");

    let sent = origin.request();
    assert_eq!(answer.status(), 200);
    assert!(sent.field("x-why").unwrap().ends_with(word), "{word}: {sent:?}");
    assert_eq!(sent.field("x-reply"), Some(""), "{word}");
    assert_eq!(ended(&proxy, "auth", outcome), 1.0, "{word}: {}", proxy.metrics());
    assert_eq!(proxy.metric("tollgate_filter_callouts_active", &[]), 0.0);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_timeout() {
    fails(&Origin::silent().address().to_string(), 20, "timeout", "timeout");
}

#[test]
fn a_body_that_does_not_end_in_time_is_a_timeout() {
    let origin = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")?;
        peer.wait_for_end()
    });
    fails(&origin.address().to_string(), 20, "timeout", "timeout");
}

#[test]
fn a_refused_connection_is_told() {
    fails(&refusing().to_string(), 5_000, "connect", "connect");
}

#[test]
fn a_broken_connection_is_told() {
    let reset = Origin::scripted(|peer| peer.request().and_then(|_| peer.reset()));
    fails(&reset.address().to_string(), 5_000, "reset", "reset");
    let cut = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    });
    fails(&cut.address().to_string(), 5_000, "reset", "reset");
}

#[test]
fn an_answer_that_is_not_http_is_told() {
    for answer in ["SSH-2.0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"] {
        let origin = Origin::scripted(move |peer| peer.request().and_then(|_| peer.send(answer)));
        fails(&origin.address().to_string(), 5_000, "protocol", "protocol");
    }
}

#[test]
fn an_answer_over_the_quota_is_too_large_however_it_is_framed() {
    for answer in [
        ok("eleven byte"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", common::origin::chunked("eleven byte")),
        "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
    ] {
        fails(&Origin::answering(answer).address().to_string(), 5_000, "too large", "too_large");
    }
}

#[test]
fn an_answer_of_just_the_quota_is_whole() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("tenletters"));
    let settings = "budget: { time: 1s }, allow: { calls: [auth] }, quota: { callout_body: 10B }";
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], \
                  call_response: [\"body-get -> request-headers x-user\", \"continue request\"] }";
    let proxy = calling_with(settings, &auth.address().to_string(), &origin, config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-user"), Some("tenletters"));
}

#[test]
fn a_redirect_is_an_answer_like_any_other() {
    let (origin, elsewhere) = (Origin::saying("upstream"), Origin::saying("x"));
    let location = elsewhere.url();
    let auth = Origin::answering(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], \
                  call_response: [\"copy call-headers :status -> request-headers x-status\", \"continue request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    proxy.get("/");

    assert_eq!(origin.request().field("x-status"), Some("302"));
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn an_answer_that_comes_after_its_exchange_reaches_nobody() {
    let (auth, say) = Origin::held("late");
    let origin = Origin::saying("upstream");
    let config = "{ request_headers: [\"call auth 5000 / ''\"], call_response: [\"set response-headers x-late yes\", \
                  \"log info late\"], response_headers: [\"resume-after-ticks 2\"], configure: [\"tick 10\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);
    assert_eq!(proxy.get("/").status(), 200);
    until("the callout is sent", || auth.requests().len() == 1);

    say.send(()).unwrap();
    proxy.counts("tollgate_filter_callouts_total", &["cluster=\"auth\"", "outcome=\"ok\""], 1.0);
    let next = proxy.get("/");

    assert_eq!((next.status(), next.field("x-late")), (200, None));
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &[]), 0.0);
}

#[test]
fn one_callback_makes_four_callouts_and_one_exchange_eight() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::silent());
    let five = |map: &str| {
        let call = |n| format!("\"call auth 5000 / '' -> {map} x-call-{n}\"");
        (1..=5).map(call).collect::<Vec<_>>().join(", ")
    };
    let config = format!(
        "{{ request_headers: [{}], response_headers: [{}], response_body: [\"call auth 5000 / '' -> response-headers x\", \
         \"log info body\"] }}",
        five("request-headers"),
        five("response-headers")
    );
    let proxy = calling(&auth.address().to_string(), &origin, &config);

    let answer = proxy.get("/");

    let sent = origin.request();
    for n in 1..=5 {
        let refused = n == 5;
        let name = format!("x-call-{n}");
        assert_eq!(sent.field(&name) == Some("status 10"), refused, "{sent:?}");
        assert_eq!(answer.field(&name) == Some("status 10"), refused, "{answer:?}");
    }
    assert_eq!(
        proxy.metric("tollgate_filter_quota_exceeded_total", &["quota=\"callout\""]),
        3.0,
        "{}",
        proxy.metrics()
    );
    assert_eq!(ended(&proxy, "none", "overflow"), 3.0);
}

#[test]
fn a_vm_has_so_many_callouts_under_way() {
    let (origin, (auth, say)) = (Origin::saying("upstream"), Origin::held("x"));
    let settings = "budget: { time: 1s }, allow: { calls: [auth] }, quota: { callouts: 2 }";
    let config = "{ request_headers: [\"call auth 5000 / '' -> request-headers x-call\"] }";
    let proxy = calling_with(settings, &auth.address().to_string(), &origin, config);

    (0..3).for_each(|_| drop(proxy.get("/")));
    let refused = |at: usize| origin.requests()[at].field("x-call") == Some("status 10");
    assert_eq!([refused(0), refused(1), refused(2)], [false, false, true]);
    say.send(()).unwrap();
    proxy.counts("tollgate_filter_callouts_total", &["cluster=\"auth\"", "outcome=\"ok\""], 1.0);
    proxy.get("/");

    assert!(!refused(3));
}

#[test]
fn a_vm_that_dies_takes_its_callouts_with_it() {
    let (origin, (auth, say)) = (Origin::saying("upstream"), Origin::held("x"));
    let config = "{ request_headers: [\"call auth 5000 / ''\"], call_response: [\"log info answered\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);
    proxy.get("/");
    until("the callout is sent", || auth.requests().len() == 1);

    let failed = proxy.ask("/", "x-probe-response-headers: trap\r\n");
    proxy.counts("tollgate_filter_callouts_total", &["cluster=\"auth\"", "outcome=\"cancelled\""], 2.0);
    (0..3).for_each(|_| say.send(()).unwrap());
    let next = proxy.get("/");

    assert_eq!((failed.status(), next.status()), (503, 200));
    proxy.counts("tollgate_filter_callouts_total", &["cluster=\"auth\"", "outcome=\"ok\""], 1.0);
}

#[test]
fn a_filter_that_fails_on_an_answer_is_replaced_and_its_exchanges_get_its_policy() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [trap] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    let statuses = [proxy.get("/").status(), proxy.get("/").status()];

    assert_eq!(statuses, [503, 503]);
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &["kind=\"trap\""]), 2.0);
    assert_eq!(auth.requests().len(), 2);
}

#[test]
fn what_a_starting_vm_asks_is_sent_when_it_serves() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ configure: [\"call auth 5000 /start ''\"], call_response: [\"metric counter started 1\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    proxy.counts("tollgate_guest_started", &[], 1.0);
    proxy.ask("/", "x-probe-request-headers: trap\r\n");
    proxy.counts("tollgate_guest_started", &[], 2.0);

    // One for the VM of the worker and one for the spare that took its place; the spares behind it never serve.
    assert_eq!(auth.requests().iter().filter(|asked| asked.target() == "/start").count(), 2);
}

#[test]
fn a_tick_asks_and_hears_the_answer() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config =
        "{ configure: [\"tick 10\"], tick: [\"call auth 5000 /tick ''\"], call_response: [\"metric counter told 1\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    until("some ticks are answered", || proxy.metric("tollgate_guest_told", &[]) >= 3.0);

    assert!(auth.requests().iter().all(|asked| asked.field("x-tollgate-callout-hops") == Some("1")));
}

#[test]
fn callouts_that_lead_to_callouts_are_counted_and_a_fifth_ends_the_exchange() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"call auth 5000 / '' x-tollgate-callout-hops=0\", pause], \
                  call_response: [\"continue request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    let statuses = ["2", "3", "4", "no number"]
        .map(|hops| proxy.ask("/", &format!("x-tollgate-callout-hops: {hops}\r\n")).status());

    assert_eq!(statuses, [200, 200, 508, 508]);
    let hops: Vec<_> = auth.requests().iter().map(|asked| asked.all("x-tollgate-callout-hops").join(",")).collect();
    assert_eq!(hops, ["3", "4"]);
    assert_eq!(ended(&proxy, "none", "invalid"), 2.0);
}

#[test]
fn callouts_one_after_the_other_are_no_loop() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"call auth 5000 / ''\", pause], call_response: [\"call auth 5000 / ''\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-tollgate-callout-hops: 3\r\n\r\n");

    // As many as one exchange may make.
    proxy.counts("tollgate_filter_callouts_total", &["cluster=\"auth\"", "outcome=\"ok\""], 8.0);
    assert!(auth.requests().iter().all(|asked| asked.field("x-tollgate-callout-hops") == Some("4")));
}

#[test]
fn a_loop_that_is_refused_in_a_tick_ends_the_exchange_it_was_for() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ configure: [\"tick 10\"], request_headers: [pause], \
                  tick: [\"effective 2\", \"remove request-headers x-tollgate-callout-hops\", \"call auth 5000 / ''\", \
                  \"continue request\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    let answer = proxy.ask("/", "x-tollgate-callout-hops: 4\r\n");

    assert_eq!((answer.status(), origin.requests().len()), (508, 0));
}

#[test]
fn a_loop_is_found_although_a_filter_has_removed_the_count() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config = "{ request_headers: [\"remove request-headers x-tollgate-callout-hops\"], \
                  response_headers: [\"call auth 5000 / ''\"] }";
    let proxy = calling(&auth.address().to_string(), &origin, config);

    let statuses = [3, 4].map(|hops| proxy.ask("/", &format!("x-tollgate-callout-hops: {hops}\r\n")).status());

    assert_eq!(statuses, [200, 508]);
    // The exchange does not wait for what it called.
    until("the first callout arrived", || !auth.requests().is_empty());
    assert_eq!(auth.requests().len(), 1);
    assert_eq!(auth.request().field("x-tollgate-callout-hops"), Some("4"));
}

#[test]
fn a_filter_that_goes_on_after_a_refused_loop_does_not_let_the_request_through() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let proxy = calling(&auth.address().to_string(), &origin, "{ request_headers: [\"call auth 5000 / ''\"] }");

    let answer = proxy.ask("/", "x-tollgate-callout-hops: 4\r\n");

    assert_eq!(answer.status(), 508);
    assert_eq!((origin.requests().len(), auth.requests().len()), (0, 0));
}

#[test]
fn a_root_that_asks_for_time_at_the_end_gets_its_answer() {
    log::keep();
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let config =
        "{ root_done: [\"call auth 5000 /bye ''\", refuse], call_response: [\"log info farewell-was-heard\", done] }";
    let mut proxy = calling(&auth.address().to_string(), &origin, config);
    proxy.get("/");

    proxy.drain();
    proxy.ended();

    assert_eq!(auth.request().target(), "/bye");
    assert_eq!(log::lines_with("farewell-was-heard").len(), 1);
}

#[test]
fn a_root_that_is_never_done_is_not_waited_for_past_the_drain() {
    let (origin, auth) = (Origin::saying("upstream"), Origin::saying("x"));
    let filters = probes_with(SETTINGS, &[("a", "{ root_done: [refuse] }")]);
    let [mut proxy, mut longer] = ["300ms", "10m"].map(|time| {
        TestProxy::with(&format!(
            "{filters}limits: {{ drain_timeout: {time} }}\nclusters: {{ auth: {{ hosts: [\"{}\"] }} }}\n\
             routes: [{{ to: {:?}, filters: [a] }}]",
            auth.address(),
            origin.url()
        ))
    });
    proxy.get("/");
    longer.get("/");

    longer.drain();
    proxy.drain();
    let longer = std::thread::spawn(move || longer.ended());
    proxy.ended();

    assert!(!longer.is_finished(), "where the drain has more time, so does the filter");
    longer.join().unwrap();
}
