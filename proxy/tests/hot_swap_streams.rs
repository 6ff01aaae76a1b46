//! Exchanges and connections that are under way while their filter is swapped: each ends in the generation it began with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::Sender;
use std::thread;

use common::client::Client;
use common::modules::{Guest, probes_with};
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::swaps::{module, speaker};
use common::tcp::{connect, echo, exactly};
use common::wire::{self, Kind};
use common::{log, until};
use tollgate::app::reload::{Done, Order};

/// One probe of that name which says `word` on every answer, and these lists of commands.
fn probe(name: &str, word: &str, lists: &str, settings: &str, rest: &str) -> String {
    let config = format!("{{ response_headers: [\"add response-headers x-by {word}\"], {lists} }}");
    let settings = format!("budget: {{ time: 1s }}, allow: {{ calls: [auth] }}, {settings}");
    format!("watch: off\n{}{rest}", probes_with(&settings, &[(name, &config)]))
}

/// The cluster that the probe may call, and one route.
fn around(name: &str, auth: &Origin, to: &Origin) -> String {
    format!(
        "clusters: {{ auth: {{ hosts: [\"{}\"] }} }}\nroutes: [{{ to: {:?}, filters: [{name}] }}]",
        auth.address(),
        to.url()
    )
}

fn is_draining(proxy: &TestProxy, generations: &[u64]) -> bool {
    proxy.plugin("f").draining.iter().map(|brief| brief.number).eq(generations.iter().copied())
}

fn ask(proxy: &TestProxy) -> Client {
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client
}

#[test]
fn an_answer_that_comes_late_reaches_the_generation_that_asked() {
    let ((auth, say), origin) = (Origin::held("alice"), Origin::saying("upstream"));
    let around = around("f", &auth, &origin);
    let calls = "request_headers: [\"call auth 15000 / ''\", pause], \
                 call_response: [\"body-get -> request-headers x-user\", \"continue request\"]";
    let proxy = TestProxy::with(&probe("f", "one", calls, "", &around));
    let mut client = ask(&proxy);
    until("the callout is out", || auth.requests().len() == 1);

    assert_eq!(proxy.configure(&probe("f", "two", "", "", &around)).unwrap(), Done::Serving);
    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
    assert!(is_draining(&proxy, &[1]));
    say.send(()).unwrap();
    let answer = client.answer();

    assert_eq!((answer.status(), answer.field("x-by")), (200, Some("one")));
    assert_eq!(origin.requests()[1].field("x-user"), Some("alice"));
    until("the old generation ends with its exchange", || is_draining(&proxy, &[]));
}

#[test]
fn an_answer_that_comes_after_the_exchange_reaches_the_generation_that_asked() {
    let ((auth, say), origin) = (Origin::held("noted"), Origin::saying("upstream"));
    let around = around("f", &auth, &origin);
    let proxy = TestProxy::with(&probe("f", "one", "log: [\"call auth 15000 / ''\"]", "", &around));
    assert_eq!(proxy.get("/").field("x-by"), Some("one"));
    until("the callout is out", || auth.requests().len() == 1);

    assert_eq!(proxy.configure(&probe("f", "two", "", "", &around)).unwrap(), Done::Serving);
    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
    assert!(is_draining(&proxy, &[1]));
    say.send(()).unwrap();

    until("the old generation ends with its callout", || is_draining(&proxy, &[]));
    assert_eq!(proxy.metric("tollgate_filter_callouts_total", &["outcome=\"ok\""]), 1.0);
}

#[test]
fn a_callout_keeps_a_generation_no_longer_than_an_exchange_may() {
    let (auth, origin) = (Origin::silent(), Origin::saying("upstream"));
    let around = format!("{}\nlimits: {{ retire_timeout: 200ms }}", around("f", &auth, &origin));
    let proxy = TestProxy::with(&probe("f", "one", "log: [\"call auth 3600000 / ''\"]", "", &around));
    assert_eq!(proxy.get("/").field("x-by"), Some("one"));
    until("the callout is out", || auth.requests().len() == 1);

    assert_eq!(proxy.configure(&probe("f", "two", "", "", &around)).unwrap(), Done::Serving);

    until("the old generation is gone", || is_draining(&proxy, &[]));
}

#[test]
fn a_paused_exchange_goes_on_and_ends_in_its_own_generation() {
    log::keep();
    let (auth, origin) = (Origin::silent(), Origin::saying("upstream"));
    let around = around("own", &auth, &origin);
    let holds = |word: &str| format!("request_body: [body-buffer, body-upper], log: [\"log info ended {word}\"]");
    let proxy = TestProxy::with(&probe("own", "one", &holds("one"), "", &around));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo");
    until("the body is held", || proxy.metric("tollgate_filter_calls_total", &["phase=\"request_body\""]) > 0.0);

    proxy.configure(&probe("own", "two", &holds("two"), "", &around)).unwrap();
    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
    client.send("dy");
    let answer = client.answer();

    assert_eq!((answer.status(), answer.field("x-by")), (200, Some("one")));
    assert_eq!(origin.requests()[1].text(), "BODY");
    until("it is logged", || !log::lines_with("ended one").is_empty());
    assert_eq!(log::lines_with("ended one").len(), 1);
    // The next exchange of the same connection is for the new one.
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().field("x-by"), Some("two"));
}

#[test]
fn an_exchange_whose_upstream_is_slow_ends_in_its_own_generation() {
    let (auth, (origin, say)) = (Origin::silent(), Origin::held("upstream"));
    let around = around("f", &auth, &origin);
    let proxy = TestProxy::with(&probe("f", "one", "", "", &around));
    let mut client = ask(&proxy);
    until("the upstream was asked", || origin.requests().len() == 1);

    proxy.configure(&probe("f", "two", "", "", &around)).unwrap();
    until("the old generation has this exchange alone", || is_draining(&proxy, &[1]));
    say.send(()).unwrap();

    assert_eq!(client.answer().field("x-by"), Some("one"));
    say.send(()).unwrap();
    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
}

#[test]
fn a_context_that_asked_for_time_has_it_in_its_own_generation() {
    log::keep();
    let (auth, origin) = (Origin::silent(), Origin::saying("x"));
    let around = around("f", &auth, &origin);
    let asks =
        "configure: [\"tick 1000\"], done: [refuse], tick: [\"effective 2\", done], log: [\"log info lingered\"]";
    let proxy = TestProxy::with(&probe("f", "one", asks, "", &around));
    assert_eq!(proxy.get("/").field("x-by"), Some("one"));
    proxy.counts("tollgate_http_active_requests", &[], 0.0);

    proxy.configure(&probe("f", "two", "", "", &around)).unwrap();

    assert_eq!(proxy.get("/").field("x-by"), Some("two"));
    until("it has had its time", || log::lines_with("lingered").len() == 1);
    until("the old generation ends with it", || is_draining(&proxy, &[]));
    assert_eq!(proxy.metric("tollgate_filter_failures_total", &[]), 0.0);
}

/// Puts `word` before every piece of a request's body, and on the answer.
fn marker(word: &str) -> Vec<u8> {
    let length = word.len();
    module(
        word,
        &format!(
            r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const {length})))
            (i32.const 0))"#
        ),
    )
}

/// Counts what a body is made of.
#[derive(Default)]
struct Tally {
    plain: AtomicU64,
    marks: [AtomicU64; 2],
}

impl Write for &Tally {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = |mark: u8| u64::try_from(bytes.iter().filter(|byte| **byte == mark).count()).unwrap();
        let (one, two) = (count(b'1'), count(b'2'));
        self.marks[0].fetch_add(one, SeqCst);
        self.marks[1].fetch_add(two, SeqCst);
        self.plain.fetch_add(u64::try_from(bytes.len()).unwrap() - one - two, SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_body_goes_through_one_generation_from_end_to_end() {
    const SIZE: u64 = 64 << 20;
    let tally = Arc::new(Tally::default());
    let counted = Arc::clone(&tally);
    let origin = Origin::scripted(move |peer| {
        loop {
            let head = peer.head()?;
            let mut into = &*counted;
            wire::copy_body(peer.reader(), &head, Kind::Request, &mut into)?;
            peer.send(ok("thanks"))?;
        }
    });
    let guest = Guest::from_bytes(&marker("1"));
    let proxy = TestProxy::with(&format!(
        "watch: off\nfilters: {{ f: {{ wasm: {:?}, budget: {{ time: 1s }} }} }}\nroutes: [{{ to: {:?}, filters: [f] }}]",
        guest.path(),
        origin.url()
    ));
    let (address, received) = (proxy.address(), Arc::clone(&tally));

    let sending = thread::spawn(move || {
        let mut client = Client::connect(address);
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        (0..SIZE >> 20).for_each(|_| client.send(&piece));
        client.answer()
    });
    until("the body flows", || received.plain.load(SeqCst) > SIZE / 8);
    guest.replace(&marker("2"));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
    assert!(tally.plain.load(SeqCst) < SIZE, "the swap came in the middle");
    let answer = sending.join().unwrap();

    assert_eq!((answer.status(), answer.field("x-by")), (200, Some("1")));
    assert_eq!((tally.plain.load(SeqCst), tally.marks[1].load(SeqCst)), (SIZE, 0));
    assert!(tally.marks[0].load(SeqCst) > 1);
    assert_eq!(proxy.post("/", "", "y").field("x-by"), Some("2"));
    assert_eq!(tally.marks[1].load(SeqCst), 1);
}

#[test]
fn a_generation_that_takes_too_long_to_leave_is_ended_by_its_policy() {
    for (policy, status) in [("deny", 503), ("skip", 200)] {
        let (auth, origin) = (Origin::silent(), Origin::saying("upstream"));
        let around = format!("{}\nlimits: {{ retire_timeout: 200ms }}", around("f", &auth, &origin));
        let on_error = format!("on_error: {policy}");
        let proxy = TestProxy::with(&probe("f", "one", "request_headers: [pause]", &on_error, &around));
        let mut client = ask(&proxy);
        proxy.counts("tollgate_filter_calls_total", &["phase=\"request_headers\""], 1.0);

        proxy.configure(&probe("f", "two", "", &on_error, &around)).unwrap();

        assert_eq!(client.answer().status(), status, "{policy}");
        assert_eq!(proxy.get("/").field("x-by"), Some("two"), "{policy}");
        until("it is gone", || is_draining(&proxy, &[]));
        let on_error = [&format!("policy=\"{policy}\"")[..]];
        assert_eq!(proxy.metric("tollgate_filter_on_error_total", &on_error), 1.0, "{policy}");
    }
}

/// Says its letter after whatever the client says.
fn letter(letter: char) -> Vec<u8> {
    module(
        "x",
        &format!(
            r#"(data (i32.const 64) "{letter}")
            (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
                (drop (call $set (i32.const 2) (i32.const 0x7fffffff) (i32.const 0) (i32.const 64) (i32.const 1)))
                (i32.const 0))"#
        ),
    )
}

fn passing(guest: &Guest, to: &Origin, limits: &str) -> TestProxy {
    TestProxy::with(&format!(
        "watch: off\nlimits: {{ {limits} }}\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}\n\
         listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{}\", filters: [f] }} }}]",
        guest.path(),
        to.address()
    ))
}

#[test]
fn a_connection_that_is_passed_on_keeps_its_generation_however_long_it_lasts() {
    let (guest, origin) = (Guest::from_bytes(&letter('a')), echo());
    let proxy = passing(&guest, &origin, "retire_timeout: 100ms");
    let mut old = connect(&proxy);
    old.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut old, 2), "xa");

    guest.replace(&letter('b'));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
    let mut new = connect(&proxy);
    new.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut new, 2), "xb");
    // Its time is over by far once another plain generation has come and gone.
    guest.replace(&letter('c'));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
    drop(new);
    until("the second generation is gone", || is_draining(&proxy, &[1]));
    old.write_all(b"y").unwrap();

    assert_eq!(exactly(&mut old, 2), "ya");
    drop(old);
    until("the first goes with its connection", || is_draining(&proxy, &[]));
}

#[test]
fn a_connection_that_is_passed_on_keeps_no_exchange_of_its_generation() {
    let hold = |letter: &str, action: u32| {
        let text = format!(
            r#"(data (i32.const 64) "{letter}")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const {action}))
            (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
                (drop (call $set (i32.const 2) (i32.const 0x7fffffff) (i32.const 0) (i32.const 64) (i32.const 1)))
                (i32.const 0))"#
        );
        module(letter, &text)
    };
    let (guest, origin) = (Guest::from_bytes(&hold("a", 1)), echo());
    let proxy = TestProxy::with(&format!(
        "watch: off\nlimits: {{ retire_timeout: 100ms }}\nfilters: {{ f: {{ wasm: {:?}, on_error: deny }} }}\n\
         listeners:\n- {{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{}\", filters: [f] }} }}\n\
         - {{ name: web, listen: \"127.0.0.1:0\", routes: [{{ to: echo, filters: [f] }}] }}\n",
        guest.path(),
        origin.address()
    ));
    let mut passed = connect(&proxy);
    passed.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut passed, 2), "xa");
    let mut held = Client::connect(proxy.address_of("web"));
    held.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    proxy.counts("tollgate_filter_calls_total", &["phase=\"request_headers\""], 1.0);

    guest.replace(&hold("b", 0));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    assert_eq!(held.answer().status(), 503);
    passed.write_all(b"y").unwrap();
    assert_eq!(exactly(&mut passed, 2), "ya");
    held.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(held.answer().field("x-by"), Some("b"));
}

#[test]
fn a_connection_that_is_passed_on_ends_with_its_generation_where_that_may_not_grow_old() {
    let (guest, origin) = (Guest::from_bytes(&letter('a')), echo());
    let proxy = passing(&guest, &origin, "upgrade_age: 200ms");
    let mut old = connect(&proxy);
    old.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut old, 2), "xa");

    guest.replace(&letter('b'));
    assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);

    let mut rest = Vec::new();
    let ended = old.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{ended:?} {rest:?}");
    until("the generation is gone", || is_draining(&proxy, &[]));
    let mut new = connect(&proxy);
    new.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut new, 2), "xb");
}

#[test]
fn a_fifth_replaced_generation_waits_and_no_exchange_is_cut_for_it() {
    let ((auth, say), origin) = (Origin::held("alice"), Origin::saying("upstream"));
    let waits = |word: &str| {
        let calls = "request_headers: [\"call auth 15000 / ''\", pause], call_response: [\"continue request\"]";
        probe("f", word, calls, "", &around("f", &auth, &origin))
    };
    let proxy = TestProxy::with(&waits("0"));
    let mut clients = Vec::new();
    for word in ["1", "2", "3", "4"] {
        clients.push(ask(&proxy));
        // Each callout has a connection of its own, since none is answered yet.
        until("the callout is out", || auth.requests().len() == clients.len());
        assert_eq!(proxy.configure(&waits(word)).unwrap(), Done::Serving, "{word}");
    }
    assert!(is_draining(&proxy, &[1, 2, 3, 4]));
    clients.push(ask(&proxy));
    until("the fifth callout is out", || auth.requests().len() == 5);

    assert_eq!(proxy.configure(&waits("5")).unwrap(), Done::Waiting);
    assert_eq!(proxy.plugin("f").serving.unwrap().number, 5);
    // Which of the callouts is answered is not ours to say; all of them are, one after the other.
    (0..5).for_each(|_| say.send(()).unwrap());
    let mut words: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let answer = client.answer();
            assert_eq!(answer.status(), 200);
            answer.field("x-by").unwrap().to_owned()
        })
        .collect();

    words.sort();
    assert_eq!(words, ["0", "1", "2", "3", "4"]);
    until("what waited serves", || proxy.plugin("f").serving.is_some_and(|brief| brief.number > 5));
    say.send(()).unwrap();
    assert_eq!(proxy.get("/").field("x-by"), Some("5"));
    assert_eq!(proxy.metric("tollgate_filter_on_error_total", &[]), 0.0);
}

/// A proxy with four replaced generations that have an exchange each.
struct Crowded {
    proxy: TestProxy,
    guest: Guest,
    _origin: Origin,
    say: Sender<()>,
    clients: Vec<Client>,
}

impl Crowded {
    fn new() -> Self {
        let ((origin, say), guest) = (Origin::held("upstream"), Guest::from_bytes(&speaker("0")));
        let proxy = TestProxy::with(&format!(
            "watch: off\nfilters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{{ to: {:?}, filters: [f] }}]",
            guest.path(),
            origin.url()
        ));
        let mut clients = Vec::new();
        for word in ["1", "2", "3", "4"] {
            clients.push(ask(&proxy));
            until("the upstream was asked", || origin.requests().len() == clients.len());
            guest.replace(&speaker(word));
            assert_eq!(proxy.order(guest.look()).unwrap(), Done::Serving);
        }
        Self { proxy, guest, _origin: origin, say, clients }
    }

    fn swap(&self, word: &str) -> Done {
        self.guest.replace(&speaker(word));
        self.proxy.order(self.guest.look()).unwrap()
    }

    /// Has the upstream answer those who wait, and whoever asks once more.
    fn relieve(&mut self) {
        (0..=self.clients.len()).for_each(|_| self.say.send(()).unwrap());
        self.clients.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
    }
}

#[test]
fn a_fifth_swap_of_a_module_waits_too_and_of_those_that_wait_the_newest_wins() {
    let mut crowded = Crowded::new();

    assert_eq!([crowded.swap("5"), crowded.swap("6")], [Done::Waiting, Done::Waiting]);
    let view = crowded.proxy.plugin("f");
    assert_eq!((view.serving.unwrap().number, view.waiting.unwrap().number), (5, 7));
    crowded.relieve();

    until("the newest serves", || crowded.proxy.plugin("f").serving.unwrap().number == 7);
    assert_eq!(crowded.proxy.get("/").field("x-by"), Some("6"));
    assert!(crowded.proxy.plugin("f").waiting.is_none());
}

#[test]
fn a_swap_that_waits_is_forgotten_when_its_file_goes_back_to_what_serves() {
    let mut crowded = Crowded::new();
    assert_eq!(crowded.swap("5"), Done::Waiting);

    assert_eq!(crowded.swap("4"), Done::Unchanged);

    assert!(crowded.proxy.plugin("f").waiting.is_none());
    crowded.relieve();
}

#[test]
fn a_rollback_does_not_wait_for_room_and_what_waited_is_forgotten() {
    let mut crowded = Crowded::new();
    assert_eq!(crowded.swap("5"), Done::Waiting);

    assert_eq!(crowded.proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert!(crowded.proxy.plugin("f").waiting.is_none());
    crowded.relieve();
    assert_eq!(crowded.proxy.get("/").field("x-by"), Some("3"));
}

/// A proxy with four replaced generations that have an exchange each, and a canary that gets every exchange: what is
/// asked of it, who answers, and who waits.
fn crowded_canary(rules: &str) -> (TestProxy, String, Origin, Sender<()>, Vec<Client>, Guest) {
    let ((origin, say), guest) = (Origin::held("upstream"), Guest::from_bytes(&speaker("0")));
    let yaml = |rules: &str| {
        format!(
            "watch: off\nfilters: {{ f: {{ wasm: {{ stable: {:?}{rules} }} }} }}\nroutes: [{{ to: {:?}, filters: [f] }}]",
            guest.path(),
            origin.url()
        )
    };
    let proxy = TestProxy::with(&yaml(""));
    let mut clients = Vec::new();
    for word in ["1", "2", "3", "canary 1", "canary 2"] {
        if word != "canary 1" {
            clients.push(ask(&proxy));
            until("the upstream was asked", || origin.requests().len() == clients.len());
        }
        proxy.order(Order::Stage("f".into(), speaker(word).into())).unwrap();
        let whole = Some(tollgate_config::Ratio::of_percent(100));
        let order = if word.len() > 1 { Order::Canary("f".into(), whole) } else { Order::Promote("f".into()) };
        assert!(matches!(proxy.order(order).unwrap(), Done::Serving | Done::Canary), "{word}");
    }
    let rules = yaml(rules);
    (proxy, rules, origin, say, clients, guest)
}

#[test]
fn a_canary_goes_at_once_however_many_generations_have_exchanges() {
    let (proxy, _, _origin, say, mut clients, _guest) = crowded_canary("");
    assert!(proxy.plugin("f").canary.is_some());

    assert_eq!(proxy.order(Order::Rollback("f".into())).unwrap(), Done::Serving);

    assert!(proxy.plugin("f").canary.is_none());
    (0..5).for_each(|_| say.send(()).unwrap());
    assert_eq!(proxy.get("/").field("x-by"), Some("3"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
}

#[test]
fn a_canary_whose_time_is_over_takes_over_once_there_is_room_and_is_made_ready_once() {
    let (proxy, rules, _origin, say, mut clients, _guest) = crowded_canary(", promote_after: 1ms");
    let tried = proxy.plugin("f").canary.unwrap().0.number;
    assert_eq!(proxy.configure(&rules).unwrap(), Done::Serving);

    // Rules are asked again and again: elsewhere a canary has come and taken over by now.
    let beside = Guest::from_bytes(&speaker("stable"));
    let rules = format!(
        "watch: off\nfilters: {{ f: {{ wasm: {{ stable: {:?}, promote_after: 1ms }} }} }}\nroutes: [{{ to: echo, filters: [f] }}]",
        beside.path()
    );
    let beside = TestProxy::with(&rules);
    beside.order(Order::Stage("f".into(), speaker("canary").into())).unwrap();
    beside.order(Order::Canary("f".into(), Some(tollgate_config::Ratio::of_percent(100)))).unwrap();
    until("it takes over", || beside.plugin("f").canary.is_none());
    assert_eq!(proxy.plugin("f").canary.unwrap().0.number, tried);
    (0..4).for_each(|_| say.send(()).unwrap());
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));

    until("the canary serves", || proxy.plugin("f").canary.is_none());
    assert_eq!(proxy.plugin("f").serving.unwrap().number, tried + 1);
}
